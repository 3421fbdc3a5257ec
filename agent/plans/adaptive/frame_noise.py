"""The noise of frames, and how much of a frame it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.objectives.estimate import Estimate

Map = NDArray[np.float64]
BLUR_PX = 1.5
"""Standard deviation of the Gaussian through which frames are compared (pixels)."""
_EDGE_PX = 6
"""Border that the Gaussian reaches into, four sigmas of `BLUR_PX` (pixels)."""


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
    from scipy.ndimage import gaussian_filter

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
