"""Curves in memory that does not grow with the run."""

from __future__ import annotations

from typing import Any

RECENT = 2000
"""Frames that are remembered one by one; the ledger has the others."""
_POINTS = 800


class ThinnedCurve:
    """A curve that keeps to a number of points by leaving out every second one when it is full."""

    def __init__(self) -> None:
        self.points: list[tuple[Any, ...]] = []
        self._step = 1
        self._count = 0

    def add(self, *point: Any) -> None:
        """Take a point, or pass it over."""
        if self._count % self._step == 0:
            self.points.append(point)
            if len(self.points) > _POINTS:
                del self.points[1::2]
                self._step *= 2
        self._count += 1
