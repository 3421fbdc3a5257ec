"""Power of a frame over spatial frequency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_RING = 0.01
"""Width of a ring of frequencies (cycles a pixel)."""
_NOISE_ONLY = 0.45
"""Frequency from which there is noise only (cycles a pixel; Nyquist is 0.5)."""
# Neighbouring frequencies under a Hann window are not independent: (35/128 / (3/8)²)² of them
# carry as much as one.
_DEPENDENT = (35 / 128 / (3 / 8) ** 2) ** 2


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Mean power in rings of equal frequency.

    Parameters
    ----------
    frequency
        Cycles per pixel, below 0.5.
    power
        Mean squared modulus, in the frame's unit squared.
    modes
        Independent frequencies that the mean was taken over.
    noise
        Power of the noise, the same at every frequency: the mean beyond 0.45 cycles per pixel,
        corners included, where a frame that is sampled finely enough shows nothing else.
    """

    frequency: NDArray[np.float64]
    power: NDArray[np.float64]
    modes: NDArray[np.float64]
    noise: float


def spectrum(frame: NDArray[Any]) -> Spectrum:
    """Radial power spectrum of a frame (rows × columns) under a Hann window.

    Examples
    --------
    >>> found = spectrum(np.random.default_rng(0).poisson(9, (64, 64)))
    >>> bool(found.frequency.max() < 0.5), found.power.shape == found.modes.shape
    (True, True)
    """
    image = frame.astype(float)
    window = np.outer(*(np.hanning(side) for side in image.shape))
    window /= np.sqrt((window**2).sum())
    image = image - (image * window).sum() / window.sum()
    power = np.abs(np.fft.rfft2(image * window)) ** 2
    rows, cols = image.shape
    radius = np.hypot(np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None])
    noise = float(power[radius >= _NOISE_ONLY].mean())
    inside = radius < 0.5
    radius, power = radius[inside], power[inside]
    ring = (radius / _RING).astype(int)
    count = np.bincount(ring)
    filled = count > 0
    count_filled = count[filled]
    return Spectrum(
        np.bincount(ring, radius)[filled] / count_filled,
        np.bincount(ring, power)[filled] / count_filled,
        count_filled / _DEPENDENT,
        noise,
    )
