"""How long a frame takes, from host memory to host memory, and its least possible time."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.accelerator import Accelerator
from models.attempts import Computer
from models.cuda import Cuda
from models.gpu_check.checks import BoundedFigure, Section, TimeLeft
from models.gpu_check.frames import frame
from models.interpolation import Interpolation
from models.interpolation.weights import read_interpolator
from models.interpolation.weights import shipped as interpolators
from models.online import Online
from models.quality import QualityScorer
from models.restoration import Restorer, read_restoration
from models.restoration.cost import cost

_FILTER = "actin"
_SIDES = (256, 512, 1024, 2048)
"""Sides of the frames (pixels); chosen."""
_REPEATS = 200
"""Frames that are timed for each side; chosen."""
_AT_MOST_S = 4.0
"""Longest time for one of them (s); chosen."""
# What a card of the class of an H100 is held to (ms), by what and side.
_BOUNDS: dict[tuple[str, int], float] = {
    ("filter, back to back", 512): 0.6,
    ("filter", 512): 1.5,
    ("filter, back to back", 2048): 9.0,
    ("filter and score", 512): 3.0,
    ("flow, one way", 512): 3.0,
}
_CLASS = (9, 0)
"""Compute capability of the class of an H100 (NVIDIA)."""
_IN_LINE = 8
"""Frames in line at once where they are timed back to back; chosen."""


def latency(accelerator: Accelerator, watch: TimeLeft, *, quick: bool) -> Section:
    """Median and 99th percentile (ms) by side, beside the floor.

    The floor is the larger of operations over what products of large matrices reach, and bytes over
    what large copies within the card reach, layer by layer, and the way of the frame up and down;
    all three are measured here. Held to bounds are cards of the class of an H100.
    """
    section = Section("time")
    speeds = _speeds(accelerator, quick=quick)
    section.figures["speeds"] = speeds
    bound = isinstance(accelerator, Cuda) and (
        torch.cuda.get_device_capability(accelerator.place) >= _CLASS
    )
    model = "actin-small" if quick else _FILTER
    restorer = Restorer(model, accelerator)
    scorer = QualityScorer(device=accelerator)
    online = Online(model, device=accelerator)
    rebuilds: dict[str, Interpolation] = {}
    names = ("flow",) if quick else interpolators()
    for name in names:
        for way, both in (("one way", False), ("both ways", True))[: 1 if quick else 2]:
            rebuilds[f"{name}, {way}"] = Interpolation(name, accelerator, both_ways=both)
    for side in (32,) if quick else _SIDES:
        pixels = frame(side, side)
        later = frame(side, side, shift=2)
        work: dict[str, Callable[[], object]] = {
            "filter": partial(restorer.restore, pixels),
            "score": partial(scorer.score, pixels),
            "filter and score": partial(online.see, pixels),
        }
        work |= {name: partial(one.between, pixels, later) for name, one in rebuilds.items()}
        for name, do in work.items():
            what = f"{name}, {side} × {side}"
            if watch.allows(section, what):
                section.figures[what] = _times(do, watch, quick=quick)
        what = f"filter, back to back, {side} × {side}"
        if watch.allows(section, what):
            section.figures[what] = {"median_ms": _back_to_back(restorer, pixels, quick=quick)}
        for name in ("filter", *names):
            section.figures[f"floor of {name}, {side} × {side}"] = _floor(name, side, speeds)
        for engine in (restorer, online.restorer):
            _release(engine.computes)
        for one in rebuilds.values():
            _release(one.computes)
    if bound and not quick:
        for (name, side), most in _BOUNDS.items():
            found = section.figures.get(f"{name}, {side} × {side}", {"median_ms": float("nan")})
            section.checks.append(
                BoundedFigure(f"{name}, {side} × {side}", found["median_ms"], "<=", most, "ms")
            )
    return section


def _times(do: Callable[[], object], watch: TimeLeft, *, quick: bool) -> dict[str, float]:
    do()  # what only the first of a shape needs
    started = time.perf_counter()
    took: list[float] = []
    while len(took) < (2 if quick else _REPEATS):
        begun = time.perf_counter()
        do()
        took.append(1e3 * (time.perf_counter() - begun))
        if time.perf_counter() - started > min(_AT_MOST_S, max(watch.left, 0)):
            break
    return {
        "median_ms": statistics.median(took),
        "p99_ms": float(np.percentile(took, 99)),
        "repeats": len(took),
    }


def _back_to_back(restorer: Restorer, pixels: Any, *, quick: bool) -> float:
    """Time a frame (ms) where the next ones wait in line: that of the GPU, if it is the slower."""
    compute = restorer.computes[0]
    compute.submit(pixels, compute.largest)()
    waiting: deque[Callable[[], object]] = deque()
    repeats = 2 if quick else _REPEATS
    started = time.perf_counter()
    for _ in range(repeats):
        waiting.append(compute.submit(pixels, compute.largest))
        if len(waiting) > _IN_LINE:
            waiting.popleft()()
    while waiting:
        waiting.popleft()()
    return 1e3 * (time.perf_counter() - started) / repeats


def _speeds(accelerator: Accelerator, *, quick: bool) -> dict[str, float]:
    """Operations of bfloat16 products, bytes within the device, and bytes up and down, a second."""
    place = accelerator.place
    side, count = (64, 1 << 16) if quick else (8192, 1 << 28)
    with accelerator.working():
        matrix = torch.ones(side, side, dtype=torch.bfloat16, device=place)
        numbers = torch.ones(count, dtype=torch.uint8, device=place)
        product = _settled(accelerator, lambda: matrix @ matrix)
        copy = _settled(accelerator, lambda: numbers.clone())
        array = np.ones(count // 4, np.uint8)
        up = _settled(accelerator, lambda: accelerator.up(array))
        down = _settled(accelerator, lambda: accelerator.down([numbers[: count // 4]])())
    return {
        "operations_per_s": 2 * side**3 / product,
        "bytes_per_s": 2 * count / copy,
        "up_bytes_per_s": count / 4 / up,
        "down_bytes_per_s": count / 4 / down,
    }


def _settled(accelerator: Accelerator, do: Callable[[], object]) -> float:
    took: list[float] = []
    for _ in range(5):
        accelerator.settle()
        begun = time.perf_counter()
        do()
        accelerator.settle()
        took.append(time.perf_counter() - begun)
    return min(took)


def _floor(name: str, side: int, speeds: dict[str, float]) -> dict[str, float]:
    """Operations, bytes and the least time (ms) of a frame."""
    if name == "filter":
        asked = cost(read_restoration(_FILTER).card["architecture"], (side, side), width=2)
        operations, moved = asked.operations, asked.moved
        up = 2 * side**2
    else:
        operations, moved = _operations(name, side), 0
        up = 4 * side**2
    # Up in 16 bits; down the frame in single and its deviation in half precision.
    down = 6 * side**2
    computing = max(operations / speeds["operations_per_s"], moved / speeds["bytes_per_s"])
    copying = up / speeds["up_bytes_per_s"] + down / speeds["down_bytes_per_s"]
    return {
        "gflop": operations / 1e9,
        "moved_mbyte": moved / 1e6,
        "computing_ms": 1e3 * computing,
        "copying_ms": 1e3 * copying,
    }


def _operations(name: str, side: int) -> int:
    """Of an interpolator's convolutions, one way; nothing is computed."""
    network = read_interpolator(name).network.to("meta")
    pair = torch.empty(2, 1, 1, side, side, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(pair[0], pair[1], 0.5)
    return int(counter.get_total_flops())


def _release(places: Sequence[Computer]) -> None:
    for place in places:
        place.release()
