"""Tiled against untiled output, and whether a seam shows in a large frame."""

from __future__ import annotations

import numpy as np

from agent.bench.measurement import BenchPart, Check
from models.restoration import Restorer

_SIDE, _TILE = 2048, 512


def measure() -> BenchPart:
    """One noisy frame of 2048 × 2048, in tiles of 512 and at once."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:_SIDE, :_SIDE]
    waves = 20 * (1 + np.sin(x / 9.0) * np.sin(y / 13.0))
    frame = rng.poisson(waves).astype(np.uint16)
    tiled = Restorer("actin", device="cpu", tile=_TILE).restore(frame).image
    whole = Restorer("actin", device="cpu", tile=_SIDE).restore(frame).image
    span = float(np.percentile(whole, 99.8) - np.percentile(whole, 2))
    off = np.abs(tiled - whole) / span
    return BenchPart(
        "seams",
        [Check("tiled and untiled differ by at most (of the range)", float(off.max()), "<=", 1e-4)],
        {"largest": float(off.max()), "mean": float(off.mean()), "side": _SIDE, "tile": _TILE},
    )
