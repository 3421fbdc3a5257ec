"""From a frame as the microscope gives it to what the network sees.

Resampling to 20 nm a pixel, covering with 224 × 224 tiles, normalization. All of it keeps
the aspect ratio and none of it depends on the detector's gain or offset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality.hot import without_hot_pixels

PIXEL_SIZE_NM = 20.0
"""Pixel size at which frames are scored (nm)."""

INPUT = 224
"""Rows and columns of a tile (pixels)."""

SMALLEST = 16
"""Rows or columns that a frame must have at 20 nm a pixel (320 nm, 1.5 confocal widths)."""

LARGEST = 2**28
"""Pixels that a frame may have at 20 nm a pixel: 330 µm on a side."""

# Closer than this to 20 nm a frame is taken as it is: resampling it would correlate the noise
# of neighbouring pixels, which changes a frame more than a size two percent off.
_CLOSE = 0.02
_LOW, _HIGH = PERCENTILES = (1.0, 99.8)

Image = NDArray[np.float32]


def _weights(size: int, step: float) -> NDArray[np.float64]:
    """Matrix (new, old) that resamples an axis of `size` pixels to pixels of `step` old ones."""
    count = max(1, int(np.floor(size / step + 1e-6)))
    if step > 1:
        # A larger pixel: the mean over the part of each old pixel that lies in it.
        left = np.arange(count)[:, None] * step
        old = np.arange(size)[None, :]
        overlap = np.minimum(left + step, old + 1) - np.maximum(left, old)
        weights = np.maximum(overlap, 0.0)
    else:
        # A smaller pixel: linear between the centres of the old ones.
        centre = np.clip((np.arange(count) + 0.5) * step - 0.5, 0, size - 1)
        weights = np.maximum(1 - np.abs(centre[:, None] - np.arange(size)[None, :]), 0.0)
    normalized: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalized


def as_it_is(pixel_size_nm: float) -> bool:
    """Whether frames of this pixel size are not resampled.

    Examples
    --------
    >>> as_it_is(20.0), as_it_is(50.0)
    (True, False)
    """
    return abs(PIXEL_SIZE_NM / pixel_size_nm - 1) <= _CLOSE


def resample(frame: Image, pixel_size_nm: float) -> Image:
    """Resample to 20 nm a pixel with the same factor along both axes.

    Finer pixels are averaged by area, as a detector with larger pixels would have counted;
    coarser ones are interpolated linearly, which adds no detail that was not scanned. The rest
    at the lower and right edge (less than a new pixel) is cut off rather than squeezed in.

    Parameters
    ----------
    frame
        Rows × columns.
    pixel_size_nm
        Pixel size of `frame` (nm).

    Examples
    --------
    >>> resample(np.ones((64, 64), np.float32), pixel_size_nm=10).shape
    (32, 32)
    """
    if as_it_is(pixel_size_nm):
        return frame
    step = PIXEL_SIZE_NM / pixel_size_nm
    rows, columns = (_weights(size, step) for size in frame.shape)
    resampled: Image = (rows @ frame @ columns.T).astype(np.float32)
    return resampled


def _percentile(tile: Image, percent: float) -> float:
    """`numpy.percentile`, several times sooner: it looks at one end of the values only."""
    flat = tile.ravel()
    if percent > 50:
        return -_percentile(-tile, 100 - percent)
    rank = percent / 100 * (flat.size - 1)
    # A sample says roughly where that rank is; only values below need to be sorted.
    sample = np.sort(flat[::16])
    bound = sample[min(sample.size - 1, 8 + 2 * int(rank) // 16)]
    end = flat[flat <= bound]
    below = int(rank)
    if end.size < below + 2:
        return float(np.percentile(tile, percent))
    first = float(end.min())
    if first == bound:
        return first
    pair = np.partition(end, (below, below + 1))[below : below + 2].astype(np.float64)
    return float(pair[0] + (rank - below) * (pair[1] - pair[0]))


def normalize(tile: Image) -> Image:
    """Scale a tile by its own 1 and 99.8 percentiles.

    Gain and offset differ from camera to camera and say nothing about quality; the photon
    count does, and stays visible as the noise's share of the signal. A tile whose percentiles
    coincide (nearly empty) is scaled by its range; a constant one becomes zero.

    Examples
    --------
    >>> round(float(normalize(np.array([[0, 5, 10]], np.float32))[0, 1]), 2)
    0.5
    """
    low, high = _percentile(tile, _LOW), _percentile(tile, _HIGH)
    if high <= low:
        low, high = tile.min(), tile.max()
    if high <= low:
        return np.zeros_like(tile)
    normalized: Image = ((tile - np.float32(low)) / np.float32(high - low)).astype(np.float32)
    return normalized


def cover(frame: Image, size: int) -> list[Image]:
    """Cover a frame with `size` × `size` tiles, evenly overlapping where they must.

    An axis shorter than a tile is continued by reflection, as often as it takes: the network
    then sees the frame's own structures and noise, at their true size, and no edge.

    Examples
    --------
    >>> [tile.shape for tile in cover(np.zeros((300, 224), np.float32), 224)]
    [(224, 224), (224, 224)]
    """
    short = [max(0, size - length) for length in frame.shape]
    if any(short):
        frame = np.pad(frame, [(gap // 2, gap - gap // 2) for gap in short], mode="reflect")
    return [frame[y : y + size, x : x + size] for y, x in corners(frame.shape, size)]


def corners(shape: tuple[int, ...], size: int) -> list[tuple[int, int]]:
    """Upper left corners (row, column) of the tiles that cover a frame at least as large.

    Examples
    --------
    >>> corners((300, 224), 224)
    [(0, 0), (76, 0)]
    """
    starts = [
        np.round(np.linspace(0, length - size, -(-length // size))).astype(int).tolist()
        for length in shape
    ]
    return [(y, x) for y in starts[0] for x in starts[1]]


def prepare(
    frame: NDArray[Any], pixel_size_nm: float, size: int = INPUT
) -> tuple[Image, NDArray[np.float64]]:
    """Turn a frame into the network's input, single hot pixels left out (see `hot`).

    Parameters
    ----------
    frame
        Rows × columns, any real number type, any size from 320 nm up.
    pixel_size_nm
        Its pixel size (nm).
    size
        Rows and columns of a tile (pixels).

    Returns
    -------
    tiles
        Tiles × rows × columns, each normalized by itself, as the network was trained.
    weights
        A tile's share in the frame's score, adding up to 1: its standard deviation, so that
        an empty corner does not dilute the rest. All 0 for a constant frame, which shows nothing,
        at any network output.

    Raises
    ------
    ValueError
        For a frame that is not 2-D, not of real numbers, not finite or too small, and for
        a pixel size that is not positive and finite.

    Examples
    --------
    >>> tiles, weights = prepare(np.random.default_rng(0).poisson(9, (300, 224)), 20.0)
    >>> tiles.shape, round(float(weights.sum()), 6)
    ((2, 224, 224), 1.0)
    """
    frame = accepted(frame, pixel_size_nm).astype(np.float32)
    if not np.isfinite(frame).all():
        raise ValueError(f"frame with {int((~np.isfinite(frame)).sum())} values not finite")
    cut = cover(resample(without_hot_pixels(frame), pixel_size_nm), size)
    contrast = np.array([tile.std(dtype=np.float64) for tile in cut])
    total = contrast.sum()
    weights = contrast / total if total > 0 else contrast
    return np.stack([normalize(tile) for tile in cut]), weights


def accepted(frame: NDArray[Any], pixel_size_nm: float) -> NDArray[Any]:
    """A frame that can be scored if it is finite; errors are those of `prepare`."""
    frame = np.asarray(frame)
    if not (np.isfinite(pixel_size_nm) and pixel_size_nm > 0):
        raise ValueError(f"pixel size: found {pixel_size_nm} nm; accepted: a positive number")
    if frame.ndim != 2:
        raise ValueError(f"frame of shape {frame.shape}; accepted: one grey image (y, x)")
    if frame.dtype.kind not in "uifb":
        raise ValueError(f"frame of type {frame.dtype}; accepted: real numbers")
    least = SMALLEST * PIXEL_SIZE_NM
    if min(frame.shape) * pixel_size_nm < least:
        raise ValueError(
            f"frame of {frame.shape[0]} × {frame.shape[1]} pixels of {pixel_size_nm:g} nm;"
            f" accepted: at least {least:g} nm on each side"
        )
    scale = (pixel_size_nm / PIXEL_SIZE_NM) ** 2
    if frame.size * scale > LARGEST:
        raise ValueError(
            f"frame of {frame.shape[0]} × {frame.shape[1]} pixels of {pixel_size_nm:g} nm;"
            f" accepted: up to {LARGEST} pixels of {PIXEL_SIZE_NM:g} nm"
        )
    return frame
