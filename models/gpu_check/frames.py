"""Frames to check with, seeded: filaments under noise, that move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import gaussian


def means(rows: int, columns: int, seed: int = 0, shift: float = 0.0) -> NDArray[np.float64]:
    """Expected counts of a frame of filaments, `shift` pixels further on.

    Examples
    --------
    >>> means(32, 32).shape
    (32, 32)
    """
    rng = np.random.default_rng(seed)
    drawn = np.zeros((rows, columns))
    steps = 2 * max(rows, columns)
    for _ in range(max(4, rows * columns // 3000)):
        turn = rng.uniform(0, 2 * np.pi) + np.cumsum(0.05 * rng.standard_normal(steps))
        y = rng.uniform(0, rows) + np.cumsum(0.5 * np.sin(turn)) + shift
        x = rng.uniform(0, columns) + np.cumsum(0.5 * np.cos(turn)) + shift
        inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
        drawn[y[inside].astype(int), x[inside].astype(int)] += 1
    blurred: NDArray[np.float64] = gaussian(np.minimum(drawn, 2), 1.5)
    return 2 + 40 * blurred / max(float(blurred.max()), 1e-9)


def frame(rows: int, columns: int, seed: int = 0, shift: float = 0.0) -> NDArray[np.uint16]:
    """A frame as a detector counts it.

    Examples
    --------
    >>> frame(32, 32, seed=1).dtype
    dtype('uint16')
    """
    rng = np.random.default_rng(seed + 10_000)
    return rng.poisson(means(rows, columns, seed, shift)).astype(np.uint16)


def apart(found: NDArray[Any], expected: NDArray[Any]) -> float:
    """Root mean square of the difference, as a share of the signal's.

    Examples
    --------
    >>> expected = means(32, 32)
    >>> apart(expected, expected)
    0.0
    """
    signal = np.asarray(expected, np.float64) - np.percentile(expected, 2)
    difference = np.asarray(found, np.float64) - expected
    return float(np.linalg.norm(difference) / max(float(np.linalg.norm(signal)), 1e-12))
