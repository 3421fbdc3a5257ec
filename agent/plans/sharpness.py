"""How sharp a frame is, and whether one plane of a sweep is sharper than the others.

Normalized variance is variance over mean (Groen, Young and Ligthart, Cytometry 6 (1985), 81); the
spectrum's measure is its power in a band of middle frequencies, over the mean as well: the finest
ones hold nothing but noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import fdtrc

from agent.plan import Frame

Pixels = NDArray[np.float64]

_SMOOTH_PX = 1.0
"""Standard deviation that frames are smoothed with (px); chosen: below the width of a spot."""
_BAND = (0.0625, 0.25)
"""Spatial frequencies of fine structure (1/px); chosen: periods of 4 to 16 px."""
_CHANCE = 1e-3
"""How likely a sweep without any structure may pass for one with a focus; chosen."""
_SDS = 3.0
"""Standard deviations of a score that the best and the worst plane are to differ by; chosen."""


@dataclass(frozen=True, slots=True)
class Sharpness:
    """How sharp a frame is.

    Parameters
    ----------
    value
        Of the whole frame.
    parts
        Of four frames that have every second pixel of every second row; they see the same
        structure with noise of their own. Empty where the value has a standard deviation.
    sd
        Its standard deviation, where it has one.
    """

    value: float
    parts: tuple[float, ...] = ()
    sd: float = 0.0


def variance(pixels: Pixels) -> float:
    """Variance over mean, of what is left where noise of single pixels is smoothed out.

    0 of a dark frame.

    Examples
    --------
    >>> variance(np.full((8, 8), 3.0))
    0.0
    """
    smooth = gaussian_filter(pixels, _SMOOTH_PX)
    mean = float(smooth.mean())
    return float(smooth.var()) / mean if mean > 0 else 0.0


def spectrum(pixels: Pixels) -> float:
    """Power of fine structure over mean; 0 of a dark frame.

    Examples
    --------
    >>> spectrum(np.full((8, 8), 3.0))
    0.0
    """
    mean = float(pixels.mean())
    power = np.abs(np.fft.rfft2(pixels - mean)) ** 2
    y = np.fft.fftfreq(pixels.shape[0])[:, None]
    x = np.fft.rfftfreq(pixels.shape[1])[None, :]
    frequency = np.hypot(y, x)
    fine = power[(frequency >= _BAND[0]) & (frequency <= _BAND[1])].sum()
    return float(fine) / pixels.size**2 / mean if mean > 0 else 0.0


_OF_PIXELS: Mapping[str, Callable[[Pixels], float]] = {"variance": variance, "spectrum": spectrum}


def sharpness(frame: Frame, measure: str) -> Sharpness:
    """How sharp a frame is.

    Parameters
    ----------
    frame
        One of a sweep.
    measure
        `variance`, `spectrum` or `score`.

    Raises
    ------
    AnalysisError
        Its score could not be computed.

    Examples
    --------
    >>> pixels = np.random.default_rng(0).poisson(9, (64, 64))
    >>> pixels[24:40, 24:40] += 90
    >>> sharp = Frame(0, None, {}, pixels, 0.0, None)
    >>> blurred = Frame(1, None, {}, gaussian_filter(pixels, 4.0), 0.0, None)
    >>> sharpness(sharp, "variance").value > sharpness(blurred, "variance").value
    True
    """
    if measure == "score":
        return Sharpness(frame.quality.value, sd=frame.quality.sd)
    of, pixels = _OF_PIXELS[measure], frame.pixels.astype(np.float64)
    parts = (of(pixels[row::2, column::2]) for row in (0, 1) for column in (0, 1))
    return Sharpness(of(pixels), tuple(parts))


def is_focus(planes: Sequence[Sharpness]) -> bool:
    """Whether the planes of a sweep differ by more than their noise.

    Where they have parts it is an analysis of variance (planes × parts, without repetition).

    Examples
    --------
    >>> flat = [Sharpness(1.0, (0.9, 1.1, 1.0, 1.0)), Sharpness(1.0, (1.1, 0.9, 1.0, 1.0))] * 3
    >>> is_focus(flat)
    False
    """
    values = np.array([plane.value for plane in planes])
    if not np.isfinite(values).all():
        return False
    if not planes[0].parts:
        noise = float(np.median([plane.sd for plane in planes]))
        return bool(np.ptp(values) > _SDS * noise)
    table = np.array([plane.parts for plane in planes])
    of_planes = table.mean(axis=1, keepdims=True) - table.mean()
    left = table - table.mean(axis=0) - of_planes
    between, within = table.shape[0] - 1, (table.shape[0] - 1) * (table.shape[1] - 1)
    noise = float((left**2).sum()) / within
    effect = table.shape[1] * float((of_planes**2).sum()) / between
    if noise == 0:
        return bool(effect > 0)
    return bool(fdtrc(between, within, effect / noise) < _CHANCE)
