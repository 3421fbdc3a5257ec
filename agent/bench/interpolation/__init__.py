"""Frames that were dropped from movies, rebuilt and compared with the dropped ones.

Generated movies have a clean truth; the truth of real ones is what was measured, noise and all. No
network was trained on either. With `--keep FOLDER` movies and fine-tuned networks stay there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rich.progress import Progress

from agent.bench.interpolation import speed
from agent.bench.interpolation.measures import paired, ranked
from agent.bench.interpolation.methods import BLURRED, NETWORKS, left_out, network
from agent.bench.interpolation.study import (
    GENERATED_MOVIES,
    Movie,
    Row,
    compared,
    generated_movies,
    mean_of,
    real_movies,
)
from agent.bench.interpolation.tuning import AFTER, BEFORE, tuned
from agent.bench.measurement import Check, Measurement, kept_in
from agent.cli.terminal import err
from models.interpolation.weights import shipped

LINEAR, DIS = "linear", "DIS"
STEPS = (2, 4)
TUNED = ("flow", "dain")
"""Fine-tuned, too; Zooming SlowMo would take an hour on a CPU."""
_QUICK_MOVIES, _QUICK_FRAMES, _QUICK_SIDE = 2, 13, 64
_ORDER = ("repeat", LINEAR, BLURRED, "Farneback", DIS, *NETWORKS)

Found = dict[str, dict[str, list[Row]]]
"""Rows of frames, by movie and method."""


def measure(*, quick: bool, seeds: int | None, keep: Path | None = None) -> Measurement:
    """Drop, rebuild, fine-tune and compare.

    Parameters
    ----------
    quick
        Few frames of small movies and a training of two steps: shows that it runs, and judges
        nothing.
    seeds
        Not used: movies have a fixed seed.
    keep
        Folder for movies and fine-tuned networks.
    """
    names = [name for name in NETWORKS if name in shipped()]
    with kept_in(keep) as folder, Progress(console=err) as bar:
        movies = _movies(folder, bar, quick=quick)
        networks = {name: network(name) for name in names}
        task = bar.add_task("rebuilding", total=len(STEPS) * len(movies))
        found: dict[int, Found] = {step: {} for step in STEPS}
        for step in STEPS:
            for movie in movies:
                found[step][movie.name] = compared(movie, networks, step)
                bar.advance(task)
        real = [movie for movie in movies if movie.real]
        jobs = [(name, movie) for name in TUNED if name in names for movie in real]
        task = bar.add_task("fine-tuning", total=len(jobs))
        tuning: dict[str, dict[str, Any]] = {}
        for name, movie in jobs:
            own = tuned(folder / "finetuned", movie, name, quick=quick)
            tuning.setdefault(name, {})[movie.name] = own
            bar.advance(task)
    pace = speed.measure(quick=quick)
    groups = _groups(movies)
    missing = left_out() + [name for name in NETWORKS if name not in names]
    return Measurement(
        columns=("movies", "kept", "method", *_FIGURES),
        rows=[row for step in STEPS for row in _table(found[step], groups, step)]
        + _tuning_table(tuning)
        + [("–", "", f"{name}: left out, not there") for name in missing],
        checks=[
            *(check for step in STEPS for check in _order(found[step], groups, names, step)),
            *_kept(found[2], groups, names),
            *_gains(tuning),
            *pace.checks,
        ],
        raw={
            "every_second": found[2],
            "every_fourth": found[4],
            "paired": _tests(found[2]),
            "tuning": tuning,
            "left_out": missing,
            pace.name: pace.raw,
        },
    )


_FIGURES = ("PSNR", "SSIM", "bright PSNR", "intensity", "sd ~ error")
_KEYS = ("psnr", "ssim", "foreground_psnr", "intensity", "pixels")


def _movies(folder: Path, bar: Progress, *, quick: bool) -> list[Movie]:
    number = _QUICK_MOVIES if quick else GENERATED_MOVIES
    task = bar.add_task("generating", total=number)
    place = folder / ("quick" if quick else "test")
    movies = list(generated_movies(place, number, lambda done: bar.update(task, completed=done)))
    movies += real_movies()
    if not quick:
        return movies
    some = (slice(_QUICK_FRAMES), slice(_QUICK_SIDE), slice(_QUICK_SIDE))
    return [Movie(one.name, one.real, one.frames[some], one.truth[some]) for one in movies]


def _groups(movies: Sequence[Movie]) -> dict[str, list[str]]:
    """Names of movies that make one line of the table: all generated ones, and each real one."""
    groups = {"generated": [movie.name for movie in movies if not movie.real]}
    return groups | {movie.name: [movie.name] for movie in movies if movie.real}


def _table(found: Found, groups: Mapping[str, Sequence[str]], step: int) -> list[tuple[Any, ...]]:
    """Means over the frames of each movie, then over the movies of a group."""
    return [
        (
            group,
            f"1/{step}",
            method,
            *(_shown(_mean(found, names, method, key), key) for key in _KEYS),
        )
        for group, names in groups.items()
        for method in _ORDER
        if method in found[names[0]]
    ]


def _tuning_table(tuning: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    return [
        (
            f"{movie}, 2nd half",
            "1/2",
            f"{name}, {when}",
            *(_shown(mean_of(own["rows"][when], key), key) for key in _KEYS),
        )
        for name, movies in tuning.items()
        for movie, own in movies.items()
        for when in (BEFORE, AFTER)
    ]


def _mean(found: Found, movies: Sequence[str], method: str, key: str) -> float:
    return float(np.mean([mean_of(found[movie][method], key) for movie in movies]))


def _shown(value: float, key: str) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f}" if "psnr" in key else f"{value:.3f}"


def _best(found: Found, names: Sequence[str]) -> str | None:
    """The network that does best over all movies."""
    if not names:
        return None
    return max(names, key=lambda name: _mean(found, list(found), name, "psnr"))


def _order(
    found: Found, groups: Mapping[str, Sequence[str]], names: Sequence[str], step: int
) -> list[Check]:
    """Networks against the bars that they must pass."""
    best = _best(found, names)
    if best is None:
        return []
    every = {2: "every second frame", 4: "one frame in four"}[step]
    checks = []
    for kind, movies in (
        ("generated", groups["generated"]),
        ("real", [m for group, own in groups.items() if group != "generated" for m in own]),
    ):
        if not movies:
            continue
        if DIS in found[movies[0]]:
            gained = _gained(found, movies, best, (DIS,))
            what = f"{every}, {kind}: {best} − DIS"
            checks.append(Check(f"{what}, mean", float(np.mean(gained)), ">=", 0.5, "dB"))
            checks.append(Check(f"{what}, least", min(gained), ">=", 0.0, "dB"))
        for name in names:
            least = min(_gained(found, movies, name, (LINEAR, BLURRED)))
            what = f"{every}, {kind}: {name} − best of linear and blurred blend, least"
            checks.append(Check(what, least, ">=", 0.0, "dB"))
    return checks


def _gained(found: Found, movies: Sequence[str], name: str, over: Sequence[str]) -> list[float]:
    """PSNR of a method less that of the best of others, by movie."""
    return [
        _mean(found, [movie], name, "psnr")
        - max(_mean(found, [movie], other, "psnr") for other in over)
        for movie in movies
    ]


def _kept(found: Found, groups: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[Check]:
    """Intensities, and whether the uncertainty knows where the error is."""
    best = _best(found, names)
    if best is None:
        return []
    checks = []
    for group, movies in groups.items():
        if not movies:
            continue
        off = [abs(_mean(found, [movie], best, "intensity") - 1) for movie in movies]
        what = f"{group}: foreground intensity of {best}, off by"
        checks.append(Check(what, float(np.mean(off)), "<=", 0.02))
        checks.append(
            Check(
                f"{group}: rank correlation of {best}'s sd and error, pixels of a frame",
                _mean(found, movies, best, "pixels"),
                ">=",
                0.6,
            )
        )
    rows = [row for movie in found.values() for row in movie[best]]
    over_frames = ranked([row["sd"] for row in rows], [row["rmse"] for row in rows])
    what = f"rank correlation of {best}'s sd and error, frames of all movies"
    return [*checks, Check(what, over_frames, ">=", 0.6)]


def _gains(tuning: Mapping[str, Mapping[str, Any]]) -> list[Check]:
    checks = []
    asked: tuple[tuple[str, Any, Literal[">="], float], ...] = (
        ("mean", np.mean, ">=", 0.2),
        ("least", np.min, ">=", -0.02),
    )
    for name, movies in tuning.items():
        gained = [
            mean_of(own["rows"][AFTER], "psnr") - mean_of(own["rows"][BEFORE], "psnr")
            for own in movies.values()
        ]
        for which, of, relation, target in asked:
            what = f"{name}: gained by fine-tuning, second halves, {which}"
            checks.append(Check(what, float(of(gained)), relation, target, "dB"))
    return checks


def _tests(found: Found) -> dict[str, dict[str, dict[str, float]]]:
    """Each network against linear and DIS, frame by frame."""
    return {
        movie: {
            f"{name} − {other}": paired(
                [row["psnr"] for row in rows[name]], [row["psnr"] for row in rows[other]]
            )
            for name in NETWORKS
            for other in (LINEAR, BLURRED, DIS)
            if name in rows and other in rows
        }
        for movie, rows in found.items()
    }
