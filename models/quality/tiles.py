"""Tiles that cover a frame, each normalized by itself."""

from __future__ import annotations

import numpy as np

from models.quality.resampling import Image

PERCENTILES = _LOW, _HIGH = (1.0, 99.8)
"""Of a tile's pixels, which become 0 and 1 (%); chosen: a hot pixel is not the top."""


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
