"""From a frame as the microscope gives it to what the network sees.

Resampling to 20 nm a pixel, covering with 224 × 224 tiles, normalization. All of it keeps
the aspect ratio and none of it depends on the detector's gain or offset.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality.hot import without_hot_pixels
from models.quality.resampling import PIXEL_SIZE_NM, Image, resample
from models.quality.tiles import cover, normalize

INPUT = 224
"""Rows and columns of a tile (pixels)."""
SMALLEST = 16
"""Rows or columns that a frame must have at 20 nm a pixel (320 nm, 1.5 confocal widths)."""
LARGEST = 2**28
"""Pixels that a frame may have at 20 nm a pixel: 330 µm on a side."""


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
    """A frame that can be scored if it is finite; errors are those of `prepare`.

    Examples
    --------
    >>> accepted(np.zeros((8, 64)), 20.0)
    Traceback (most recent call last):
    ...
    ValueError: frame of 8 × 64 pixels of 20 nm; accepted: at least 320 nm on each side
    """
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
