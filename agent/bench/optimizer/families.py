"""The tasks of the benchmark: those to develop with, and those kept for the final table."""

from __future__ import annotations

from functools import cache
from typing import Literal

from agent.bench.optimizer.analytic import Samples
from agent.bench.optimizer.analytic_task import AnalyticTask
from agent.bench.optimizer.task import Task

Family = Literal["analytic", "sted"]
FAMILIES: tuple[Family, ...] = ("analytic", "sted")
_WIDER = 1.3
"""The final analytic samples come from ranges this much wider than the library's."""
_FINAL, _TRYING = 1000, 0


@cache
def _samples(final: bool) -> Samples:
    return (Samples.draw(2000, 5, _WIDER) if final else Samples.draw(1000, 6)).usable()


def make_task(family: Family, seed: int, *, final: bool = True) -> Task:
    """Task number `seed` of a family.

    Parameters
    ----------
    family
        `analytic`, or `sted` for the virtual microscope.
    seed
        Counted from 1.
    final
        Dyes, structures and samples that nothing was developed on.
    """
    if family == "analytic":
        return AnalyticTask(_samples(final), seed, seed + (_FINAL if final else _TRYING))
    from agent.bench.optimizer.sted import StedTask

    if final:
        return StedTask.draw(
            {"actin": (4, 5), "tubulin": None, "psd95": None}, seed + _FINAL, unknown_dye=True
        )
    return StedTask.draw(
        {"actin": (3,), "spots": None, "patches": None},
        seed + _TRYING,
        unknown_dye=False,
    )
