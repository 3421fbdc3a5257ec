"""What a session works with; `agent.run.prepare` makes it."""

from __future__ import annotations

from dataclasses import dataclass

from agent.record.dose import DoseGate
from agent.record.journal import Journal
from agent.record.raw import RawFrames
from agent.record.recording import Recording
from agent.run.clock import Clock
from agent.steering.inbox import PlanInbox
from agent.workers.filter import Filtering
from agent.workers.rebuild import Rebuilding
from agent.workers.score import Analysis
from agent.workers.tune import Tuning


@dataclass(frozen=True, slots=True)
class RunParts:
    """The parts of a session, beside its microscope and its plan.

    Parameters
    ----------
    journal, images
        Where it writes.
    gate
        What light it may still use.
    recording
        What earlier sessions of this run left: the plan is led through it first.
    clock
        Of the run.
    analysis, filtering, rebuilding, tuning
        Score, filter and rebuild frames, and learn from them; None where none does.
    control
        What a person tells the plan; None where it can be told nothing.
    """

    journal: Journal
    images: RawFrames
    gate: DoseGate
    recording: Recording
    clock: Clock
    analysis: Analysis | None = None
    filtering: Filtering | None = None
    rebuilding: Rebuilding | None = None
    tuning: Tuning | None = None
    control: PlanInbox | None = None

    @property
    def failure(self) -> Exception | None:
        """The error beside the acquisition that ends the run, if any."""
        queues = (self.analysis, self.filtering, self.rebuilding)
        return next((one.failure for one in queues if one and one.failure is not None), None)

    @property
    def stored(self) -> int:
        """Frames that earlier sessions left."""
        return max(self.recording.taken, default=-1) + 1
