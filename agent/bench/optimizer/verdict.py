"""From the courses to the table and its targets.

The bar is the best peer at each number of images, by the better of two rules of recommending: its
own, and ours without memory on its trials. Samples are what is averaged over; an engine that met a
sample with several seeds counts there with their mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.bench.measurement import Check, Measurement
from agent.bench.optimizer.campaign import EngineCourse
from agent.bench.optimizer.contest import Key
from agent.bench.optimizer.entrants import FRONT, MISLED, OURS, REMEMBERING, WRONG, plain
from agent.bench.optimizer.families import FAMILIES
from agent.bench.optimizer.peers import REFERENCE

Array = NDArray[np.float64]
Of = Mapping[int, Sequence[EngineCourse]]
"""An engine's courses by sample, one for each of its seeds."""
_FRONT_BAR = "botorch qLogNEHVI"
_SHOWN = (5, 10, 20, 40)
"""Trials after which regrets are shown; chosen."""
_MISTAKEN = (5, 10, 15, 20, 30, 40)
"""Trials after which a wrong library is compared with none; chosen."""
_WITHIN = {"analytic": 6, "sted": 8}
"""Trials within which the goal is to be reached, by family; chosen."""
_LIMIT = 0.2
"""Largest share of the dye that one frame may bleach; chosen."""


def judge(courses: Mapping[Key, EngineCourse], seeds: Sequence[int]) -> Measurement:
    """The table and the checks."""
    _share_best(courses)
    rows, checks = [], []
    for family in FAMILIES:
        found: dict[str, dict[int, list[EngineCourse]]] = {}
        for (part, seed, name), course in courses.items():
            if part == family and seed in seeds:
                found.setdefault(plain(name), {}).setdefault(seed, []).append(course)
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
        "median 40",
        "worst 40",
        "same rule 20",
        "same rule 40",
        "over limit",
        "light",
        "hypervolume",
        "ask + tell (s)",
    )
    return Measurement(columns, rows, checks, raw, seeds)


def _share_best(courses: Mapping[Key, EngineCourse]) -> None:
    """What any engine found on a sample is what all are measured against."""
    best: dict[tuple[str, int], float] = {}
    for (family, seed, _), course in courses.items():
        best[family, seed] = max(best.get((family, seed), -np.inf), course.best)
    for (family, seed, _), course in courses.items():
        course.best = best[family, seed]


def _row(family: str, name: str, of: Of) -> tuple[Any, ...]:
    every = [course for several in of.values() for course in several]
    last = [course.regret(40) for course in every if 40 in course.at]
    over = _over(of, 40)
    return (
        family,
        name,
        len(of),
        *(_pm(_regrets(of, n)) for n in _SHOWN),
        f"{np.median(last):.3f}" if last else "–",
        f"{max(last):.3f}" if last else "–",
        *(_pm(_regrets(of, n, alike=True)) for n in (20, 40)),
        f"{over:.0%}" if np.isfinite(over) else "–",
        f"{np.mean([course.light[-1] for course in every]):.3g}",
        _pm(np.array([hypervolume(course.front) for course in every])),
        f"{np.median([s for course in every for s in course.seconds]):.3f}",
    )


def _regrets(of: Of, after: int, *, alike: bool = False) -> Array:
    """One a sample; by the engine's own rule of recommending, or by the same for all."""
    found = (
        [c.regret(after, alike=alike) for c in several if after in c.at and (c.alike or not alike)]
        for several in of.values()
    )
    return np.array([np.mean(several) for several in found if several])


def _over(of: Of, after: int) -> float:
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


class _Bar(NamedTuple):
    """The best peer after some number of images.

    Parameters
    ----------
    name
        Whose.
    regret
        Mean over the samples.
    median
        Of the samples.
    """

    name: str
    regret: float
    median: float


def _bar(peers: Mapping[str, Of], after: int) -> _Bar:
    found = [
        _Bar(name, float(regrets.mean()), float(np.median(regrets)))
        for name, of in peers.items()
        for alike in (False, True)
        if len(regrets := _regrets(of, after, alike=alike))
    ]
    return min(found, key=lambda bar: bar.regret)


def _checks(family: str, found: Mapping[str, Of]) -> list[Check]:
    if OURS not in found or not len(_regrets(found[OURS], 40)):
        return []
    # An engine that met other samples cannot be compared.
    met = set(found[OURS])
    peers = {
        name: {seed: of[seed] for seed in met}
        for name, of in found.items()
        if not name.startswith("stedfast") and met <= set(of)
    }
    checks = _wrong(family, found)
    if not peers:
        return checks
    early, late = _bar(peers, 20), _bar(peers, 40)
    ours = _regrets(found[OURS], 20).mean()
    checks += [
        Check(
            f"{family}: regret after 20, no memory / {early.name}", ours / early.regret, "<=", 0.8
        ),
        _within_limit(family, "no memory", found[OURS]),
    ]
    if REMEMBERING in found:
        of = found[REMEMBERING]
        at = next(iter(of.values()))[0].at
        reached = [n for n in at if np.median(_regrets(of, n)) <= late.median]
        to = f"{late.name}'s after 40"
        checks += [
            Check(
                f"{family}: images with the library to a median regret of {to}",
                min(reached, default=99),
                "<=",
                _WITHIN[family],
            ),
            Check(
                f"{family}: regret after 40, library / {late.name}",
                _regrets(of, 40).mean() / late.regret,
                "<=",
                0.7,
            ),
            _within_limit(family, "library", of),
            Check(
                f"{family}: light to a regret of {to}, library / {late.name}",
                float(np.median(_shares_of_light(of, peers[late.name], late.median))),
                "<=",
                0.7,
            ),
        ]
    if FRONT in found and _FRONT_BAR in found:
        checks.append(_front_check(family, found[FRONT], found[_FRONT_BAR]))
    return checks


def _within_limit(family: str, what: str, of: Of) -> Check:
    return Check(f"{family}: over the bleaching limit, {what}", _over(of, 40), "<=", 0.05)


def _wrong(family: str, found: Mapping[str, Of]) -> list[Check]:
    """Each wrong library against none, where it does worst."""
    checks = []
    for name in (MISLED, *WRONG):
        met = found.get(name, {}).keys() & found[OURS].keys()
        if not met:
            continue
        misled, none = ({seed: found[one][seed] for seed in met} for one in (name, OURS))
        worst = max(_regrets(misled, n).mean() / _regrets(none, n).mean() for n in _MISTAKEN)
        about = name.removeprefix("stedfast, ")
        checks.append(Check(f"{family}: {about} / no library, at worst", worst, "<=", 1.1))
    return checks


def _front_check(family: str, ours: Of, bar: Of) -> Check:
    def area(several: Sequence[EngineCourse]) -> float:
        return float(np.mean([hypervolume(course.front) for course in several]))

    gap = np.array(
        [area(ours[seed]) - area(bar[seed]) for seed in sorted(ours.keys() & bar.keys())]
    )
    error = gap.std(ddof=1) / np.sqrt(len(gap)) if len(gap) > 1 else 0.0
    name = f"{family}: hypervolume − {_FRONT_BAR}'s + standard error"
    return Check(name, gap.mean() + error, ">=", 0.0)


def _shares_of_light(of: Of, bar: Of, level: float) -> list[float]:
    """Light to a regret, as a share of all that the bar's engine took, by sample and seed."""
    return [
        _light_to(course, level) / float(np.mean([other.light[-1] for other in bar[seed]]))
        for seed, several in of.items()
        if seed in bar
        for course in several
    ]


def _light_to(course: EngineCourse, level: float) -> float:
    """Light until the recommended settings were as good as `level`; all of it if never."""
    for n, light in zip(course.at, course.light, strict=True):
        if course.regret(n) <= level:
            return light
    return course.light[-1]
