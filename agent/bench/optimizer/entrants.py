"""The entrants: the project's engine in its forms, and its peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from agent.bench.optimizer.analytic import AnalyticLibrary, AnalyticTask, Samples
from agent.bench.optimizer.contest import TRIALS, Maker
from agent.bench.optimizer.families import Family
from agent.bench.optimizer.peers import PEERS, make_peer
from agent.bench.optimizer.task import Task
from agent.optimizer.hypotheses import Hypotheses
from agent.optimizer.memory import Control, Library, Sessions
from agent.optimizer.protocol import Optimizer
from agent.optimizer.stedfast import StedfastOptimizer

OURS = "stedfast, no memory"
REMEMBERING = "stedfast, library"
MISLED = "stedfast, misleading library"
STRANDED = "stedfast, misleading library, no calibrations"
RANKING = "stedfast, library by ranking"
UNCALIBRATED = "stedfast, library, no calibrations"
FRONT = "stedfast, front"
_WRONG = 3.0
"""Powers of the misleading library were this many times their true values."""


def entrants(family: Family) -> dict[str, Maker]:
    """Every engine of a family's table by its name."""
    peers: dict[str, Maker] = {name: _peer(name) for name in PEERS}
    ours: Mapping[str, tuple[Callable[[Task], Hypotheses | None], dict[str, Any]]] = {
        OURS: (lambda task: None, {}),
        REMEMBERING: (_library, {}),
        MISLED: (_misleading, {}),
        RANKING: (_library, {"weighing": "ranking"}),
        FRONT: (lambda task: None, {"goal": "front"}),
    }
    if family == "sted":  # only real sessions have powers to calibrate
        ours = {**ours, STRANDED: (_stranded, {}), UNCALIBRATED: (_uncalibrated, {})}
    return peers | {name: _ours(memory, more) for name, (memory, more) in ours.items()}


def _peer(name: str) -> Maker:
    return lambda task, seed: make_peer(name, task.space, task.limit, seed, TRIALS)


def _ours(memory: Callable[[Task], Hypotheses | None], more: dict[str, Any]) -> Maker:
    def make(task: Task, seed: int) -> Optimizer:
        return StedfastOptimizer(
            task.space,
            bleaching_limit=task.limit,
            seed=seed,
            hypotheses=memory(task),
            seconds=task.seconds,
            **more,
        )

    return make


@cache
def _samples() -> Samples:
    return Samples.draw(8000, 77).usable()


@cache
def _sessions() -> Library:
    controls = [
        Control("excitation_power", 1e-6),
        Control("depletion_power", 1e-3),
        Control("dwell_time", 1e-6),
        Control("line_accumulations"),
    ]
    return Library(Sessions.read(), controls)


def _library(task: Task) -> Hypotheses:
    return AnalyticLibrary(_samples()) if isinstance(task, AnalyticTask) else _sessions()


def _misleading(task: Task) -> Hypotheses:
    if isinstance(task, AnalyticTask):
        return AnalyticLibrary(_samples(), _WRONG)
    # Wrong in opposite directions, which is none of the calibrations that a library offers.
    return _sessions().shifted(_WRONG, 1 / _WRONG)


def _stranded(task: Task) -> Hypotheses:
    return _sessions().shifted(_WRONG, _WRONG, way_out=False)


def _uncalibrated(task: Task) -> Hypotheses:
    return _sessions().shifted(1, 1, way_out=False)
