"""The thread that acquires, beside the one that watches it."""

from __future__ import annotations

import threading

from agent.run.loop import Loop
from agent.run.parts import RunParts
from agent.run.pause import CommandHandler, Stopped


class AcquisitionThread(threading.Thread):
    """The acquisition thread with its parts, and what it ended with."""

    def __init__(
        self,
        loop: Loop,
        parts: RunParts,
        commands: CommandHandler,
    ) -> None:
        # A driver that never returns must not keep the process alive.
        super().__init__(name="acquisition", daemon=True)
        self.loop = loop
        self.parts = parts
        self._commands = commands
        self.error: BaseException | None = None
        self.asked_to_stop = False

    def run(self) -> None:
        """Let the loop work; what ends it is kept in `error`."""
        try:
            self.loop.run()
        except BaseException as error:
            if self.error is None or isinstance(self.error, Stopped):
                self.error = error

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread, which a signal may have kept from starting."""
        if self.ident is not None:
            super().join(timeout)

    def heed(self) -> None:
        """Do what a person told the session meanwhile."""
        told = self._commands.heed()
        if told is not None and not self.asked_to_stop:
            self.asked_to_stop, self.error = True, told
            self.loop.stop()
