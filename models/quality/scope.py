"""Frames that a score should not be believed of, told from their pixels alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality.hot import without_hot_pixels
from models.quality.raster import raster_flags
from models.quality.score import Flag

PIXEL_SIZES_NM = (10.0, 30.0)
"""Pixel sizes that a frame can be resampled from without changing its content."""

BLOCK = 8
"""Side of the blocks whose means are compared (pixels); chosen."""
_SURE = 5.0
"""Standard deviations of chance that a structure must exceed; chosen."""
_SATURATED = 5e-4
"""Share of the pixels at the brightest value above which it is a limit; chosen."""


def flags(frame: NDArray[Any], pixel_size_nm: float) -> list[Flag]:
    """Reasons not to believe a score of this frame (rows × columns); see `score.FLAGS`.

    Examples
    --------
    >>> flags(np.random.default_rng(0).poisson(9, (64, 64)), pixel_size_nm=20)
    ['blank']
    """
    found: list[Flag] = []
    if blank(without_hot_pixels(frame)):
        found.append("blank")
    if saturated(frame):
        found.append("saturated")
    if not PIXEL_SIZES_NM[0] <= pixel_size_nm <= PIXEL_SIZES_NM[1]:
        found.append("pixel_size")
    if "blank" not in found:
        found += raster_flags(frame, pixel_size_nm)
    return found


def without_structure(ratio: float, blocks: int) -> bool:
    """Whether means over blocks vary no more than noise lets them; see `blank`.

    Parameters
    ----------
    ratio
        Their variance, over its expected value.
    blocks
        How many.

    Examples
    --------
    >>> without_structure(1.1, blocks=64), without_structure(3.0, blocks=64)
    (True, False)
    """
    return bool(ratio < 1 + _SURE * np.sqrt(2 / blocks))


def at_the_limit(
    counts: tuple[int, int, int], values: tuple[float, float, float], dtype: np.dtype[Any]
) -> bool:
    """Whether the brightest pixels are many and all alike; see `saturated`.

    Parameters
    ----------
    counts
        Pixels in all, as bright as the brightest, and as bright as the next.
    values
        The brightest, the next (as bright as the brightest where there is none), the darkest.
    dtype
        Of the frame.
    """
    size, at_top, at_next = counts
    top, next_to_top, least = values
    if at_top <= max(4, _SATURATED * size):
        return False
    if dtype.kind in "ui" and top == np.iinfo(dtype).max:
        return True
    if next_to_top == top:
        return False
    # Of few counts, many pixels may well share the largest.
    levels = (top - least) / max(top - next_to_top, 1e-12)
    return levels >= 8 and at_top > 2 * at_next


def blank(frame: NDArray[Any]) -> bool:
    """Whether the frame holds nothing that noise does not explain.

    Noise is alone in each pixel, so that means over blocks of 8 × 8 pixels vary by 1/64 of its
    variance, give or take the chance of as many blocks. A structure makes them vary more.

    Examples
    --------
    >>> light = np.repeat([2, 40], 32)
    >>> rng = np.random.default_rng(0)
    >>> blank(rng.poisson(9, (64, 64))), blank(rng.poisson(light, (64, 64)))
    (True, False)
    """
    rows, cols = (length // BLOCK for length in frame.shape)
    if rows < 2 or cols < 2:
        return bool(frame.max() == frame.min())
    cut = frame[: rows * BLOCK, : cols * BLOCK].astype(np.float32)
    cut -= cut.mean(dtype=np.float64)
    variance = float(np.vdot(cut, cut)) / cut.size
    if variance == 0:
        return True
    lines = cut.reshape(rows, BLOCK, cols * BLOCK).sum(1)
    means = lines.reshape(rows, cols, BLOCK).sum(2) / BLOCK**2
    ratio = float(means.var(dtype=np.float64)) * BLOCK**2 / variance
    return without_structure(ratio, means.size)


def saturated(frame: NDArray[Any]) -> bool:
    """Whether the detector was at its limit: brightest pixels that are many, and all alike.

    The counts of a structure thin out towards the brightest. Where a detector has a limit, all
    that would lie above it piles up there instead.

    Examples
    --------
    >>> frame = np.random.default_rng(0).poisson(np.linspace(0, 90, 64), (64, 64))
    >>> saturated(frame), saturated(np.minimum(frame, 60))
    (False, True)
    """
    top = frame.max()
    at_top = int(np.count_nonzero(frame == top))
    if at_top <= max(4, _SATURATED * frame.size):
        return False  # of most frames no more needs to be known
    below = frame[frame < top]
    next_to_top, least = (below.max(), below.min()) if below.size else (top, top)
    at_next = int(np.count_nonzero(frame == next_to_top))
    values = float(top), float(next_to_top), float(least)
    return at_the_limit((frame.size, at_top, at_next), values, frame.dtype)
