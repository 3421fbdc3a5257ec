"""What attends to a run beside its loop: messages, the disk, the watchdog of the hardware."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from agent.config import RunConfig
from agent.record.journal import Journal
from agent.run.feeding import WATCHDOG, Feeder
from agent.run.progress import Progress
from agent.run.space import Space
from agent.workers.notify import NOTIFY, Notifier, targets
from devices.microscope import Microscope


class Attendants:
    """They hear of each entry of the ledger, and get a sign of life with each look at the loop.

    Parameters
    ----------
    config
        Of the run.
    microscope
        An open one.
    journal, progress
        Of the session.
    place
        Where the run's folder is now.
    """

    def __init__(
        self,
        config: RunConfig,
        microscope: Microscope,
        journal: Journal,
        progress: Progress,
        place: Callable[[], Path],
    ) -> None:
        self._microscope, self._place = microscope, place
        self._space = Space(progress, microscope.frames_a_shot)
        journal.listen(self._space.hear)
        self._notifier: Notifier | None = None
        if (asked := config.notify) is not None:

            def failed(why: str) -> None:
                journal.fault(f"a message did not leave: {why}", "go on", part=NOTIFY)

            self._notifier = Notifier(asked, place().name, targets(asked), failed)
            journal.listen(self._notifier.hear)
        self._feeder: Feeder | None = None
        if (watchdog := microscope.watchdog) is not None:

            def fault(what: str) -> None:
                with suppress(sqlite3.Error):  # a device that hung may come back when all is over
                    journal.fault(what, "go on", part=WATCHDOG)

            self._feeder = Feeder(watchdog, fault)

    def begin(self) -> None:
        """There may be light from here on.

        Raises
        ------
        DeviceFault
            The watchdog cannot be fed.
        """
        if self._feeder is not None:
            self._feeder.start(self._microscope.config.timeout_s)

    def pulse(self) -> None:
        """Take a sign of life of the session."""
        if self._notifier is not None:
            self._notifier.pulse()
        if self._feeder is not None:
            self._feeder.pulse()

    def trouble(self) -> Exception | None:
        """Why the run is to end, if it is."""
        if self._feeder is not None and self._feeder.failure is not None:
            return self._feeder.failure
        return self._space.look(self._place())

    @property
    def scarce(self) -> bool:
        """Whether nothing but the end of the run should be written to its disk."""
        return self._space.scarce(self._place())

    def dark(self) -> None:
        """The microscope is dark, and stays so."""
        if self._feeder is not None:
            self._feeder.end()

    @property
    def hangs(self) -> bool:
        """Whether a device hangs that they use."""
        return self._feeder is not None and self._feeder.hangs

    def close(self, go_on: Callable[[], bool]) -> None:
        """Wait for the last message, not long, and only while `go_on` says so."""
        if self._notifier is not None:
            self._notifier.close(go_on)
