"""One field of a time-lapse that skips: which time points are taken, and what the others are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.plan import Frame, Rebuild, Rebuilt
from agent.plans.adaptive.drift_tracking import DriftTracker
from agent.plans.adaptive.frame_noise import PHOTONS, Detector
from agent.plans.adaptive.gap import Gap
from agent.plans.adaptive.motion import Look, drift, likeness, look, moved
from devices.shot import Field

REMEMBERED = 3
"""Frames of a field."""
_ALIKE = 0.3
"""Correlation below which two frames are too different to state a drift."""

Drift = tuple[float, float]
Mark = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that was taken.

    Parameters
    ----------
    point
        Its time point.
    index
        Its number.
    look
        Its own properties, without comparison.
    pixel_nm
        Side of its pixels (nm); None: as the config has it.
    """

    point: int
    index: int
    pixels: NDArray[Any]
    look: Look
    pixel_nm: float | None = None

    @classmethod
    def of(cls, frame: Frame, point: int, detector: Detector) -> Seen:
        """A frame of a time point."""
        seen = look(frame.pixels, detector)
        return cls(point, frame.index, frame.pixels, seen, frame.pixel_size_nm)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a time-lapse is to keep to.

    Parameters
    ----------
    points
        Time points in all.
    gap
        Of `FixedGaps`, and the largest of `Adaptive`.
    bound, confidence
        Largest relative error of rebuilt frames, and how sure of that it is to be.
    audit_every
        One gap in so many is audited.
    detector
        What the noise of frames is like.
    drift
        `follow` it with the stage, `measure` it, or `off`.
    afforded
        Whether audits leave the light for the last time point, as they do from
        `agent.config.rules.AFFORDED` on.
    """

    points: int
    gap: int = 3
    bound: float = 0.3
    confidence: float = 0.65
    audit_every: int = 4
    detector: Detector = PHOTONS
    drift: str = "measure"
    afforded: bool = True


class Schedule(ABC):
    """A field.

    Parameters
    ----------
    follower
        Where to look.
    rules
        What to keep to.
    """

    def __init__(self, follower: DriftTracker, rules: Rules) -> None:
        self._follower, self._rules = follower, rules
        self.field = follower.field.index
        """Its number."""
        self._seen: list[Seen] = []
        self._next = 0
        self._changed = False
        """The settings are others than those of the last frame."""

    @property
    def place(self) -> Field:
        """Where the next frame is taken."""
        return self._follower.place

    def due(self, point: int) -> bool:
        """Whether a frame is to be taken at a time point."""
        return point == self._next

    def hasten(self, point: int) -> None:
        """Have the next frame taken at a time point, sooner than was decided."""
        self._next = point

    def change(self, point: int) -> None:
        """From a time point on, frames are taken at other settings.

        What such a frame shows is not compared with those before it, and nothing is rebuilt from
        both: the last frame at the old settings is that of the time point before.
        """
        self.hasten(point)
        self._changed = True

    def purpose(self, point: int) -> str:
        """What a frame is taken for, as the ledger keeps it."""
        return f"time point {point}"

    @abstractmethod
    def see(self, frame: Frame, point: int) -> Sequence[Rebuild]:
        """Take in a frame; returns requests to rebuild frames before it."""

    @abstractmethod
    def learn(self, request: Rebuild, answer: Rebuilt) -> None:
        """Take in the answer to a request."""

    @abstractmethod
    def decide(self, frames: int | None) -> Mapping[str, Any]:
        """Choose the next time point; returns the findings.

        Parameters
        ----------
        frames
            How many more there is light for; None: as many as one likes.

        Returns
        -------
        Mapping
            Data of a note.
        """

    def _keep(self, seen: Seen) -> tuple[Seen | None, Drift]:
        """Remember a frame; the one before it, and how far the structure moved since.

        None comes before one at new settings; how far the structure moved is known all the same.
        """
        before = self._seen[-1] if self._seen else None
        self._seen = [*self._seen[1 - REMEMBERED :], seen]
        shift = (0.0, 0.0)
        if before is not None and self._rules.drift != "off":
            shift = self._drift(before, seen)
            if self._rules.drift == "follow":
                self._follower.see(shift, seen.pixel_nm)
        if self._changed:
            before, self._seen, self._changed = None, [seen], False
        return before, shift

    def _drift(self, before: Seen, after: Seen) -> Drift:
        """Drift from one frame to another; none where they are not alike even without it."""
        if self._rules.drift == "off":
            return 0.0, 0.0
        found = drift(before.pixels, after.pixels)
        farthest = max(before.pixels.shape) / 4
        if max(map(abs, found)) > farthest or self._alike(before, after, found) < _ALIKE:
            return 0.0, 0.0
        return found

    def _alike(self, before: Seen, after: Seen, shift: Drift) -> float:
        still = moved(after.pixels, -np.rint(shift).astype(int))
        return likeness(before.pixels, still, self._rules.detector)

    def _ahead(self, gap: Gap) -> Gap:
        """The gap, no farther than the last time point, which is always taken."""
        left = self._rules.points - 1 - self._seen[-1].point
        return replace(gap, steps=left, why="end") if gap.steps > left else gap

    def _marks(
        self, before: Seen | None, seen: Seen, expected: Sequence[float | None]
    ) -> list[Mark]:
        """What the frames since `before` are."""
        skipped = range(before.point + 1, seen.point) if before is not None else ()
        marks = [
            {"point": point, "kind": "reconstructed", "frame": None, "expected_error": error}
            for point, error in zip(skipped, expected, strict=True)
        ]
        return [*marks, _measured(seen)]


def _measured(seen: Seen) -> Mark:
    return {
        "point": seen.point,
        "kind": "measured",
        "frame": seen.index,
        "expected_error": None,
    }


class FixedGaps(Schedule):
    """Takes every so-manieth time point, and the last one; waits for nothing.

    Examples
    --------
    >>> from devices.affine import Affine
    >>> straight = Affine.square(pixel_um=0.02)
    >>> follower = DriftTracker(Field(0, 0.0, 0.0), straight, reach_um=1.0)
    >>> schedule = FixedGaps(follower, Rules(points=10, gap=3))
    >>> schedule.due(0), schedule.due(1)
    (True, False)
    """

    def __init__(self, follower: DriftTracker, rules: Rules) -> None:
        super().__init__(follower, rules)
        self._before: Seen | None = None
        self._shift: Drift = (0.0, 0.0)

    def see(self, frame: Frame, point: int) -> Sequence[Rebuild]:
        """Have the frames since the last one rebuilt."""
        seen = Seen.of(frame, point, self._rules.detector)
        before, self._shift = self._keep(seen)
        self._before = before
        points = tuple(range(before.point + 1, point)) if before else ()
        if before is None or not points:
            return ()
        ends = (before.index, before.point), (seen.index, seen.point)
        return (Rebuild(self.field, *ends, points, drift_px=self._shift, wait=False),)

    def learn(self, request: Rebuild, answer: Rebuilt) -> None:
        """Nothing: nothing is waited for."""

    def decide(self, frames: int | None) -> Mapping[str, Any]:
        """The next time point is as far away as the last one was."""
        seen, before = self._seen[-1], self._before
        gap = self._ahead(Gap(self._rules.gap, "fixed"))
        self._next = seen.point + gap.steps
        skipped = seen.point - before.point - 1 if before else 0
        return {
            "field": self.field,
            "point": seen.point,
            "frames": self._marks(before, seen, [None] * skipped),
            "gap": gap.steps,
            "why": gap.why,
            "drift_px": [round(part, 3) for part in self._shift],
        }
