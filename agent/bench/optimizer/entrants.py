"""The entrants: the project's engine in its forms, and its peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from agent.bench.optimizer.analytic import AnalyticLibrary, Samples
from agent.bench.optimizer.analytic_task import AnalyticTask
from agent.bench.optimizer.contest import TRIALS, Maker
from agent.bench.optimizer.families import Family
from agent.bench.optimizer.peers import PEERS, make_peer
from agent.bench.optimizer.task import Task
from agent.bench.optimizer.wrong_libraries import (
    bleached_by_excitation,
    mirrored,
    of_another_label,
    of_another_structure,
    with_wrong_dwell,
)
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
WRONG = MappingProxyType(
    {
        "stedfast, mirrored library": mirrored,
        "stedfast, library of another label": of_another_label,
        "stedfast, library of another structure": of_another_structure,
        "stedfast, library bleached by excitation": bleached_by_excitation,
        "stedfast, library with wrong dwell": with_wrong_dwell,
    }
)
"""Libraries that are wrong in ways that no calibration covers."""
ENGINE_SEEDS = (1, 2, 3)
"""Each of these for engines that are to be recommended; a sample's course depends on it."""
_WRONG = 3.0
"""Powers of the misleading library were this many times their true values."""
_APART = 10_000
"""Between the seeds of an engine on the same sample."""


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
    ours = {**ours, **{name: (_wrong(alter), {}) for name, alter in WRONG.items()}}
    found = peers | {name: _ours(memory, more) for name, (memory, more) in ours.items()}
    for name in (OURS, REMEMBERING):
        memory, more = ours[name]
        for number in ENGINE_SEEDS[1:]:
            found[f"{name} #{number}"] = _ours(memory, more, seed_from=_APART * number)
    return found


def plain(name: str) -> str:
    """An engine's name without the number of its seed.

    Examples
    --------
    >>> plain("stedfast, library #2")
    'stedfast, library'
    """
    return name.split(" #")[0]


def _peer(name: str) -> Maker:
    return lambda task, seed: make_peer(name, task.space, task.limit, seed, TRIALS)


def _ours(
    memory: Callable[[Task], Hypotheses | None], more: dict[str, Any], seed_from: int = 0
) -> Maker:
    def make(task: Task, seed: int) -> Optimizer:
        return StedfastOptimizer(
            task.space,
            bleaching_limit=task.limit,
            seed=seed_from + seed,
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


def _wrong(alter: Callable[[Hypotheses, Task], Hypotheses]) -> Callable[[Task], Hypotheses]:
    return lambda task: alter(_library(task), task)


def _stranded(task: Task) -> Hypotheses:
    return _sessions().shifted(_WRONG, _WRONG, way_out=False)


def _uncalibrated(task: Task) -> Hypotheses:
    return _sessions().shifted(1, 1, way_out=False)
