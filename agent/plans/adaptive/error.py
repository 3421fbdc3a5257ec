"""How far a rebuilt frame is from the structure that a measured one shows, its noise aside.

Two measured frames of one scene differ by photon noise, so that a plain difference calls a
perfect rebuild wrong. The noise of the measured frame is independent of the rebuilt one, which was
made from other frames. So the expected square of their difference is the squared error of the
rebuilt frame plus the variance of the noise, and that is known for photons: their mean.

A rebuilt frame inherits noise of the frames it was made from, less than a measured one has. That is
no reason to take more frames, each of which would be noisier, and is taken out as well: what
remains is what skipping costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from agent.optimizer.objectives.estimate import Estimate

Map = NDArray[np.float64]

BLUR_PX = 1.5
"""Standard deviation of the Gaussian through which frames are compared (pixels)."""
_EDGE_PX = 6
"""Border that the Gaussian reaches into, four sigmas of `BLUR_PX` (pixels)."""
_LEAST_STRUCTURE = 3.0
"""Variance of the structure in its standard deviations from which an error is stated."""
_SHAKE = 0.5
"""Noise added to a frame, as a share of its own, to see what noise does to a result."""
UNKNOWN = Estimate(float("nan"), float("inf"))
"""Of a frame that shows no structure."""


@dataclass(frozen=True, slots=True)
class Detector:
    """How a frame's counts scatter.

    Parameters
    ----------
    gain
        Counts a photon; 1 for a detector that counts photons.
    offset
        Counts of no light.
    read_sd
        Standard deviation of the read noise (counts).

    Examples
    --------
    >>> Detector(gain=2.0, offset=100.0, read_sd=3.0).variance(np.full((8, 8), 150.0))
    109.0
    """

    gain: float = 1.0
    offset: float = 0.0
    read_sd: float = 0.0

    def variance(self, frame: NDArray[Any]) -> float:
        """Mean variance of a frame's pixels (counts²): an unbiased estimate, from the frame."""
        light = max(float(np.mean(frame)) - self.offset, 0.0)
        return self.gain * light + self.read_sd**2


PHOTONS = Detector()
"""A detector that counts photons."""


def smooth(frame: NDArray[Any]) -> Map:
    """A frame as it is compared: through the Gaussian, without the border it reaches into.

    Examples
    --------
    >>> smooth(np.ones((32, 32))).shape
    (20, 20)
    """
    blurred: Map = gaussian_filter(np.asarray(frame, float), BLUR_PX, mode="nearest")
    return blurred[_EDGE_PX:-_EDGE_PX, _EDGE_PX:-_EDGE_PX]


def noise(frame: NDArray[Any], detector: Detector) -> float:
    """Variance that noise has in a frame after `smooth` (counts²).

    Examples
    --------
    >>> photons = np.random.default_rng(0).poisson(10, (64, 64))
    >>> round(noise(photons, PHOTONS), 2)
    0.35
    """
    return detector.variance(frame) / (4 * math.pi * BLUR_PX**2)


def structure(frame: NDArray[Any], detector: Detector) -> Estimate:
    """Variance of the structure in a frame after `smooth` (counts²), without that of the noise.

    Examples
    --------
    >>> photons = np.random.default_rng(0).poisson(np.repeat([2.0, 20.0], 32), (64, 64))
    >>> found = structure(photons, PHOTONS)
    >>> round(found.value), found.sd < 2
    (76, True)
    """
    image, scatter = smooth(frame), noise(frame, detector)
    found = float(image.var()) - scatter
    return Estimate(found, spread(scatter, found, image.size))


def squared_error(
    rebuilt: NDArray[Any],
    measured: NDArray[Any],
    detector: Detector,
    inherited: float = 0.0,
) -> Estimate:
    """Squared error of a rebuilt frame, as a share of the variance of the structure.

    With d the difference of the two behind a Gaussian g, V the variance of the measured
    pixels, and W that which the rebuilt frame `inherited`, (mean d² − V Σg² − W) /
    (var(g ∗ measured) − V Σg²): unbiased, and so now and then negative where the frame is rebuilt
    well. Errors are averaged as squares; the square root of their mean is the relative
    root-mean-square error.

    Parameters
    ----------
    rebuilt
        Rows × columns, made from other frames than `measured`.
    measured
        The frame that was taken at that time.
    detector
        What its noise is like.
    inherited
        Variance of the noise of other frames in the rebuilt one; see `inherited_noise`. With 0 it
        counts as error.

    Returns
    -------
    Estimate
        With the standard deviation that the noise gives it; NaN where no structure is seen.

    Examples
    --------
    >>> light = np.tile(np.repeat([2.0, 20.0], 32), (64, 1))
    >>> measured = np.random.default_rng(0).poisson(light)
    >>> found = squared_error(light, measured, PHOTONS)
    >>> abs(found.value) < 3 * found.sd
    True
    """
    away = smooth(np.asarray(rebuilt, float) - np.asarray(measured, float))
    scatter = noise(measured, detector)
    shown = structure(measured, detector)
    if shown.value <= _LEAST_STRUCTURE * shown.sd:
        return UNKNOWN
    error = float(np.mean(away**2)) - scatter - inherited
    sd = spread(scatter + inherited, max(error, 0.0), away.size)
    return Estimate(
        error / shown.value, math.hypot(sd, error * shown.sd / shown.value) / shown.value
    )


def inherited_noise(
    rebuild: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]],
    before: NDArray[Any],
    after: NDArray[Any],
    detector: Detector,
    calm: NDArray[Any],
) -> float:
    """Variance (counts²) that the noise of two frames has in one that is rebuilt from them.

    Told from what a little more noise of the same kind changes in it, as in Monte-Carlo SURE
    (Ramani, Blu and Unser, IEEE Trans. Image Process. 17, 1540 (2008)): no matter what rebuilds it.

    Parameters
    ----------
    rebuild
        Makes the frame from the two.
    before, after
        Rows × columns.
    detector
        Describes their noise.
    calm
        Its result for the frames as they are.

    Examples
    --------
    >>> before, after = np.random.default_rng(0).poisson(10, (2, 64, 64))
    >>> calm = (before + after) / 2
    >>> found = inherited_noise(lambda a, b: (a + b) / 2, before, after, PHOTONS, calm)
    >>> 0.5 < found / (noise(before, PHOTONS) / 2) < 1.5
    True
    """
    # The same in every session: an audit is a function of its frames.
    rng = np.random.default_rng(0)

    def shaken(frame: NDArray[Any]) -> Map:
        light = np.maximum(gaussian_filter(np.asarray(frame, float), BLUR_PX) - detector.offset, 0)
        sd = np.sqrt(detector.gain * light + detector.read_sd**2)
        noisy: Map = frame + _SHAKE * sd * rng.normal(size=frame.shape)
        return noisy

    moved = np.asarray(rebuild(shaken(before), shaken(after)), float)
    return float(np.mean(smooth(moved - calm) ** 2)) / _SHAKE**2


def spread(scatter: float, signal: float, pixels: int) -> float:
    """Standard deviation of a mean square of a signal's and the noise's variance.

    Noise behind a Gaussian is shared by neighbours: 2π σ² of its squares, and 4π σ² of its values,
    are as good as one.

    Examples
    --------
    >>> round(spread(1.0, 10.0, pixels=4096), 3)
    0.532
    """
    shared = math.pi * BLUR_PX**2
    of_noise = 2 * scatter**2 * 2 * shared
    of_both = 4 * scatter * max(signal, 0.0) * 4 * shared
    return math.sqrt((of_noise + of_both) / pixels)
