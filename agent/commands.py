"""Commands to the session at work: pause, resume, stop, and what the filter does.

    pause: true
    resume: true
    stop: true            finish the frame under way, then end safely
    filter: newest        or all, or none: which frames are filtered from now on

They stand in the control file like what a plan is told, one a line, and are heeded within a tick of
the session, whatever the plan is doing. Each leaves an entry in the ledger, with who gave it
and when, and how far the file was read for it. What was written while no session was at work is
not heeded: nobody wants an old `stop` to end the run that they have just resumed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.config.reading import ConfigError
from agent.control import COMMANDS, FILE, FILTERING, ControlFile, Line, Position, said_of
from agent.instructions import short

if TYPE_CHECKING:  # who only tells a run something does not wait for these to be imported
    from agent.beside.filtering import Filtering
    from agent.record.ledger import Ledger
    from agent.record.recording import Recording


class StopTold(Exception):
    """A person told the run to stop; that is no failure."""


def check_command(told: Mapping[str, Any], *, filters: bool) -> tuple[str, Any]:
    """The command that a line is, and its value.

    Parameters
    ----------
    told
        A line without its stamp.
    filters
        Whether the run has a filter.

    Raises
    ------
    ConfigError
        It is none that can be heeded: names key, value and what is accepted.
    """
    if len(told) != 1:
        listed = ", ".join(f"`{key}`" for key in told)
        raise ConfigError(
            f"{short(listed, quoted=False)}: accepted: one of {', '.join(COMMANDS)} a line"
        )
    ((key, value),) = told.items()
    if key != "filter":
        if value is not True:
            raise ConfigError(f"`{key}`: {short(value)} is not accepted; accepted: true")
    elif not isinstance(value, str) or value not in FILTERING:
        known = ", ".join(FILTERING)
        raise ConfigError(f"`filter`: {short(value)} is not accepted; accepted: {known}")
    elif not filters:
        raise ConfigError(f"`filter`: {short(value)}: this run has no filter in its config")
    return key, value


class Pause:
    """Lets the loop stand still between two frames."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._wanted = self._asked = False

    @property
    def asked(self) -> bool:
        """Somebody wants it, or has wanted it since `over` was called."""
        return self._asked

    def ask(self) -> None:
        """Begin with the next frame."""
        with self._changed:
            self._wanted = self._asked = True

    def end(self) -> None:
        """Go on, whoever else wanted to pause."""
        with self._changed:
            self._wanted = False
            self._changed.notify_all()

    def wait(self) -> None:
        """Return when nobody wants it any more."""
        with self._changed:
            self._changed.wait_for(lambda: not self._wanted)

    def over(self) -> None:
        """Forget that it was asked for, unless it is again."""
        with self._changed:
            self._asked = self._wanted


class Commands:
    """The control file as a session reads it.

    Parameters
    ----------
    folder
        The run's.
    recording
        What earlier sessions heeded.
    ledger
        Gets an entry for each command.
    tell
        Called with (kind, data) after each entry.
    filters
        Whether the run has a filter.
    for_plan
        Whether the plan hears the other lines; otherwise they are refused here.
    """

    def __init__(
        self,
        folder: Path,
        recording: Recording,
        ledger: Ledger,
        tell: Callable[[str, dict[str, Any]], None],
        *,
        filters: bool,
        for_plan: bool,
    ) -> None:
        told = recording.commands
        read = Position(**told[-1]["read"]) if told else Position()
        self._file = ControlFile(folder, read, [one["id"] for one in told if "id" in one])
        self._path = folder / FILE
        self._ledger = ledger
        self._tell = tell
        self._filters = filters
        self._for_plan = for_plan
        self._seen: tuple[int, int] | None = None
        self._hear("came while no session was at work")

    def hear(self) -> list[tuple[str, Any, str]]:
        """Commands that are new, with their values and who gave them; quick if there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return []
        seen = found.st_size, found.st_mtime_ns
        if seen == self._seen:
            return []
        self._seen = seen
        return self._hear()

    def _hear(self, late: str = "") -> list[tuple[str, Any, str]]:
        lines, damage = self._file.lines()
        if damage and not self._for_plan:
            self._fault(f"{FILE} {damage}")
        heard = []
        for line in lines:
            if not line.is_command:
                if not self._for_plan:
                    self._fault(
                        said_of(line, line.damage or "the plan of this run can be told nothing")
                    )
                continue
            if line.damage:
                self._fault(said_of(line, line.damage))
                continue
            entry = {**line.stamp, "told": line.told, "read": asdict(self._file.read)}
            try:
                if late:
                    raise ConfigError(late)
                key, value = check_command(line.told, filters=self._filters)
            except ConfigError as error:
                self._refuse(line, entry, str(error))
                continue
            self._record("command", entry)
            heard.append((key, value, line.stamp.get("by", FILE)))
        return heard

    def _refuse(self, line: Line, entry: dict[str, Any], why: str) -> None:
        self._fault(said_of(line, why))
        self._record("command", {**entry, "refused": why})

    def _fault(self, what: str) -> None:
        self._record("fault", {"what": what, "policy": "ignored"})

    def _record(self, kind: Any, data: dict[str, Any]) -> None:
        self._ledger.add(kind, data)
        self._tell(kind, data)


class Obedience:
    """Does what a session is told.

    Parameters
    ----------
    commands
        What it is told.
    pause, resume
        Of the loop.
    filtering
        None where nobody filters.
    """

    def __init__(
        self,
        commands: Commands,
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
        """Do what is new; says so if that is to stop."""
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
