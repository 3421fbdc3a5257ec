"""From the courses to the table and its targets.

The bar is the best peer at each number of images, by the better of two rules of recommending: its
own, and ours without memory on its trials.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from agent.bench.measurement import Check, Measurement
from agent.bench.optimizer.campaign import EngineCourse
from agent.bench.optimizer.contest import Key
from agent.bench.optimizer.entrants import FRONT, MISLED, OURS, REMEMBERING, WRONG, plain
from agent.bench.optimizer.families import FAMILIES
from agent.bench.optimizer.standings import COLUMNS, Of, hypervolume, over, regrets, row

_FRONT_BAR = "botorch qLogNEHVI"
_MISTAKEN = (5, 10, 15, 20, 30, 40)
"""Trials after which a wrong library is compared with none; chosen."""
_WITHIN = {"analytic": 6, "sted": 8}
"""Trials within which the goal is to be reached, by family; chosen."""


def judge(courses: Mapping[Key, EngineCourse], seeds: Sequence[int]) -> Measurement:
    """The table and the checks."""
    _share_best(courses)
    rows, checks = [], []
    for family in FAMILIES:
        found: dict[str, dict[int, list[EngineCourse]]] = {}
        for (part, seed, name), course in courses.items():
            if part == family and seed in seeds:
                found.setdefault(plain(name), {}).setdefault(seed, []).append(course)
        rows += [row(family, name, of) for name, of in found.items()]
        checks += _checks(family, found)
    raw: dict[str, Any] = {
        "courses": [
            {"family": family, "seed": seed, "engine": name, **asdict(course)}
            for (family, seed, name), course in courses.items()
        ]
    }
    return Measurement(COLUMNS, rows, checks, raw, seeds)


def _share_best(courses: Mapping[Key, EngineCourse]) -> None:
    """What any engine found on a sample is what all are measured against."""
    best: dict[tuple[str, int], float] = {}
    for (family, seed, _), course in courses.items():
        best[family, seed] = max(best.get((family, seed), -np.inf), course.best)
    for (family, seed, _), course in courses.items():
        course.best = best[family, seed]


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
        _Bar(name, float(each.mean()), float(np.median(each)))
        for name, of in peers.items()
        for alike in (False, True)
        if len(each := regrets(of, after, alike=alike))
    ]
    return min(found, key=lambda bar: bar.regret)


def _checks(family: str, found: Mapping[str, Of]) -> list[Check]:
    if OURS not in found or not len(regrets(found[OURS], 40)):
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
    ours = regrets(found[OURS], 20).mean()
    checks += [
        Check(
            f"{family}: regret after 20, no memory / {early.name}", ours / early.regret, "<=", 0.8
        ),
        _within_limit(family, "no memory", found[OURS]),
    ]
    if REMEMBERING in found:
        of = found[REMEMBERING]
        at = next(iter(of.values()))[0].at
        reached = [n for n in at if np.median(regrets(of, n)) <= late.median]
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
                regrets(of, 40).mean() / late.regret,
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
    return Check(f"{family}: over the bleaching limit, {what}", over(of, 40), "<=", 0.05)


def _wrong(family: str, found: Mapping[str, Of]) -> list[Check]:
    """Each wrong library against none, where it does worst."""
    checks = []
    for name in (MISLED, *WRONG):
        met = found.get(name, {}).keys() & found[OURS].keys()
        if not met:
            continue
        misled, none = ({seed: found[one][seed] for seed in met} for one in (name, OURS))
        worst = max(regrets(misled, n).mean() / regrets(none, n).mean() for n in _MISTAKEN)
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
