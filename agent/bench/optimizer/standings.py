"""How well engines did on the samples: regrets, and a row of the table for each engine.

Samples are what is averaged over; an engine that met a sample with several seeds counts there with
their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.optimizer.campaign import EngineCourse
from agent.bench.optimizer.peers import REFERENCE

Array = NDArray[np.float64]
Of = Mapping[int, Sequence[EngineCourse]]
"""An engine's courses by sample, one for each of its seeds."""
SHOWN = (5, 10, 20, 40)
"""Trials after which regrets are shown; chosen."""
_LIMIT = 0.2
"""Largest share of the dye that one frame may bleach; chosen."""
COLUMNS = (
    "family",
    "engine",
    "n",
    *(f"regret {n}" for n in SHOWN),
    "median 40",
    "worst 40",
    "same rule 20",
    "same rule 40",
    "over limit",
    "light",
    "hypervolume",
    "ask + tell (s)",
)


def row(family: str, name: str, of: Of) -> tuple[Any, ...]:
    """The figures of `COLUMNS`, of one engine."""
    every = [course for several in of.values() for course in several]
    last = [course.regret(40) for course in every if 40 in course.at]
    beyond = over(of, 40)
    return (
        family,
        name,
        len(of),
        *(_pm(regrets(of, n)) for n in SHOWN),
        f"{np.median(last):.3f}" if last else "–",
        f"{max(last):.3f}" if last else "–",
        *(_pm(regrets(of, n, alike=True)) for n in (20, 40)),
        f"{beyond:.0%}" if np.isfinite(beyond) else "–",
        f"{np.mean([course.light[-1] for course in every]):.3g}",
        _pm(np.array([hypervolume(course.front) for course in every])),
        f"{np.median([s for course in every for s in course.seconds]):.3f}",
    )


def regrets(of: Of, after: int, *, alike: bool = False) -> Array:
    """One a sample; by the engine's own rule of recommending, or by the same for all."""
    found = (
        [c.regret(after, alike=alike) for c in several if after in c.at and (c.alike or not alike)]
        for several in of.values()
    )
    return np.array([np.mean(several) for several in found if several])


def over(of: Of, after: int) -> float:
    """Share of the courses whose recommended settings really bleach more than allowed."""
    shares = [
        course.bleaching[course.at.index(after)] > _LIMIT
        for several in of.values()
        for course in several
        if after in course.at
    ]
    return float(np.mean(shares)) if shares else float("nan")


def _pm(values: Array) -> str:
    """Mean ± standard error."""
    if not len(values):
        return "–"
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} ± {error:.3f}"


def hypervolume(front: Sequence[tuple[float, float]]) -> float:
    """Area of (score, bleaching) that a front dominates, from `REFERENCE` on."""
    area, best = 0.0, REFERENCE[0]
    inside = sorted((b, s) for s, b in front if b < REFERENCE[1] and s > best)
    for bleached, score in inside:
        if score > best:
            area += (score - best) * (REFERENCE[1] - bleached)
            best = score
    return area
