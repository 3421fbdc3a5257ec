"""What the figures of rebuilt frames are held to, and what could not be for want of data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from agent.bench.interpolation.measures import ranked
from agent.bench.interpolation.methods import BAR, BLURRED, DIS, LINEAR
from agent.bench.interpolation.study import GENERATED, JUMPING, REAL, Row, mean_of
from agent.bench.interpolation.tuning import AFTER, BEFORE
from agent.bench.measurement import Absent, Check

Found = Mapping[str, Mapping[str, Sequence[Row]]]
"""Rows of frames, by movie and method."""
Groups = Mapping[str, Sequence[str]]
"""Names of the movies that make one line of the table."""
Verdict = list[Check | Absent]
_EVERY: Mapping[int, str] = {2: "every second frame", 4: "one frame in four"}
_COVERED = (0.85, 0.95)
"""Share of the true pixels that is to lie in 90% intervals."""


def mean(found: Found, movies: Sequence[str], method: str, key: str) -> float:
    """Mean of a figure over the frames of each movie, then over the movies."""
    return float(np.mean([mean_of(found[movie][method], key) for movie in movies]))


def best_of(found: Found, names: Sequence[str]) -> str | None:
    """The network that does best over all movies."""
    if not names:
        return None
    return max(names, key=lambda name: mean(found, list(found), name, "psnr"))


def order(found: Found, groups: Groups, names: Sequence[str], step: int) -> Verdict:
    """Networks against the bars that they must pass."""
    best = best_of(found, names)
    if best is None:
        return [Absent(f"{_EVERY[step]}: networks over their bars", "no weights")]
    real = [
        movie for group in groups if group not in (GENERATED, JUMPING) for movie in groups[group]
    ]
    made = list(groups[GENERATED])
    verdict: Verdict = []

    def over(bar: str, movies: Sequence[str], kind: str, targets: Mapping[str, float]) -> None:
        what = f"{_EVERY[step]}, {kind}: {best} − {bar}"
        why = _missing(found, movies, bar)
        gained = [] if why else _gained(found, movies, best, (bar,))
        for which, target in targets.items():
            name = f"{what}, {which}"
            value = float(np.mean(gained) if which == "mean" else min(gained)) if gained else 0.0
            verdict.append(Absent(name, why) if why else Check(name, value, ">=", target, "dB"))

    over(BAR, real, "real", {"mean": 0.4, "least": 0.0})
    over(BAR, made, GENERATED, {"mean": 0.5, "least": 0.0})
    if step == 2:
        over(DIS, groups[JUMPING], JUMPING, {"mean": 0.5})
        figure = mean(found, made, best, "psnr")
        verdict.append(Check(f"{_EVERY[step]}, {GENERATED}: {best}", figure, ">=", 37.0, "dB"))
    for kind, movies in ((GENERATED, made), ("real", real)):
        for name in names:
            what = f"{_EVERY[step]}, {kind}: {name} − best of linear and blurred blend, least"
            if why := _missing(found, movies, LINEAR):
                verdict.append(Absent(what, why))
                continue
            least = min(_gained(found, movies, name, (LINEAR, BLURRED)))
            verdict.append(Check(what, least, ">=", 0.0, "dB"))
    return verdict


def kept(found: Found, groups: Groups, names: Sequence[str]) -> Verdict:
    """Intensities, intervals, and whether the uncertainty knows where the error is."""
    best = best_of(found, names)
    if best is None:
        return [Absent("intensities and uncertainties", "no weights")]
    verdict: Verdict = []
    for group, movies in groups.items():
        why = _missing(found, movies, best)
        asked: list[tuple[str, str, Literal["<=", ">="], float]] = [
            (f"{group}: foreground intensity of {best}, off by", "off", "<=", 0.02),
            (f"{group}: 90% intervals of {best} cover", "covered", ">=", _COVERED[0]),
            (f"{group}: 90% intervals of {best} cover no more than", "covered", "<=", _COVERED[1]),
            (
                f"{group}: rank correlation of {best}'s sd and error, pixels of a frame",
                "pixels",
                ">=",
                0.6,
            ),
        ]
        for name, key, relation, target in asked:
            if why:
                verdict.append(Absent(name, why))
            elif key == "off":
                off = [abs(mean(found, [movie], best, "intensity") - 1) for movie in movies]
                verdict.append(Check(name, float(np.mean(off)), relation, target))
            else:
                verdict.append(Check(name, mean(found, movies, best, key), relation, target))
    rows = [row for movie in found.values() for row in movie[best]]
    over_frames = ranked([row["sd"] for row in rows], [row["rmse"] for row in rows])
    what = f"rank correlation of {best}'s sd and error, frames of all movies"
    return [*verdict, Check(what, over_frames, ">=", 0.6)]


def gains(tuning: Mapping[str, Mapping[str, Any]], names: Sequence[str]) -> Verdict:
    """What fine-tuning on the first half of a movie gains on its second."""
    verdict: Verdict = []
    asked: tuple[tuple[str, Any, float], ...] = (("mean", np.mean, 0.2), ("least", np.min, -0.02))
    for name in names:
        movies = tuning.get(name, {})
        gained = [
            mean_of(own["rows"][AFTER], "psnr") - mean_of(own["rows"][BEFORE], "psnr")
            for own in movies.values()
        ]
        for which, of, target in asked:
            what = f"{name}: gained by fine-tuning, second halves, {which}"
            verdict.append(
                Check(what, float(of(gained)), ">=", target, "dB")
                if gained
                else Absent(what, NO_MOVIES)
            )
    return verdict


def _missing(found: Found, movies: Sequence[str], method: str) -> str | None:
    """Why these movies cannot be judged by a method."""
    if not movies:
        return NO_MOVIES
    return None if method in found[movies[0]] else "OpenCV is not installed"


def _gained(found: Found, movies: Sequence[str], name: str, over: Sequence[str]) -> list[float]:
    """PSNR of a method less that of the best of others, by movie."""
    return [
        mean(found, [movie], name, "psnr")
        - max(mean(found, [movie], other, "psnr") for other in over)
        for movie in movies
    ]


NO_MOVIES = f"no real movies ({', '.join(REAL)})"
