"""How long an ask and a tell take after many trials."""

from __future__ import annotations

import time

import numpy as np
from threadpoolctl import threadpool_limits

from agent.bench.measurement import Check
from agent.bench.optimizer.entrants import OURS, REMEMBERING, entrants
from agent.bench.optimizer.families import make_task

_AFTER = {100: 0.3, 300: 1.0}
_REPEATS = 5


def paces() -> list[Check]:
    """Median of five asks and tells after 100 and after 300 trials, on one thread."""
    return [
        Check(f"ask + tell after {after} trials, {name}", seconds, "<=", _AFTER[after], "s")
        for name in (OURS, REMEMBERING)
        for after, seconds in _paces(name).items()
    ]


def _paces(name: str) -> dict[int, float]:
    task = make_task("analytic", 1, final=False)
    engine = entrants("analytic")[name](task, 1)
    points = task.space.random(max(_AFTER) + _REPEATS, np.random.default_rng(0))
    found: dict[int, list[float]] = {after: [] for after in _AFTER}
    with threadpool_limits(1):
        for number, point in enumerate(points):
            outcome = task.measure(point, number)
            started = time.perf_counter()
            timed = [after for after in _AFTER if after <= number < after + _REPEATS]
            if timed:
                engine.ask()
            engine.tell(point, outcome)
            for after in timed:
                found[after].append(time.perf_counter() - started)
    return {after: float(np.median(seconds)) for after, seconds in found.items()}
