"""A frame between two that have drifted: drift is taken out, and put back into the rebuilt one.

The frames themselves are moved by whole pixels only, as anything else would blur them; the rest is
less than a pixel and the interpolator's to follow. Only the rebuilt frame is moved by parts of a
pixel.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import shift

from agent.optimizer.objectives.estimate import Estimate
from agent.plans.adaptive.error import inherited_noise, squared_error
from agent.plans.adaptive.frame_noise import Detector
from agent.plans.adaptive.motion import moved

_LEAST_PX = 0.02
"""Shift below which a frame is left as it is (pixels)."""
_CUBIC = 3
"""Order of the splines that shift a frame."""


class Between(Protocol):
    """A rebuilt frame; a `models.interpolation.Interpolated`."""

    @property
    def image(self) -> NDArray[Any]:
        """Rows × columns, in the frames' own units."""
        ...

    @property
    def uncertainty(self) -> float:
        """How unsure it is of the frame, as one number."""
        ...


class Interpolates(Protocol):
    """What rebuilds frames; a `models.interpolation.Interpolation`."""

    def between(self, before: NDArray[Any], after: NDArray[Any], t: float) -> Between:
        """The frame at `t` between two."""
        ...


class Aligned(NamedTuple):
    """A rebuilt frame (rows × columns, float), the interpolator's uncertainty, and its fault."""

    image: NDArray[np.float32]
    uncertainty: float
    fault: str | None = None


def between(
    interpolation: Interpolates,
    before: NDArray[Any],
    after: NDArray[Any],
    t: float,
    drift_px: tuple[float, float] = (0.0, 0.0),
) -> Aligned:
    """The frame at time t of two between which the structure has drifted.

    Parameters
    ----------
    interpolation
        Rebuilds it.
    before, after
        Rows × columns.
    t
        When between them, above 0 and below 1.
    drift_px
        From the one to the other (rows, columns).

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> middle = SimpleNamespace(image=np.ones((8, 8)), uncertainty=0.1)
    >>> interpolation = SimpleNamespace(between=lambda before, after, t: middle)
    >>> between(interpolation, np.zeros((8, 8)), np.full((8, 8), 2.0), 0.5).uncertainty
    0.1
    """
    whole = np.rint(drift_px).astype(int)
    if not whole.any():
        found = interpolation.between(before, after, t)
        fault = getattr(found, "fault", None)
        return Aligned(np.asarray(found.image, np.float32), float(found.uncertainty), fault)
    found = interpolation.between(before, moved(after, -whole), t)
    image = np.asarray(found.image, np.float32)
    back = t * whole
    if np.abs(back).max() > _LEAST_PX:
        image = shift(image, back, order=_CUBIC, mode="nearest")
    return Aligned(image, float(found.uncertainty), getattr(found, "fault", None))


def comparable(
    before: NDArray[Any],
    after: NDArray[Any],
    t: float,
    drift_px: tuple[float, float],
    measured: NDArray[Any],
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The three frames of an audit, for learning, with the drift between them taken out.

    The outer two are those that `between` gives the interpolator; the measured one is moved to
    where it wants the rebuilt one. Pixels moved in from beyond the edge are cut off all three.

    Examples
    --------
    >>> frame = np.arange(36.0).reshape(6, 6)
    >>> [part.shape for part in comparable(frame, frame, 0.5, (1.2, 0.0), frame)]
    [(4, 6), (4, 6), (4, 6)]
    """
    whole = np.rint(drift_px).astype(int)
    if not whole.any():
        return before, measured, after
    still, back = moved(after, -whole), -t * whole
    if np.abs(back).max() > _LEAST_PX:
        measured = shift(np.asarray(measured, np.float32), back, order=_CUBIC, mode="nearest")
    rows, columns = (slice(away, -away or None) for away in np.abs(whole))
    return before[rows, columns], measured[rows, columns], still[rows, columns]


def audit(
    interpolation: Interpolates,
    before: NDArray[Any],
    after: NDArray[Any],
    t: float,
    drift_px: tuple[float, float],
    measured: NDArray[Any],
    detector: Detector,
) -> tuple[Aligned, Estimate]:
    """A rebuilt frame, and its squared error by the measured one; see `between` and `error`."""
    made = between(interpolation, before, after, t, drift_px)
    inherited = inherited_noise(
        lambda first, second: between(interpolation, first, second, t, drift_px).image,
        before,
        after,
        detector,
        made.image,
    )
    return made, squared_error(made.image, measured, detector, inherited)
