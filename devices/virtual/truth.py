"""Ground truth: how much of the structure finer than a confocal a frame really shows.

Nothing on a microscope can know this; tests, benchmarks and training sets can. The agent
never imports this module for a decision.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

FINE_NM = 50.0
"""FWHM of the finest detail that counts (nm); chosen: what good STED frames resolve."""
CONFOCAL_NM = 220.0
"""FWHM of what a confocal frame resolves (nm): the effective PSF of `optics` without depletion."""
_FWHM = 2 * np.sqrt(2 * np.log(2))
"""Of a Gaussian, in standard deviations."""
# With the raw correlation alone, 1 / (1 + exp(-8.2 (h - 0.71))) reads like a network trained on
# experts' ratings of actin (0.08 RMS). These give the same label to the mean of both, fitted to
# 600 frames of all structures (0.054 RMS, on actin 0.051).
_SLOPE, _MIDDLE = 11.0, 0.778


def _blur(image: NDArray[np.float64], width_nm: float, pixel_nm: float) -> NDArray[np.float64]:
    """Gaussian blur of full width at half maximum `width_nm`."""
    blurred: NDArray[np.float64] = gaussian_filter(image, width_nm / _FWHM / pixel_nm)
    return blurred


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Pearson correlation; 0 where either image is flat."""
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def detail_recovered(
    molecules: NDArray[np.integer], frame: NDArray[np.integer], pixel_nm: float = 20.0
) -> float:
    """Correlation of the frame's detail with the sample's, both finer than a confocal.

    With D the molecules before the scan, I the frame and G(w) a Gaussian blur of full width
    w nm, the sample's detail is d = G(50)D − G(220)G(50)D; the result is the mean of the
    Pearson correlations of d with the frame's detail, raw (I − G(220)I) and smoothed
    (G(50)I − G(220)G(50)I). Over 180 simulated frames it ranks frames as a network trained
    on experts' ratings does (Spearman 0.95 on actin, 0.84 on tubulin, 0.82 on PSD95).

    Parameters
    ----------
    molecules, frame
        Rows × columns, same shape and field.
    pixel_nm
        Pixel size (nm).

    Returns
    -------
    float
        In [-1, 1]; 0 for a field without structure.
    """
    sample, image = molecules.astype(float), frame.astype(float)

    def detail(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        return picture - _blur(picture, CONFOCAL_NM, pixel_nm)

    fine = detail(_blur(sample, FINE_NM, pixel_nm))
    raw = _correlation(fine, detail(image))
    smoothed = _correlation(fine, detail(_blur(image, FINE_NM, pixel_nm)))
    return 0.5 * (raw + smoothed)


def quality_from_detail(h: float) -> float:
    """Reference quality in [0, 1] of a frame whose `detail_recovered` is h: a logistic of it."""
    return float(1 / (1 + np.exp(-_SLOPE * (h - _MIDDLE))))


def quality_label(
    molecules: NDArray[np.integer], frame: NDArray[np.integer], pixel_nm: float = 20.0
) -> float:
    """Reference quality in [0, 1] of a frame; parameters as in `detail_recovered`."""
    return quality_from_detail(detail_recovered(molecules, frame, pixel_nm))
