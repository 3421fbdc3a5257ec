"""From the courses to the table and its targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.measurement import Check, Measurement
from agent.bench.optimizer.campaign import Course
from agent.bench.optimizer.contest import Key
from agent.bench.optimizer.entrants import FRONT, MISLED, OURS, REMEMBERING
from agent.bench.optimizer.families import FAMILIES
from agent.bench.optimizer.peers import REFERENCE

Array = NDArray[np.float64]
_BAR = "skopt EI"
_FRONT_BAR = "botorch qLogNEHVI"
_SHOWN = (5, 10, 20, 40)
"""Trials after which regrets are shown; chosen."""
_WITHIN = {"analytic": 6, "sted": 8}
"""Trials within which the goal is to be reached, by family; chosen."""
_LIMIT = 0.2
"""Largest share of the dye that one frame may bleach; chosen."""


def judge(courses: Mapping[Key, Course], seeds: Sequence[int]) -> Measurement:
    """The table and the checks."""
    _share_best(courses)
    rows, checks = [], []
    for family in FAMILIES:
        names = list(dict.fromkeys(name for part, _, name in courses if part == family))
        found = {
            name: {
                seed: courses[family, seed, name]
                for seed in seeds
                if (family, seed, name) in courses
            }
            for name in names
        }
        rows += [_row(family, name, of) for name, of in found.items()]
        checks += _checks(family, found)
    raw: dict[str, Any] = {
        "courses": [
            {"family": family, "seed": seed, "engine": name, **asdict(course)}
            for (family, seed, name), course in courses.items()
        ]
    }
    columns = (
        "family",
        "engine",
        "n",
        *(f"regret {n}" for n in _SHOWN),
        "over limit",
        "light",
        "hypervolume",
        "ask + tell (s)",
    )
    return Measurement(columns, rows, checks, raw, seeds)


def _share_best(courses: Mapping[Key, Course]) -> None:
    """What any engine found on a sample is what all are measured against."""
    best: dict[tuple[str, int], float] = {}
    for (family, seed, _), course in courses.items():
        best[family, seed] = max(best.get((family, seed), -np.inf), course.best)
    for (family, seed, _), course in courses.items():
        course.best = best[family, seed]


def _row(family: str, name: str, of: Mapping[int, Course]) -> tuple[Any, ...]:
    regrets = [_pm(_regrets(of, n)) for n in _SHOWN]
    over = _over(of, 40)
    light = np.mean([course.light[-1] for course in of.values()])
    return (
        family,
        name,
        len(of),
        *regrets,
        f"{over:.0%}" if np.isfinite(over) else "–",
        f"{light:.3g}",
        _pm(np.array([hypervolume(course.front) for course in of.values()])),
        f"{np.median([s for course in of.values() for s in course.seconds]):.3f}",
    )


def _regrets(of: Mapping[int, Course], after: int) -> Array:
    return np.array([c.regret(after) for c in of.values() if after in c.at])


def _over(of: Mapping[int, Course], after: int) -> float:
    """Share of the seeds whose recommended settings really bleach more than allowed."""
    shares = [c.bleaching[c.at.index(after)] > _LIMIT for c in of.values() if after in c.at]
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


def _checks(family: str, found: Mapping[str, Mapping[int, Course]]) -> list[Check]:
    if OURS not in found or _BAR not in found or not len(_regrets(found[_BAR], 40)):
        return []
    checks = []
    # An engine that met other samples cannot be compared.
    met = set(found[OURS])
    peers = [name for name in found if not name.startswith("stedfast") and met <= set(found[name])]
    alike = {name: {seed: found[name][seed] for seed in met} for name in peers}
    best = min(peers, key=lambda name: float(_regrets(alike[name], 20).mean()))
    ours, bar = _regrets(found[OURS], 20).mean(), _regrets(alike[best], 20).mean()
    checks.append(Check(f"{family}: regret after 20, no memory / {best}", ours / bar, "<=", 0.8))
    level = float(np.median(_regrets(found[_BAR], 40)))
    if REMEMBERING in found:
        of = found[REMEMBERING]
        at = next(iter(of.values())).at
        reached = [n for n in at if np.median(_regrets(of, n)) <= level]
        checks.append(
            Check(
                f"{family}: images with the library to {_BAR}'s regret after 40 (median)",
                min(reached, default=99),
                "<=",
                _WITHIN[family],
            )
        )
        last = _regrets(of, 40).mean() / _regrets(found[_BAR], 40).mean()
        checks.append(Check(f"{family}: regret after 40, library / {_BAR}", last, "<=", 0.7))
        checks.append(
            Check(f"{family}: over the bleaching limit, library", _over(of, 40), "<=", 0.05)
        )
        checks.append(
            Check(
                f"{family}: over the bleaching limit, no memory", _over(found[OURS], 40), "<=", 0.05
            )
        )
        ratio = float(np.median([_light_to(of[s], level) / found[_BAR][s].light[-1] for s in of]))
        checks.append(Check(f"{family}: light to the same quality / {_BAR}", ratio, "<=", 0.7))
    if MISLED in found:
        worst = max(
            _regrets(found[MISLED], n).mean() / _regrets(found[OURS], n).mean()
            for n in (15, 20, 30, 40)
        )
        checks.append(Check(f"{family}: misleading library / no library", worst, "<=", 1.1))
    if FRONT in found and _FRONT_BAR in found:
        both = sorted(found[FRONT].keys() & found[_FRONT_BAR].keys())
        gap = np.array(
            [
                hypervolume(found[FRONT][s].front) - hypervolume(found[_FRONT_BAR][s].front)
                for s in both
            ]
        )
        error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
        checks.append(
            Check(
                f"{family}: hypervolume − {_FRONT_BAR}'s + standard error",
                gap.mean() + error,
                ">=",
                0.0,
            )
        )
    return checks


def _light_to(course: Course, level: float) -> float:
    """Light until the recommended settings were as good as `level`; all of it if never."""
    for n, light in zip(course.at, course.light, strict=True):
        if course.regret(n) <= level:
            return light
    return course.light[-1]
