"""Frames that were dropped from movies, rebuilt and compared with the dropped ones.

Generated movies have a clean truth; the truth of real ones is what was measured, noise and all. No
network was trained on either. With `--keep FOLDER` movies and fine-tuned networks stay there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from agent.bench.interpolation import speed
from agent.bench.interpolation.measures import paired
from agent.bench.interpolation.methods import (
    BAR,
    BLURRED,
    DIS,
    FARNEBACK,
    LINEAR,
    NETWORKS,
    REPEAT,
    NetworkMethod,
    fitted,
    left_out,
)
from agent.bench.interpolation.study import (
    GENERATED,
    JUMPING,
    MOVIES,
    REAL,
    Row,
    StudiedMovie,
    compared,
    generated_movies,
    mean_of,
    real_movies,
)
from agent.bench.interpolation.tuning import AFTER, BEFORE, tuned
from agent.bench.interpolation.verdict import gains, kept, mean, order
from agent.bench.measurement import Absent, Check, Measurement, kept_in
from agent.cli.terminal import err
from models.interpolation.weights import shipped

STEPS = (2, 4)
TUNED = ("flow", "dain")
"""Fine-tuned, too; Zooming SlowMo would take an hour on a CPU."""
_QUICK_MOVIES, _QUICK_FRAMES, _QUICK_SIDE = 2, 13, 64
_BOTH = tuple(name for own in NETWORKS for name in (own, fitted(own)))
_ORDER = (REPEAT, LINEAR, BLURRED, FARNEBACK, DIS, BAR, *_BOTH)

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
        networks = {name: NetworkMethod(name) for name in names}
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
    # What `stedfast reconstruct` makes is what is judged.
    judged = [fitted(name) for name in names]
    verdict = [
        *(one for step in STEPS for one in order(found[step], groups, judged, step)),
        *kept(found[2], groups, judged),
        *gains(tuning, [name for name in TUNED if name in names]),
        *pace.checks,
        *pace.left_out,
    ]
    return Measurement(
        columns=("movies", "kept", "method", *_FIGURES),
        rows=[row for step in STEPS for row in _table(found[step], groups, step)]
        + _tuning_table(tuning)
        + [("–", "", f"{name}: left out, not there") for name in missing],
        checks=[one for one in verdict if isinstance(one, Check)],
        left_out=[one for one in verdict if isinstance(one, Absent)],
        raw={
            "every_second": found[2],
            "every_fourth": found[4],
            "paired": _tests(found[2]),
            "tuning": tuning,
            "left_out": missing,
            pace.name: pace.raw,
        },
    )


_FIGURES = ("PSNR", "aligned", "SSIM", "bright PSNR", "intensity", "sd ~ error", "90% cover")
_KEYS = ("psnr", "aligned_psnr", "ssim", "foreground_psnr", "intensity", "pixels", "covered")


def _movies(folder: Path, bar: Progress, *, quick: bool) -> list[StudiedMovie]:
    numbers = {group: _QUICK_MOVIES if quick else number for group, number in MOVIES.items()}
    task = bar.add_task("generating", total=sum(numbers.values()))
    movies: list[StudiedMovie] = []
    for group, number in numbers.items():
        place = folder / f"{'quick' if quick else 'test'} {group}"
        movies += generated_movies(place, number, group, lambda: bar.advance(task))
    movies += real_movies()
    if not quick:
        return movies
    some = (slice(_QUICK_FRAMES), slice(_QUICK_SIDE), slice(_QUICK_SIDE))
    return [replace(one, frames=one.frames[some], truth=one.truth[some]) for one in movies]


def _groups(movies: Sequence[StudiedMovie]) -> dict[str, list[str]]:
    """Names of movies that make one line of the table: those of a set, and each real one."""
    real = [movie.name for movie in movies if movie.real]
    return {
        **{
            group: [one.name for one in movies if not one.real and one.group == group]
            for group in (GENERATED, JUMPING)
        },
        **{name: [name] for name in real},
        **({} if real else {name: [] for name in REAL}),
    }


def _table(found: Found, groups: Mapping[str, Sequence[str]], step: int) -> list[tuple[Any, ...]]:
    """Means over the frames of each movie, then over the movies of a group."""
    return [
        (
            group,
            f"1/{step}",
            method,
            *(_shown(mean(found, names, method, key), key) for key in _KEYS),
        )
        for group, names in groups.items()
        for method in _ORDER
        if names and method in found[names[0]]
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


def _shown(value: float, key: str) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.2f}" if "psnr" in key else f"{value:.3f}"


def _tests(found: Found) -> dict[str, dict[str, dict[str, float]]]:
    """Each network against linear and DIS, frame by frame."""
    return {
        movie: {
            f"{name} − {other}": paired(
                [row["psnr"] for row in rows[name]], [row["psnr"] for row in rows[other]]
            )
            for name in _BOTH
            for other in (LINEAR, BLURRED, DIS, BAR)
            if name in rows and other in rows
        }
        for movie, rows in found.items()
    }
