"""What happened between two frames of one field: drift, motion, and what else changed.

All figures are free of photon noise on average, so that a dim frame does not look like a moving
one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.registration import phase_cross_correlation

from agent.plans.adaptive.frame_noise import Detector, Map, noise, smooth, spread, structure

_UPSAMPLING = 20
"""Parts of a pixel in which a drift is found."""
_TURNS = 3
"""Times that a drift is found again in the frame moved back by it."""
_COARSE_PX = 4.0
"""Sigma beyond which structure is coarse, for the sharpness (pixels)."""
_LEAST = 1e-9
"""Variance below which a frame is empty (counts²)."""
_PARTS = 4
"""Parts of a side in which local change is looked for."""
_VISIBLE = 4.0
"""Variance of the structure in its standard deviations from which sharpness is stated."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one frame is like by itself.

    Parameters
    ----------
    brightness
        Root-mean-square contrast of the structure (counts), noise aside.
    sharpness
        Share of that contrast (as variance) that is finer than a blur of 4 pixels.
    doubt, fine_doubt
        Standard deviation that noise gives the logarithm of the brightness and of the sharpness.
    visible
        Whether there is a structure to see.
    """

    brightness: float
    sharpness: float
    doubt: float
    fine_doubt: float
    visible: bool


def look(frame: NDArray[Any], detector: Detector) -> Look:
    """Brightness and sharpness of a frame.

    Examples
    --------
    >>> frame = np.random.default_rng(0).poisson(np.repeat([2.0, 20.0], 32), (64, 64))
    >>> look(frame, Detector()).visible
    True
    """
    image, scatter = smooth(frame), noise(frame, detector)
    variance, sd = (shown := structure(frame, detector)).value, shown.sd
    coarse = gaussian_filter(image, _COARSE_PX, mode="nearest")
    # Hardly any noise passes the coarse blur.
    fine = float((image - coarse).var()) - scatter
    visible = variance > _VISIBLE * sd
    share = fine / variance if visible else 0.0
    doubt = 0.5 * sd / variance if visible else math.inf
    fine_doubt = spread(scatter, fine, image.size) / fine if fine > 0 else math.inf
    brightness = math.sqrt(max(variance, 0.0))
    return Look(brightness, min(max(share, 0.0), 1.0), doubt, fine_doubt, visible)


def drift(before: NDArray[Any], after: NDArray[Any]) -> tuple[float, float]:
    """How far the structure as a whole has moved from one frame to the next (rows, columns; px).

    By correlation in Fourier space (Guizar-Sicairos et al., Opt. Lett. 33, 156 (2008)) of the
    frames behind a slight blur, without their mean and tapered to their edges. The taper, which
    stays where it is, draws a shift to zero; so each estimate is taken out and the rest estimated.

    Examples
    --------
    >>> before = np.random.default_rng(0).random((64, 64))
    >>> rows, columns = drift(before, np.roll(before, (3, -2), axis=(0, 1)))
    >>> round(rows), round(columns)
    (3, -2)
    """
    first = _tapered(before)
    found = np.zeros(2)
    for _ in range(_TURNS):
        second = _tapered(moved(after, -np.rint(found).astype(int)))
        if not (first.any() and second.any()):
            return 0.0, 0.0
        rest, _, _ = phase_cross_correlation(
            second, first, upsample_factor=_UPSAMPLING, normalization=None
        )
        found = np.rint(found) + rest
    return float(found[0]), float(found[1])


def moved(frame: NDArray[Any], whole: NDArray[np.int_]) -> NDArray[Any]:
    """A frame moved by whole pixels (rows, columns), continued at its edges.

    Examples
    --------
    >>> moved(np.array([[1, 2, 3]]), np.array([0, 1])).tolist()
    [[1, 1, 2]]
    """
    rows, columns = (
        np.clip(np.arange(side) - by, 0, side - 1)
        for side, by in zip(frame.shape, whole, strict=True)
    )
    return frame[np.ix_(rows, columns)]


def _tapered(frame: NDArray[Any]) -> Map:
    image = smooth(frame)
    taper: Map = np.outer(*(np.hanning(side + 2)[1:-1] for side in image.shape))
    blurred: Map = gaussian_filter(image, 1.0)
    tapered: Map = (blurred - blurred.mean()) * taper
    return tapered


def likeness(before: NDArray[Any], after: NDArray[Any], detector: Detector) -> float:
    """Correlation of the structure in two frames, −1 to 1: 1 if nothing moved, whatever the noise.

    Bleaching, which changes the contrast and not the structure, leaves it as it is.

    Examples
    --------
    >>> light = np.tile(np.repeat([2.0, 20.0], 32), (64, 1))
    >>> before, after = np.random.default_rng(0).poisson(light, (2, 64, 64))
    >>> round(likeness(before, after, Detector()), 2)
    1.0
    """
    first, second = smooth(before), smooth(after)
    variances = [
        float(image.var()) - noise(frame, detector)
        for image, frame in ((first, before), (second, after))
    ]
    if min(variances) <= _LEAST:
        return 0.0
    together = float(np.mean((first - first.mean()) * (second - second.mean())))
    return max(-1.0, min(1.0, together / math.sqrt(variances[0] * variances[1])))


def local_change(before: NDArray[Any], after: NDArray[Any], detector: Detector) -> float:
    """Largest change of a part of the field, of 4 × 4, relative to the structure of the field.

    Root-mean-square difference behind the Gaussian, noise and change of brightness aside.

    Examples
    --------
    >>> light = np.tile(np.repeat([2.0, 20.0], 32), (64, 1))
    >>> brighter = light.copy()
    >>> brighter[:16, :16] += 40
    >>> local_change(light, brighter, Detector()) > local_change(light, light, Detector())
    True
    """
    first, second = smooth(before), smooth(after)
    scatter = [noise(frame, detector) for frame in (before, after)]
    variance = float(first.var()) - scatter[0]
    if variance <= _LEAST:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    gain = max(float((first * second).sum()), 0.0) / max(float((second**2).sum()), _LEAST)
    away = (first - gain * second) ** 2
    expected = scatter[0] + gain**2 * scatter[1]
    parts = [
        float(part.mean()) - expected
        for rows in np.array_split(away, _PARTS, axis=0)
        for part in np.array_split(rows, _PARTS, axis=1)
    ]
    return math.sqrt(max(max(parts), 0.0) / variance)
