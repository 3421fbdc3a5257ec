"""What a scan is expected to give, from the sample's power spectrum: no photon is drawn.

The reference label compares a frame with its sample by correlations of both, and those are sums
over the power spectrum: the sample's, the squared transfer of the focus, and the white noise of
photons and of molecules that bleach. So a label costs one Fourier transform of the effective PSF, a
hundredth of a simulated frame. It is for libraries of simulated sessions, where a million of them
are needed. Against the mean label of simulated frames it is right within 0.02 RMS for dense
structures and 0.08 for sparse ones if the fields are handed in as overlapping tiles
(`agent.offline.simulate.sessions.even_tiles`). Tiles side by side are tapered where they meet,
which costs 0.1, and up to 0.3 where a sparse structure happens to lie there
(`tests/devices/test_expected.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from devices.virtual.optics import Optics
from devices.virtual.truth import CONFOCAL_NM, FINE_NM, quality_from_detail

Array = NDArray[np.float64]
_SIZE = 160
"""Side of the tiles that spectra are taken of (pixels); chosen."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a scan is expected to give.

    Parameters
    ----------
    quality
        Reference label in [0, 1] (`devices.virtual.truth.quality_label`).
    bleaching
        Share of the molecules lost, far from the field's edges.
    counts
        Mean counts of a pixel, background included.
    """

    quality: float
    bleaching: float
    counts: float


class Spectrum:
    """Mean and power spectrum of a sample's molecules per pixel.

    Parameters
    ----------
    fields
        Some windows of the sample (molecules per pixel), each at least 160 × 160 pixels.
    pixel_nm
        Pixel size (nm).
    """

    def __init__(self, fields: Sequence[NDArray[np.integer]], pixel_nm: float = 20.0) -> None:
        parts = [tile for field in fields for tile in _tiles(np.asarray(field, dtype=float))]
        self.mean = float(np.mean([part.mean() for part in parts]))
        # Tapered, as a tile's opposite edges do not match.
        taper = np.outer(*[np.hanning(_SIZE + 2)[1:-1]] * 2)
        power = [
            np.abs(np.fft.rfft2((part - part.mean()) * taper)) ** 2 / (taper**2).sum()
            for part in parts
        ]
        ky, kx = np.fft.fftfreq(_SIZE), np.fft.rfftfreq(_SIZE)
        k2 = ky[:, None] ** 2 + kx[None, :] ** 2
        # Each column but the first and the last stands for two.
        twice = np.where((kx > 0) & (kx < 0.5), 2.0, 1.0)
        self.power: Array = np.mean(power, axis=0) * twice
        self.weight: Array = np.broadcast_to(twice, k2.shape) * (k2 > 0)
        self.power[0, 0] = 0.0
        fine, coarse = (_gauss(k2, width / pixel_nm) for width in (FINE_NM, CONFOCAL_NM))
        self.raw: Array = 1 - coarse
        self.smoothed: Array = fine * (1 - coarse)


def _tiles(field: Array) -> list[Array]:
    rows, cols = (np.arange(n // _SIZE) * _SIZE for n in field.shape)
    tiles = [field[r : r + _SIZE, c : c + _SIZE] for r in rows for c in cols]
    if not tiles:
        raise ValueError(f"a field of {field.shape} pixels: at least {_SIZE} × {_SIZE} are needed")
    return tiles


def _gauss(k2: Array, fwhm_px: float) -> Array:
    """Transfer of a Gaussian blur of this full width at half maximum."""
    sigma = fwhm_px / (2 * np.sqrt(2 * np.log(2)))
    blurred: Array = np.exp(-2 * (np.pi * sigma) ** 2 * k2)
    return blurred


class Scanner:
    """One scan's transfer: the same for every sample with this dye at these settings.

    Parameters
    ----------
    optics, excitation_w, depletion_w, dwell_s, passes
        As in `Optics.scan`.
    """

    def __init__(
        self,
        optics: Optics,
        *,
        excitation_w: float,
        depletion_w: float,
        dwell_s: float,
        passes: int = 1,
    ) -> None:
        psf = optics.psf(excitation_w, depletion_w)
        exposure = optics.bleaching_exponent(
            excitation_w, depletion_w, dwell_s=dwell_s, passes=passes
        )
        by_line = exposure.sum(axis=1)
        # As in `quick_scan`: what a molecule has met when the beam stands at some offset.
        own_line = np.cumsum(exposure[:, ::-1], axis=1)[:, ::-1] - exposure
        lines_above = np.cumsum(by_line[::-1])[::-1] - by_line
        alive = np.exp(-(own_line + lines_above[:, None]))
        self.bleaching = float(-np.expm1(-exposure.sum()))
        seconds = dwell_s * passes
        self._seconds = seconds
        per_molecule = optics.photons_counted(psf * alive) * seconds
        self._counts = float(per_molecule.sum())
        kernel = np.zeros((_SIZE, _SIZE))
        kernel[: len(psf), : len(psf)] = per_molecule
        middle = len(psf) // 2
        # Bleaching makes the focus lopsided: shifted copies correlate less.
        transfer = np.fft.rfft2(np.roll(kernel, (-middle, -middle), (0, 1)))
        self._transfer: Array = transfer.real
        self._transfer2: Array = np.abs(transfer) ** 2
        # A molecule is there or gone: the rest of the granularity that this gives.
        total = max(self._counts, 1e-30)
        shining = float((per_molecule * alive).sum() / total)
        self._granularity = (1 - shining) / max(shining, 1e-6)

    def look(self, sample: Spectrum, background_hz: float) -> Expected:
        """What this scan gives of a sample before a background (photons/s)."""
        counts = self._counts * sample.mean + background_hz * self._seconds
        seen = sample.power * self._transfer2
        noise = (counts + self._granularity * sample.mean * self._transfer2) * sample.weight
        truth = float(np.sqrt((sample.power * sample.smoothed**2).sum()))
        detail = 0.0
        for view in (sample.raw, sample.smoothed):
            shared = float((sample.power * self._transfer * sample.smoothed * view).sum())
            spread = float(((seen + noise) * view**2).sum())
            detail += 0.5 * shared / max(truth * np.sqrt(spread), 1e-30)
        return Expected(quality_from_detail(detail), self.bleaching, counts)
