"""The thread that acquires, beside the one that watches it."""

from __future__ import annotations

import threading

from agent.record.dose import DoseGate
from agent.record.images import ImageStore
from agent.record.journal import Journal
from agent.run.loop import Loop
from agent.run.pause import CommandHandler, StopTold
from agent.workers.filter import Filtering
from agent.workers.rebuild import Rebuilding
from agent.workers.score import Analysis
from agent.workers.tune import Tuning


class AcquisitionThread(threading.Thread):
    """The acquisition thread with its parts, and what it ended with."""

    def __init__(
        self,
        loop: Loop,
        journal: Journal,
        images: ImageStore,
        gate: DoseGate,
        analysis: Analysis | None,
        filtering: Filtering | None,
        rebuilding: Rebuilding | None,
        tuning: Tuning | None,
        obedience: CommandHandler,
        stored: int,
    ) -> None:
        # A driver that never returns must not keep the process alive.
        super().__init__(name="acquisition", daemon=True)
        self.loop = loop
        self.journal = journal
        self.images = images
        self.gate = gate
        self.analysis = analysis
        self.filtering = filtering
        self.rebuilding = rebuilding
        self.tuning = tuning
        self.obedience = obedience
        self.stored = stored
        """Frames that earlier sessions left."""
        self.error: BaseException | None = None
        self.asked_to_stop = False

    def run(self) -> None:
        """Let the loop work; what ends it is kept in `error`."""
        try:
            self.loop.run()
        except BaseException as error:
            if self.error is None or isinstance(self.error, StopTold):
                self.error = error

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread, which a signal may have kept from starting."""
        if self.ident is not None:
            super().join(timeout)

    def heed(self) -> None:
        """Do what a person told the session meanwhile."""
        told = self.obedience.heed()
        if told is not None and not self.asked_to_stop:
            self.asked_to_stop, self.error = True, told
            self.loop.stop()
