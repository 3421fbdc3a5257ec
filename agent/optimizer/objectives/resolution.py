"""Resolution of a STED frame, from that frame alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.objectives.spectrum import Spectrum, spectrum

_WIDTHS_NM = np.geomspace(40, 320, 60)
"""Widths of the effective PSF that are compared (nm, FWHM)."""
_STEEPNESS = np.arange(0, 4.01, 0.25)
"""Exponents of the structure's power spectrum that are compared."""
_STEEPNESS_MEAN, _STEEPNESS_SD = 1.25, 0.5
_LONGEST_NM = 600.0
"""Longest wavelength that is used: longer ones are the field's, not the structure's (nm)."""
_MISFIT = 0.3
"""Relative deviation of structures from a power law."""
_LABEL_NM, _LABEL_SD_NM = 54.0, 4.0
_SURE = 0.1
"""Relative standard deviation above which there is no answer."""
_WIDEST_NM = 250.0
"""Width above which there is no answer: a confocal's (nm)."""
_PIXELS_PER_WIDTH = 2.5
"""Pixels in a width below which it is undersampled."""
_SMALLEST_PX = 96
"""Side of a frame below which it has too few rings (pixels)."""
_ROUNDS = 6
"""Rounds of reweighting; chosen by hand."""


def resolution_nm(frame: NDArray[Any], pixel_size_nm: float) -> float | None:
    """Full width at half maximum of the effective point-spread function (nm).

    The frame's power spectrum is compared with power law × transfer function² + white noise:

        P(k) = A · k^−α · exp(−4π² σ² k² (k w / 0.9)^−0.22) + N,    w = 2.355 σ,

    for widths w of 40 to 320 nm and steepnesses α of 0 (spots) to 4 (smooth patches), weighted
    about 1.25 ± 0.5. The transfer function is that of pySTED's effective PSFs, which are a
    little more pointed than a Gaussian; N is what the frame shows beyond 0.45 cycles per pixel.
    Averaged over α, the likelihood of the rings (with 30% for structures that are no power law)
    gives ln w and its sd. From w the typical width of labelled structures, 54 ± 4 nm, is taken
    away in quadrature. The answer is None where the sd of the result is above 10%.

    Unlike decorrelation or Fourier ring correlation, whose cut-off frequency falls with the
    counts, the shape of the spectrum is the same at any brightness: noise widens the sd, until
    there is no answer.

    Source: blind estimation of the PSF's width from the spectrum, with the power-law prior on
    images of Field, J. Opt. Soc. Am. A 4, 2379 (1987); the likelihood is Whittle's (1953) in
    its Gaussian form. Label width and spread were set on simulated frames of pySTED's and of
    drawn structures of 20 nm pixels, and so were the 10%.

    Known bias: of the answers for simulated frames of nine structures and five dyes, 92% are within
    20% of the truth (`stedfast bench objectives`); tubulin reads 13% too wide. A structure whose
    finest detail is wider than the label above reads as a wider PSF, a finer one as a narrower;
    nothing in one frame can tell them apart. There are few answers below 70 nm, where the label
    is nearly as wide as the PSF, and hardly any below 5 counts on the structure. Out of focus,
    the answer is the width that the PSF has there. A smoothed or interpolated frame has no white
    noise and gives no meaningful answer.

    Parameters
    ----------
    frame
        Rows × columns, unfiltered. Any gain and offset; noise must be alone in each pixel.
    pixel_size_nm
        Pixel size (nm).

    Returns
    -------
    float or None
        None where the frame cannot tell: too few counts, no fine detail, wider than 250 nm,
        fewer than 96 pixels a side or pixels too coarse.

    Examples
    --------
    >>> noise_alone = np.random.default_rng(0).poisson(10, (96, 96))
    >>> resolution_nm(noise_alone, pixel_size_nm=20) is None
    True
    """
    if min(frame.shape) < _SMALLEST_PX:
        return None
    rings = spectrum(frame)
    if rings.noise <= 0:
        return None
    seen = _width(rings, pixel_size_nm)
    squared = seen.width_nm**2 - _LABEL_NM**2
    if squared <= 0:
        return None
    sd = np.hypot(seen.sd * seen.width_nm**2, _LABEL_NM * _LABEL_SD_NM) / squared
    result = float(np.sqrt(squared))
    sampled = result >= _PIXELS_PER_WIDTH * pixel_size_nm
    return result if sd < _SURE and result <= _WIDEST_NM and sampled else None


@dataclass(frozen=True, slots=True)
class _Width:
    """Width of the PSF with the label (nm), and the standard deviation of its logarithm."""

    width_nm: float
    sd: float


def _width(rings: Spectrum, pixel_size_nm: float) -> _Width:
    """Compare the rings with all widths and steepnesses, and average over the latter."""
    used = rings.frequency > pixel_size_nm / _LONGEST_NM
    k, modes = rings.frequency[used], rings.modes[used]
    excess = rings.power[used] - rings.noise
    shape = _transfer(k, _WIDTHS_NM / pixel_size_nm)[:, None] ** 2 * (k / k[0]) ** (
        -_STEEPNESS[:, None]
    )
    signal = np.broadcast_to(np.maximum(excess, 0), shape.shape)
    # The variance depends on the model's power, which depends on how rings are weighted.
    for _ in range(_ROUNDS):
        weight = 1 / _variance(signal, rings.noise, modes)
        height = (shape * excess * weight).sum(-1) / (shape**2 * weight).sum(-1)
        signal = np.maximum(height, 0)[..., None] * shape
    variance = _variance(signal, rings.noise, modes)
    squares = ((excess - signal) ** 2 / variance).sum(-1)
    prior = ((_STEEPNESS - _STEEPNESS_MEAN) / _STEEPNESS_SD) ** 2
    misfit = squares + np.log(variance).sum(-1) + prior
    best = np.unravel_index(int(misfit.argmin()), misfit.shape)
    # A poor best fit means that rings scatter more than was thought.
    spread = max(1.0, float(squares[best]) / (len(k) - 3))
    likelihood = np.exp((misfit.min() - misfit) / 2 / spread).sum(axis=1)
    likelihood /= likelihood.sum()
    log_width = np.log(_WIDTHS_NM)
    mean = float((likelihood * log_width).sum())
    sd = float(np.sqrt((likelihood * (log_width - mean) ** 2).sum()))
    return _Width(float(np.exp(mean)), sd)


def _transfer(k: NDArray[np.float64], widths_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modulation transfer of effective PSFs: widths × frequencies (cycles per pixel)."""
    phase = k * widths_px[:, None]
    sigma = phase / (2 * np.sqrt(2 * np.log(2)))
    transfer: NDArray[np.float64] = np.exp(-2 * np.pi**2 * sigma**2 * (phase / 0.9) ** -0.22)
    return transfer


def _variance(
    signal: NDArray[np.float64], noise: float, modes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Of a ring's mean power: chance, and structures that are no power law."""
    variance: NDArray[np.float64] = (signal + noise) ** 2 / modes + (_MISFIT * signal) ** 2
    return variance
