"""Time of a frame of 512 × 512: the compact network against Zooming SlowMo."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from agent.bench.measurement import Absent, BenchPart, Check
from agent.offline.training.interpolation import recipe_of
from models.interpolation import Interpolation, build
from models.interpolation.weights import shipped

_SIDE, _REPEATS, _ON_GPU = 512, 5, 50


def measure(*, quick: bool) -> BenchPart:
    """Median of alternating ratios on the CPU; on a GPU, if there is one, the time of a frame."""
    side = 64 if quick else _SIDE
    frames = torch.rand(2, 1, 1, side, side)
    names = ("flow", "dain", "zs")
    networks = {name: build(recipe_of(name).architecture).eval() for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with torch.inference_mode():
        for repeat in range(1 + (1 if quick else _REPEATS)):
            for name, network in networks.items():
                took = _seconds(partial(network, frames[0], frames[1], 0.5))
                if repeat:
                    seconds[name].append(took)
    ratio = statistics.median(np.divide(seconds["flow"], seconds["zs"]).tolist())
    raw: dict[str, Any] = {
        "side": side,
        "threads": torch.get_num_threads(),
        "cpu_ms": {name: 1e3 * statistics.median(own) for name, own in seconds.items()},
        "flow / zs": ratio,
    }
    checks = [Check(f"flow / zs, time of {side} × {side}", ratio, "<=", 0.25)]
    absent = []
    on_gpu = "flow on the GPU, bfloat16"
    if torch.cuda.is_available() and "flow" in shipped():
        raw["gpu"] = torch.cuda.get_device_name()
        raw["gpu_ms"] = _on_gpu(side)
        checks.append(Check(on_gpu, raw["gpu_ms"], "<=", 3.0, "ms"))
    else:
        absent.append(Absent(on_gpu, "no GPU"))
    return BenchPart("speed", checks, raw, absent)


def _on_gpu(side: int) -> float:
    """Median time (ms) of `Interpolation.between`, with the way of the frames to and fro."""
    engine = Interpolation("flow", "cuda", both_ways=False)
    rng = np.random.default_rng(5)
    first, second = rng.poisson(20, (2, side, side)).astype(np.uint16)
    took = [_seconds(lambda: engine.between(first, second)) for _ in range(_ON_GPU)]
    return 1e3 * statistics.median(took[_ON_GPU // 5 :])


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
