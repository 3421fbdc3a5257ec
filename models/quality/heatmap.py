"""Where in a frame its score comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality.blurring import blur
from models.quality.preparing import INPUT, prepare
from models.quality.resampling import PIXEL_SIZE_NM, resample
from models.quality.scorer import QualityScorer
from models.quality.tiles import corners, normalize

_CONFOCAL_PX = 220.0 / 2.355 / PIXEL_SIZE_NM
"""Blur of a confocal with 220 nm full width (standard deviation, pixels)."""
_STEP = 16
"""From one place to the next (pixels): 320 nm; chosen."""
_RADIUS_PX = 12.0
"""Standard deviation of the window around each (pixels): 570 nm full width; chosen."""


def heatmap(
    scorer: QualityScorer, frame: NDArray[Any], pixel_size_nm: float = PIXEL_SIZE_NM
) -> NDArray[np.float32]:
    """How much of its score a frame loses with the fine detail around each place.

    Around one place after the other (every 320 nm, a Gaussian window of 570 nm full width) the
    frame is blurred to a confocal's resolution (220 nm) and scored again. This asks the network
    itself, of any architecture (occlusion: Zeiler and Fergus, ECCV 2014).

    Parameters
    ----------
    scorer
        Whose score is explained.
    frame
        Rows × columns.
    pixel_size_nm
        Its pixel size (nm).

    Returns
    -------
    ndarray
        Shape of `frame`; the loss of score, negative where the frame would score higher without
        that detail.

    Raises
    ------
    ValueError
        For a frame that cannot be scored.
    """
    tiles, weights = prepare(frame, pixel_size_nm)
    shape = resample(np.asarray(frame, np.float32), pixel_size_nm).shape
    padded = tuple(max(n, INPUT) for n in shape)
    total, count = np.zeros(padded, np.float32), np.zeros(padded, np.float32)
    # A tile counts less towards its edge, where the next one takes over: no seam is left.
    ramp = np.minimum(np.arange(INPUT), np.arange(INPUT)[::-1]) + 0.5
    share = np.outer(ramp, ramp).astype(np.float32)
    for tile, weight, (y, x) in zip(tiles, weights, corners(padded, INPUT), strict=True):
        total[y : y + INPUT, x : x + INPUT] += float(weight) * share * _tile_heat(scorer, tile)
        count[y : y + INPUT, x : x + INPUT] += share
    heat = (total / count).astype(np.float32)
    # Reflected borders were shown to the network, but are not part of the frame.
    top, left = ((big - n) // 2 for big, n in zip(padded, shape, strict=True))
    heat = heat[top : top + shape[0], left : left + shape[1]]
    rows, cols = (
        np.minimum((np.arange(n) + 0.5) / n * m, m - 1).astype(int)
        for n, m in zip(frame.shape, heat.shape, strict=True)
    )
    fitted: NDArray[np.float32] = heat[np.ix_(rows, cols)]
    return fitted


def _tile_heat(scorer: QualityScorer, tile: NDArray[np.float32]) -> NDArray[np.float32]:
    """Loss of score around every place of one tile, between places by weighted mean."""
    dull = blur(tile, _CONFOCAL_PX)
    at = np.arange(_STEP // 2, INPUT, _STEP)
    profiles = np.exp(-0.5 * ((np.arange(INPUT) - at[:, None]) / _RADIUS_PX) ** 2)
    windows = [np.outer(row, col).astype(np.float32) for row in profiles for col in profiles]
    shown = [normalize(tile + window * (dull - tile)) for window in windows]
    values = scorer.score_tiles(np.stack([tile, *shown]))
    losses = (values[0] - values[1:]).astype(np.float32)
    stack = np.stack(windows)
    mean: NDArray[np.float32] = np.tensordot(losses, stack, 1) / stack.sum(axis=0)
    return mean
