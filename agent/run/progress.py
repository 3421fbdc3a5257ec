"""The state of a run in progress, for people to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agent.plan import LAPSE
from agent.record.planned import PlannedFrames, untaken
from agent.record.text import purpose
from agent.record.trials import kind_of, usable_score


@dataclass(slots=True)
class Progress:
    """The state of a run in progress; refreshed by the loop."""

    plan: str
    of: PlannedFrames
    """Frames of the whole run, and trials."""
    bleaching_limit: float = 1.0
    frames: int = 0
    trial: int = 0
    score: float | None = None
    best: float | None = None
    bleaching: float | None = None
    budget_fraction: float | None = None
    doing: str = "starting"
    due_s: float | None = None
    """When the next frame begins (monotonic s), where that is waited for."""
    paused: bool = False
    faults: int = 0
    filtered: int | None = None
    """Frames that were filtered; None without a filter."""
    uncertainty: float | None = None
    """The filter's, of the frame it filtered last."""
    late: int = 0
    """How often a time point came too late."""
    skipped: int = 0
    """Frames that were deliberately not taken."""
    rebuilt: int = 0
    """Those of them that were rebuilt."""

    @property
    def planned(self) -> int | None:
        """Frames of the whole run; None where it has no end."""
        return self.of.total

    @property
    def trials(self) -> int:
        """Trials of the whole run; 0 where there are none."""
        return self.of.trials

    def take(self, kind: str, data: dict[str, Any]) -> None:
        """Learn from a ledger entry."""
        if kind == "catching up":
            self.doing = f"bringing the virtual sample up to date, {data['frame']}/{data['of']}"
        elif kind == "shot":
            self.doing = purpose(data) or data["mode"]
        elif kind == "frame":
            self.frames += 1
        elif kind == "score":
            self.score = data["value"]
        elif kind == "pause":
            self.paused = data["paused"]
            self.doing = "paused" if self.paused else "continuing"
        elif kind == "filtered":
            self.filtered = (self.filtered or 0) + 1
            self.uncertainty = data["uncertainty"]
        elif kind == "rebuilt":
            self.rebuilt += len(data["uncertainty"][: len(data["points"])])
        elif kind == "late":
            self.late += 1
            self.skipped += data["frames"]
        elif kind == "fault":
            self.faults += 1
        elif kind == "note":
            self._note(data["topic"], data["data"])

    def _note(self, topic: str, data: dict[str, Any]) -> None:
        self.of.learn({"topic": topic, "data": data})
        if topic == LAPSE:
            self.skipped += untaken(data)
        elif topic == "trial":
            self.trial += 1
            if (found := data["objectives"]) is not None:
                self.bleaching = found["bleaching"]
                within = kind_of(found, self.bleaching_limit) == "within"
                if within and usable_score(found):
                    self.best = max(found["score"], self.best or 0.0)
