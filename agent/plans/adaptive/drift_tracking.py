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
_ALIKE = 0.02
"""Relative difference that two ways of measuring one pixel may have."""
_PATIENCE = 2
"""Times in a row that it grows before the stage no longer follows."""


def times_as_large(pixel_nm: float | None, other_nm: float | None) -> float:
    """How much larger a pixel is than another one; 1 where they are alike, or one is not known.

    Examples
    --------
    >>> times_as_large(40.0, 20.0), times_as_large(20.1, 20.0), times_as_large(None, 20.0)
    (2.0, 1.0, 1.0)
    """
    if pixel_nm is None or other_nm is None:
        return 1.0
    times = pixel_nm / other_nm
    return 1.0 if abs(times - 1) <= _ALIKE else times


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
    pixel_nm
        Side of the pixels that `mounting` is of (nm); None: of all.

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
    pixel_nm: float | None = None
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

    def see(self, drift_px: tuple[float, float], pixel_nm: float | None = None) -> None:
        """Take in how far the structure has moved from one frame to the next.

        The later frame was taken at `place`, the earlier one at the place before.

        Parameters
        ----------
        drift_px
            Rows, columns (px).
        pixel_nm
            Side of these pixels (nm); None: as those of the mounting.
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
        scale = times_as_large(pixel_nm, self.pixel_nm)
        y += scale * y_moved + here[0] - y_before
        x += scale * x_moved + here[1] - x_before
        self._before, self._content = here, (y, x)
        first = self.field
        self._x_um = self._within(x, first.x_um, self.limits.x_um)
        self._y_um = self._within(y, first.y_um, self.limits.y_um)

    def _within(self, away_um: float, first_um: float, limits: Range | None) -> float:
        away_um = max(-self.reach_um, min(self.reach_um, away_um))
        if limits is None:
            return away_um
        return max(limits[0] - first_um, min(limits[1] - first_um, away_um))
