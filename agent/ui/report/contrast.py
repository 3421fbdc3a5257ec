"""Contrast limits, size and scale bar of a picture of measured pixels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

DARKEST, BRIGHTEST = 1.0, 99.8
"""Percentiles that become black and white."""

Limits = tuple[float, float]


def contrast(frames: Iterable[NDArray[Any]]) -> Limits:
    """Contrast limits for frames that are to be compared by brightness."""
    pooled = np.concatenate([frame.ravel() for frame in frames])
    low, high = np.percentile(pooled, [DARKEST, BRIGHTEST])
    return float(low), float(high) if high > low else float(low) + 1.0


def reduced(pixels: NDArray[Any], factor: int) -> NDArray[np.float64]:
    """Rows × columns with squares of `factor` pixels averaged; the remainder is cut off."""
    rows, columns = (n - n % factor for n in pixels.shape)
    blocks = pixels[:rows, :columns].astype(np.float64)
    blocks = blocks.reshape(rows // factor, factor, columns // factor, factor)
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3))
    return means


def bar_length(width_um: float) -> float:
    """A round length (µm) of at most a quarter of a field."""
    about = width_um / 4
    power = 10.0 ** np.floor(np.log10(about))
    return float(max(step * power for step in (1, 2, 5) if step * power <= about))
