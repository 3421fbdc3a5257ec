"""How many frames a run comes to: those planned at first, changed by the plan's notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.plan import FOCUS, FRAMES_EACH, PLACE, REOPTIMIZE, REOPTIMIZED

_SAYING_SO = (FOCUS, PLACE, REOPTIMIZE, REOPTIMIZED, "recommendation")
"""Topics of the notes that say as `planned` by how many frames the run became longer or shorter."""


def untaken(lapse: Mapping[str, Any]) -> int:
    """Frames that the plan says in a note on a time-lapse that it skipped, in all series."""
    marks = [*lapse["frames"], *lapse.get("beside", ())]
    return sum(mark["frame"] is None for mark in marks)


@dataclass(slots=True)
class PlannedFrames:
    """Frames that a run is to have, learned from its notes.

    Attributes
    ----------
    asked
        At the start of the run; None where it has no end.
    trials
        How many trials it has; 0 where it has none.
    """

    asked: int | None
    trials: int = 0
    _more: int = field(default=0, init=False)

    def learn(self, note: Mapping[str, Any]) -> None:
        """Take in a note, {topic, data}; they come in the order of the run."""
        topic, data = note["topic"], note["data"]
        if topic in _SAYING_SO:
            self._more += data.get("planned", 0)
        elif topic == "flagged":
            self._more += FRAMES_EACH
        elif topic in ("told", "enough"):
            trials = data.get("trials", self.trials)
            self._more += FRAMES_EACH * (trials - self.trials)
            self.trials = trials

    @property
    def total(self) -> int | None:
        """Frames taken or skipped by the end; None where the run has no end."""
        return None if self.asked is None else self.asked + self._more
