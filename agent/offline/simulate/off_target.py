"""Where a label binds besides its structure: everywhere in the cytosol, and in spots.

Both are densities on the sample's grid, to be blurred, brought to a strength and drawn as molecules
(`agent.offline.simulate.labels`). They are drawn for each label on its own: two antibodies share
their target and not their mistakes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from agent.offline.simulate.label_population import SimulatedLabel
from agent.offline.simulate.population import Chance

Map = NDArray[np.float64]
PIXEL_NM = 20.0
"""Pixel size of the fields (nm): that of pySTED's datamaps."""
ON_STRUCTURE = 0.1
"""Density above which a pixel belongs to the structure, where it is 1 at its densest."""
SIGMA = 1 / (2 * np.sqrt(2 * np.log(2)))
"""Standard deviation of a Gaussian over its full width at half maximum."""
_GAP_NM = 60.0
"""Least distance of an off-target spot from the structure, beside half its width (nm); chosen."""
_MOST_SPOTS = 120
"""Most off-target spots in a field; chosen."""


def smooth_field(size_px: int, sigma_px: float, rng: Chance) -> Map:
    """Gaussian random field of mean 0 and variance 1: white noise behind a Gaussian blur.

    Parameters
    ----------
    size_px
        Side (pixels).
    sigma_px
        Standard deviation of the blur (pixels).
    rng
        Where chance comes from.
    """
    # It repeats after `period`, so far away that opposite edges know nothing of each other.
    period = size_px + int(4 * sigma_px)
    ky, kx = np.fft.fftfreq(period), np.fft.rfftfreq(period)
    blur = np.exp(-2 * (np.pi * sigma_px) ** 2 * (ky[:, None] ** 2 + kx[None, :] ** 2))
    noise = rng.normal(size=(period, period))
    field = np.fft.irfft2(np.fft.rfft2(noise) * blur, (period, period))
    # Scaled by what the variance is on average, so that a small window keeps its share of it.
    weight = np.concatenate([[1.0], np.full(len(kx) - 1, 2.0)])
    if period % 2 == 0:
        weight[-1] = 1.0
    unit: Map = field[:size_px, :size_px] / np.sqrt((blur**2 * weight).sum() / period**2)
    return unit


def diffuse(label: SimulatedLabel, size_px: int, rng: Chance) -> Map:
    """Density of the diffuse off-target signal, in [0, about 1], over a square of `size_px`."""
    length = label.diffuse_um * 1e3 / PIXEL_NM
    rough = np.exp(0.25 * smooth_field(size_px, length / 4, rng) - 0.25**2 / 2)
    if label.diffuse == "halo":
        return _halo(size_px, length, rng) * rough
    field = smooth_field(size_px, length, rng)
    edge = np.quantile(field, 1 - label.diffuse_coverage)
    # From nothing to all of it over 0.7 standard deviations: a soft edge of some 100 nm and more.
    soft: Map = np.clip((field - edge) / 0.7, 0, 1) * rough
    return soft


def _halo(size_px: int, length: float, rng: Chance) -> Map:
    """Around an elliptic nucleus (which is dimmer), fading outwards over `length` (pixels)."""
    y, x = np.mgrid[:size_px, :size_px] - rng.uniform(0.2, 0.8, 2)[:, None, None] * size_px
    turn = rng.uniform(0, np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    radius = rng.uniform(0.8, 1.6) * 1e3 / PIXEL_NM
    outside = radius * (np.hypot(along / rng.uniform(1.0, 1.6), across) / radius - 1)
    edge = 1 / (1 + np.exp(-outside / 5))
    fading: Map = (0.15 + 0.85 * edge) * np.exp(-np.maximum(outside, 0) / length)
    return fading


def spots(label: SimulatedLabel, structure: Map, energy: float, rng: Chance) -> tuple[Map, int]:
    """Density of punctate off-target signal beside the structure, and how many spots it has.

    Parameters
    ----------
    label
        Sizes and contrast of the spots, and the PSF that decides what their peaks are.
    structure
        Density of the structure in [0, 1], rows × columns; spots keep away from it.
    energy
        Sum of squares of the spots' image wanted, in units of the label's brightness squared.
    rng
        Where chance comes from.

    Returns
    -------
    tuple
        Density in arbitrary units, and the number of spots.
    """
    away_nm = distance_transform_edt(structure <= ON_STRUCTURE) * PIXEL_NM
    out = np.zeros(structure.shape)
    reached, count = 0.0, 0
    while (reached < energy and count < _MOST_SPOTS) or count < 1:
        fwhm_nm = rng.log_uniform(label.spot_nm_low, label.spot_nm_high)
        variance = (np.hypot(fwhm_nm, label.resolution_nm) * SIGMA / PIXEL_NM) ** 2
        peak = label.spot_contrast * rng.gamma(4.0, 0.25)
        middle = _place(away_nm, fwhm_nm / 2 + _GAP_NM, rng)
        for at, width_nm, share in _pieces(label.punctate, middle, fwhm_nm, rng):
            _add(out, at, width_nm * SIGMA / PIXEL_NM, share * peak * 2 * np.pi * variance)
        # Sum of squares of a Gaussian image of this peak and variance.
        reached += np.pi * variance * peak**2
        count += 1
    return out, count


def _place(away_nm: Map, clearance_nm: float, rng: Chance) -> NDArray[np.float64]:
    """Random row and column at least so far from the structure; or as far as there is."""
    free = away_nm >= clearance_nm
    if not free.any():
        free = away_nm >= np.quantile(away_nm, 0.98)
    places = np.flatnonzero(free)
    at = np.unravel_index(int(places[int(rng.integers(len(places)))]), away_nm.shape)
    return np.array(at, dtype=float) + rng.uniform(-0.5, 0.5, 2)


def _pieces(
    kind: str, middle: NDArray[np.float64], fwhm_nm: float, rng: Chance
) -> list[tuple[NDArray[np.float64], float, float]]:
    """Places, widths (nm) and shares of the Gaussian pieces that one spot consists of."""
    if kind == "round":
        return [(middle, fwhm_nm, 1.0)]
    number = int(rng.integers(2, 7))
    shares = rng.dirichlet(np.full(number, 2.0))
    away = rng.uniform(-0.35, 0.35, (number, 2)) * fwhm_nm / PIXEL_NM
    return [
        (middle + step, 0.4 * fwhm_nm, float(share))
        for step, share in zip(away, shares, strict=True)
    ]


def _add(out: Map, at: NDArray[np.float64], sigma_px: float, total: float) -> None:
    """Add a Gaussian with this sum; the part outside falls away."""
    reach = int(np.ceil(4 * sigma_px)) + 1
    first = np.maximum(np.rint(at).astype(int) - reach, 0)
    last = np.minimum(np.rint(at).astype(int) + reach + 1, out.shape)
    y, x = (
        np.exp(-0.5 * ((np.arange(a, b) - c) / sigma_px) ** 2)
        for a, b, c in zip(first, last, at, strict=True)
    )
    # Normalized as a continuous one: where sigma is small, the sum on the grid differs by chance.
    out[first[0] : last[0], first[1] : last[1]] += (
        total / (2 * np.pi * sigma_px**2) * np.outer(y, x)
    )
