"""Following a field that drifts with the stage."""

from __future__ import annotations

from dataclasses import dataclass, replace

from devices.affine import Affine
from devices.config import Range, StageLimits
from devices.shot import Field

_ANYWHERE = StageLimits()
_LEAST_PX = 0.5
"""Drift below which nothing is concluded from it (pixels)."""
_WORSE = 1.3
"""Growth of the drift after a correction that makes the correction suspect."""
_PATIENCE = 2
"""Times in a row that it grows before the stage no longer follows."""


@dataclass(slots=True)
class DriftTracker:
    """Keeps a field where its structure is.

    A stage that runs otherwise than `mounting` says may double every drift; where following makes
    the drift grow twice in a row, it goes back to where it began and follows no more.

    Parameters
    ----------
    field
        Where it began.
    mounting
        How the camera lies on the stage.
    reach_um
        How far it goes at most, along each axis (µm).
    limits
        Where the stage may go at all.

    Examples
    --------
    >>> straight = Affine.square(pixel_um=0.02)
    >>> follower = DriftTracker(Field(0, 10.0, 0.0), straight, reach_um=1.0)
    >>> follower.see((0.0, 5.0))
    >>> round(follower.place.x_um, 3)
    10.1
    """

    field: Field
    mounting: Affine
    reach_um: float
    limits: StageLimits = _ANYWHERE
    following: bool = True
    _x_um: float = 0.0
    _y_um: float = 0.0
    _before: tuple[float, float] = (0.0, 0.0)
    _content: tuple[float, float] = (0.0, 0.0)
    _last: tuple[float, float] = (0.0, 0.0)
    _worse: int = 0

    @property
    def place(self) -> Field:
        """Where to look next."""
        first = self.field
        return replace(first, x_um=first.x_um + self._x_um, y_um=first.y_um + self._y_um)

    def see(self, drift_px: tuple[float, float]) -> None:
        """Take in how far the structure has moved from one frame to the next (rows, columns; px).

        The later frame was taken at `place`, the earlier one at the place before.
        """
        if not self.following:
            return
        size, last = (max(abs(part) for part in one) for one in (drift_px, self._last))
        along = sum(now * then for now, then in zip(drift_px, self._last, strict=True))
        self._worse = self._worse + 1 if size > _WORSE * last > _LEAST_PX and along > 0 else 0
        if self._worse >= _PATIENCE:
            self.following, self._x_um, self._y_um = False, 0.0, 0.0
            return
        self._last = drift_px
        here, (y_before, x_before), (y, x) = (self._y_um, self._x_um), self._before, self._content
        # What moved in the image while the stage followed has moved on by as much as that.
        x_moved, y_moved = self.mounting.stage_um(drift_px)
        y += y_moved + here[0] - y_before
        x += x_moved + here[1] - x_before
        self._before, self._content = here, (y, x)
        first = self.field
        self._x_um = self._within(x, first.x_um, self.limits.x_um)
        self._y_um = self._within(y, first.y_um, self.limits.y_um)

    def _within(self, away_um: float, first_um: float, limits: Range | None) -> float:
        away_um = max(-self.reach_um, min(self.reach_um, away_um))
        if limits is None:
            return away_um
        return max(limits[0] - first_um, min(limits[1] - first_um, away_um))
