"""The engine's time for a frame: against the same network run plainly, and on a GPU if there is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from agent.bench.measurement import BenchPart, Check
from models.online import Online
from models.restoration import Restorer, read_restoration
from models.restoration.cost import cost

_MODEL = "actin"
_SIDE, _REPEATS = 512, 9
_ON_GPU = 200
_GPU_MS = {512: 0.6, 2048: 9.0}
"""Longest time of a frame on a GPU (ms), by side (pixels); asked of an H100."""
_GPU_ONLINE_MS = 3.0
"""The same from frame to score and filtered frame (ms)."""


def measure(*, quick: bool) -> BenchPart:
    """Alternating ratios on frames of 512 × 512 by number of threads; times on a GPU."""
    frame = _frame(_SIDE)
    before = torch.get_num_threads()
    raw: dict[str, dict[str, float]] = {"cost": _cost()}
    checks = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            name = f"{threads} threads"
            raw[name] = found = _compare(frame, 2 if quick else _REPEATS)
            checks.append(Check(f"engine / plain eager, {name}", found["ratio"], "<=", 0.8))
    finally:
        torch.set_num_threads(before)
    if torch.cuda.is_available():
        raw["gpu"] = on_gpu = _on_gpu(10 if quick else _ON_GPU)
        checks += [
            Check(f"GPU, {side} × {side}", on_gpu[f"{side}_ms"], "<=", most, "ms")
            for side, most in _GPU_MS.items()
        ]
        checks += [
            Check("GPU, relative error of bfloat16", on_gpu["relative_error"], "<=", 0.01),
            Check("GPU, frame to score and frame", on_gpu["online_ms"], "<=", _GPU_ONLINE_MS, "ms"),
        ]
    return BenchPart("speed", checks, raw)


def _frame(side: int) -> NDArray[np.uint16]:
    return np.random.default_rng(2).poisson(8.0, (side, side)).astype(np.uint16)


def _cost() -> dict[str, float]:
    """What a frame of 512 × 512 takes at least: see `models.restoration.cost`."""
    asked = cost(read_restoration(_MODEL).card["architecture"], (_SIDE, _SIDE))
    return {
        "gflop": asked.operations / 1e9,
        "mbyte": asked.moved / 1e6,
        "compulsory_mbyte": asked.compulsory / 1e6,
    }


def _compare(frame: NDArray[Any], repeats: int) -> dict[str, float]:
    restorer, online = Restorer(_MODEL, device="cpu"), Online(_MODEL, device="cpu")
    restorer.warm_up(frame.shape)
    online.warm_up(frame.shape)
    plainly = _plain(frame)
    plainly()
    ratios, with_score, eager = [], [], []
    for _ in range(repeats):
        eager.append(_seconds(plainly))
        ratios.append(_seconds(lambda: restorer.restore(frame)) / eager[-1])
        with_score.append(_seconds(lambda: online.see(frame)) / eager[-1])
    return {
        "ratio": statistics.median(ratios),
        "least": min(ratios),
        "most": max(ratios),
        "with_score": statistics.median(with_score),
        "eager_ms": 1e3 * statistics.median(eager),
    }


def _plain(frame: NDArray[Any]) -> Callable[[], object]:
    """The network as anybody would run it: eager, single precision, channels first."""
    loaded = read_restoration(_MODEL)

    def run() -> None:
        offset, scale = loaded.normalization.of(frame)
        with torch.inference_mode():
            pixels = torch.from_numpy((frame - offset) / scale).float()[None, None]
            for member in loaded.members:
                member(pixels)

    return run


def _on_gpu(repeats: int) -> dict[str, float]:
    """Times a frame (ms) from host memory to host memory, and what bfloat16 costs in precision."""
    found: dict[str, float] = {}
    for side in _GPU_MS:
        frame = _frame(side)
        restorer = Restorer(_MODEL, device="cuda")
        restorer.warm_up(frame.shape)
        found[f"{side}_ms"] = _streamed_ms(restorer.stream, frame, repeats)
    frame = _frame(_SIDE)
    online = Online(_MODEL, device="cuda")
    online.warm_up(frame.shape)
    one_by_one = [1e3 * _seconds(lambda: online.see(frame)) for _ in range(repeats)]
    found["online_ms"] = statistics.median(one_by_one)
    exact = Restorer(_MODEL, device="cpu").restore(frame).image
    error = np.linalg.norm(online.see(frame).restored.image - exact)
    found["relative_error"] = float(error / np.linalg.norm(exact))
    return found


def _streamed_ms(stream: Callable[..., Any], frame: NDArray[Any], repeats: int) -> float:
    def run() -> None:
        for _ in stream([frame] * repeats):
            pass

    run()
    return 1e3 * _seconds(run) / repeats


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
