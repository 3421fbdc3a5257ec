"""Pausing, resuming and stopping a running session, and changing which frames it filters."""

from __future__ import annotations

import threading
from collections.abc import Callable

from agent.steering.inbox import SessionInbox
from agent.workers.filter import Filtering


class Stopped(Exception):
    """The run is to end before its plan does; that is no failure."""


class StopTold(Stopped):
    """A person told it to."""


class Pause:
    """Lets the loop stand still between two frames."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted = self._asked = False

    @property
    def asked(self) -> bool:
        """A pause is wanted, or was since `over` was called."""
        return self._asked

    def ask(self) -> None:
        """Begin with the next frame."""
        with self._changed:
            self._wanted = self._asked = True

    def end(self) -> None:
        """Continue."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()

    def wait(self) -> None:
        """Return when a pause is no longer wanted."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wanted)

    def over(self) -> None:
        """Forget that it was asked for, unless it is again."""
        with self._changed:
            self._asked = self._wanted


class CommandHandler:
    """Does what a session is told.

    Parameters
    ----------
    commands
        Of the control file.
    pause, resume
        Of the loop.
    filtering
        None without a filter.
    """

    def __init__(
        self,
        commands: SessionInbox,
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
        filtering: Filtering | None,
    ) -> None:
        self._commands = commands
        self._pause = pause
        self._resume = resume
        self._filtering = filtering

    def heed(self) -> StopTold | None:
        """Obey new commands; returns the one to stop, if there is one."""
        stop = None
        for key, value, by in self._commands.hear():
            if key == "pause":
                self._pause()
            elif key == "resume":
                self._resume()
            elif key == "stop":
                stop = StopTold(f"told to stop by {by}")
            elif self._filtering is not None:
                self._filtering.change(value)
        return stop
