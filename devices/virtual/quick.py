"""A bleaching scan by convolution: what pySTED's raster scan gives, sixty times sooner.

pySTED visits pixel after pixel and bleaches molecules on the way. While powers and dwell time
stay the same, what a molecule has lived through when the beam stands at some offset from it
depends on that offset alone: the lines above, whole, and the pixels to the left. So the mean
frame is a convolution of the sample with the effective PSF times the share of molecules that
is still alive at each offset. Only near the field's upper edge are there fewer lines above;
those rows get kernels of their own.

It is for data sets and simulated sessions, where thousands of frames are needed. Against the
raster scan the mean counts agree within 2% and the quality label within 0.03 RMS unless nearly
everything is bleached; it leaves out that molecules at the left and right edge of the field were
spared some light, and which molecule was lost when.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from devices.virtual.optics import Optics


class _Focus(NamedTuple):
    """What a scan's light does to molecules, by their offset from the beam (size × size).

    Parameters
    ----------
    psf
        Detected power of a living molecule (W).
    own_line
        Bleaching exponent so far from the line that is being scanned.
    alive
        Share of the molecules that is alive, far from the field's upper edge.
    by_line
        Bleaching exponent of a whole line above, by row.
    """

    psf: NDArray[np.float64]
    own_line: NDArray[np.float64]
    alive: NDArray[np.float64]
    by_line: NDArray[np.float64]


def _focus(
    optics: Optics,
    *,
    excitation_w: float,
    depletion_w: float,
    dwell_s: float,
    passes: int,
    z_um: float,
) -> _Focus:
    light = {"excitation_w": excitation_w, "depletion_w": depletion_w, "z_um": z_um}
    exposure = optics.bleaching_exponent(**light, dwell_s=dwell_s, passes=passes)
    by_line = exposure.sum(axis=1)
    # In its own line a molecule at column offset b was met by the beam at offsets beyond b.
    own_line = np.cumsum(exposure[:, ::-1], axis=1)[:, ::-1] - exposure
    lines_above = np.cumsum(by_line[::-1])[::-1] - by_line
    alive = np.exp(-(own_line + lines_above[:, None]))
    return _Focus(optics.psf(**light), own_line, alive, by_line)


def quick_scan(
    optics: Optics,
    molecules: NDArray[np.int64],
    *,
    excitation_w: float,
    depletion_w: float,
    dwell_s: float,
    passes: int = 1,
    z_um: float = 0.0,
    background_hz: float = 0.0,
    seed: int,
) -> NDArray[np.int64]:
    """Counts of one scan; parameters as in `Optics.scan`.

    Returns
    -------
    ndarray
        Detected photons, shape of the field of view.
    """
    focus = _focus(
        optics,
        excitation_w=excitation_w,
        depletion_w=depletion_w,
        dwell_s=dwell_s,
        passes=passes,
        z_um=z_um,
    )
    power = _drawn_power(focus, molecules, seed)
    return optics.detect(power, dwell_s * passes, background_hz, seed)


def quick_light(
    optics: Optics,
    molecules: NDArray[np.int64],
    *,
    excitation_w: float,
    depletion_w: float,
    dwell_s: float,
    passes: int = 1,
    z_um: float = 0.0,
    background_hz: float = 0.0,
    seed: int,
) -> NDArray[np.float64]:
    """Counts that `quick_scan` of this seed has on average over the noise of photons alone.

    Which molecules are bleached is drawn as there.
    """
    focus = _focus(
        optics,
        excitation_w=excitation_w,
        depletion_w=depletion_w,
        dwell_s=dwell_s,
        passes=passes,
        z_um=z_um,
    )
    power = _drawn_power(focus, molecules, seed)
    counts: NDArray[np.float64] = (optics.photons_counted(power) + background_hz) * (
        dwell_s * passes
    )
    return counts


def quick_mean(
    optics: Optics,
    molecules: NDArray[np.int64],
    *,
    excitation_w: float,
    depletion_w: float,
    dwell_s: float,
    passes: int = 1,
    z_um: float = 0.0,
    background_hz: float = 0.0,
) -> NDArray[np.float64]:
    """Counts that `quick_scan` has on average: what a frame would be without noise."""
    focus = _focus(
        optics,
        excitation_w=excitation_w,
        depletion_w=depletion_w,
        dwell_s=dwell_s,
        passes=passes,
        z_um=z_um,
    )
    power = _power(focus, molecules.astype(np.float64), 1.0)
    counts: NDArray[np.float64] = (optics.photons_counted(power) + background_hz) * (
        dwell_s * passes
    )
    return counts


def quick_survivors(
    optics: Optics,
    molecules: NDArray[np.int64],
    *,
    excitation_w: float,
    depletion_w: float,
    dwell_s: float,
    passes: int = 1,
    z_um: float = 0.0,
    seed: int,
) -> NDArray[np.int64]:
    """Molecules of the window that are alive after a scan of the field within it."""
    margin = optics.margin
    exposure = optics.bleaching_exponent(
        excitation_w, depletion_w, dwell_s=dwell_s, passes=passes, z_um=z_um
    )
    scanned = np.zeros(molecules.shape)
    scanned[margin:-margin, margin:-margin] = 1.0
    exponent = np.maximum(fftconvolve(scanned, exposure, mode="same"), 0.0)
    rng = np.random.default_rng(seed)
    survivors: NDArray[np.int64] = rng.binomial(molecules, np.exp(-exponent))
    return survivors


def _drawn_power(focus: _Focus, molecules: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Power on the detector at each pixel (W) from those molecules that the scan leaves alive."""
    # Drawn as they are alive when they shine most; the kernel corrects their mean elsewhere.
    shining = float(
        (focus.psf * focus.alive**2).sum()
        / max((focus.psf * focus.alive).sum(), np.finfo(float).tiny)
    )
    rng = np.random.default_rng(seed)
    drawn = rng.binomial(molecules, min(1.0, shining)).astype(np.float64)
    return _power(focus, drawn, 1.0 / max(shining, np.finfo(float).tiny))


def _power(focus: _Focus, molecules: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    """Power on the detector at each pixel of the field (W)."""
    kernel = focus.psf * focus.alive * scale
    power = fftconvolve(molecules, kernel[::-1, ::-1], mode="valid")
    edge = min(len(kernel) - 1, len(power))
    unbleached = focus.psf * np.exp(-focus.own_line) * scale
    power[:edge] = _upper_rows(molecules, unbleached, focus.by_line, edge)
    shining: NDArray[np.float64] = np.maximum(power, 0.0)
    return shining


def _upper_rows(
    drawn: NDArray[np.float64],
    kernel: NDArray[np.float64],
    by_line: NDArray[np.float64],
    count: int,
) -> NDArray[np.float64]:
    """The first rows, where `kernel` is dimmed by those lines only that lie within the field."""
    size, width = len(kernel), drawn.shape[1]
    length = width + size
    sample = np.fft.rfft(drawn[: count + size], length)
    focus = np.fft.rfft(kernel[:, ::-1], length)
    so_far = np.concatenate([[0.0], np.cumsum(by_line)])
    offset = np.arange(size)
    rows = []
    for row in range(count):
        above = so_far[np.minimum(offset + row + 1, size)] - so_far[offset + 1]
        alive = np.exp(-above)[:, None]
        rows.append((sample[row : row + size] * focus * alive).sum(axis=0))
    together: NDArray[np.float64] = np.fft.irfft(np.array(rows), length)[:, size - 1 : width]
    return together
