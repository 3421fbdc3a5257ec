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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.objectives.estimate import Estimate
from agent.plans.adaptive.frame_noise import (
    BLUR_PX,
    Detector,
    Map,
    noise,
    smooth,
    spread,
    structure,
)

_LEAST_STRUCTURE = 3.0
"""Variance of the structure in its standard deviations from which an error is stated."""
_SHAKE = 0.5
"""Noise added to a frame, as a share of its own, to see what noise does to a result."""
UNKNOWN = Estimate(float("nan"), float("inf"))
"""Of a frame that shows no structure."""


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
    >>> from agent.plans.adaptive.frame_noise import PHOTONS
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
    >>> from agent.plans.adaptive.frame_noise import PHOTONS
    >>> before, after = np.random.default_rng(0).poisson(10, (2, 64, 64))
    >>> calm = (before + after) / 2
    >>> found = inherited_noise(lambda a, b: (a + b) / 2, before, after, PHOTONS, calm)
    >>> 0.5 < found / (noise(before, PHOTONS) / 2) < 1.5
    True
    """
    # The same in every session: an audit is a function of its frames.
    rng = np.random.default_rng(0)

    def shaken(frame: NDArray[Any]) -> Map:
        from scipy.ndimage import gaussian_filter

        light = np.maximum(gaussian_filter(np.asarray(frame, float), BLUR_PX) - detector.offset, 0)
        sd = np.sqrt(detector.gain * light + detector.read_sd**2)
        noisy: Map = frame + _SHAKE * sd * rng.normal(size=frame.shape)
        return noisy

    moved = np.asarray(rebuild(shaken(before), shaken(after)), float)
    return float(np.mean(smooth(moved - calm) ** 2)) / _SHAKE**2
