"""The engine's time for a frame against the same network run plainly, in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from agent.bench.measurement import Check
from agent.bench.restoration.part import Part
from models.restoration import Restorer, read_restoration

_SIDE, _REPEATS = 512, 9


def measure(*, quick: bool) -> Part:
    """Median of alternating ratios on frames of 512 × 512, by number of threads."""
    rng = np.random.default_rng(2)
    frame = rng.poisson(8.0, (_SIDE, _SIDE)).astype(np.uint16)
    before = torch.get_num_threads()
    raw: dict[str, dict[str, float]] = {}
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            raw[f"{threads} threads"] = _compare(frame, 2 if quick else _REPEATS)
    finally:
        torch.set_num_threads(before)
    return Part(
        "speed",
        [
            Check(f"engine / plain eager, {name}", found["ratio"], "<=", 0.8)
            for name, found in raw.items()
        ],
        raw,
    )


def _compare(frame: np.ndarray, repeats: int) -> dict[str, float]:
    restorer = Restorer("actin", device="cpu")
    restorer.warm_up(frame.shape)
    loaded = read_restoration("actin")

    def plainly() -> None:
        offset, scale = loaded.normalization.of(frame)
        with torch.inference_mode():
            pixels = torch.from_numpy((frame - offset) / scale).float()[None, None]
            for member in loaded.members:
                member(pixels)

    plainly()
    ratios, eager = [], []
    for _ in range(repeats):
        eager.append(_seconds(plainly))
        ratios.append(_seconds(lambda: restorer.restore(frame)) / eager[-1])
    return {
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "eager_ms": 1e3 * statistics.median(eager),
    }


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
