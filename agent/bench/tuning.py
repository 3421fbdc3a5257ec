"""Fine-tuning on audits, on real movies: it learns in the first half, and gains in the second.

Of the first half every frame is taken, and compared with what the two beside it make of it, as a
time-lapse does that is not sure of its error yet. Then there is one attempt, with the tuner's own
functions. Of the second half every second frame is skipped and rebuilt, with the old weights and,
if they were kept, with the new ones. These cameras' noise is unknown: it counts as error.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from agent.bench.interpolation.study import StudiedMovie, gaps, real_movies
from agent.bench.measurement import Check, Measurement, kept_in
from agent.cli.terminal import err
from agent.config.reading import UserError
from agent.plans.adaptive.frame_noise import Detector
from agent.workers.fine_tuning import (
    RECIPE,
    AuditExample,
    AuditTriplet,
    TuningVerdict,
    affordable,
    compare_weights,
    fine_tune,
    split_audits,
    write_rescaled,
)
from models.interpolation.recipe import Recipe

_MODEL = "flow"
_NOISELESS = 1e-9


def measure(*, quick: bool, seeds: int | None, keep: Path | None = None) -> Measurement:
    """Tune to each real movie.

    Parameters
    ----------
    quick
        One small movie: shows that it runs, and judges nothing.
    seeds
        Not used: nothing is drawn but crops, whose seed is fixed.
    keep
        Folder for the tuned weights.

    Raises
    ------
    UserError
        There are no real movies.
    """
    import torch

    movies = real_movies()
    if not movies:
        raise UserError("bench tuning: the real movies are not beside the project")
    recipe = RECIPE
    if quick:
        recipe = replace(RECIPE, epochs=1, steps_per_epoch=2, patch=32)
        some = (slice(30), slice(64), slice(64))
        movies = [
            StudiedMovie(one.name, True, one.frames[some], one.truth[some]) for one in movies[:1]
        ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with kept_in(keep) as folder:
            found = {
                movie.name: _tuned(movie, folder / movie.name, recipe)
                for movie in track(movies, "tuning", console=err)
            }
    finally:
        torch.set_num_threads(threads)
    return Measurement(
        columns=("movie", "audits", "judged by", "kept", "frames", "error", "tuned", "minutes"),
        rows=[
            (
                name,
                one["audits"],
                f"{one['judge']['before']:.4f} → {one['judge']['after']:.4f}",
                "yes" if one["kept"] else "no",
                one["later"]["frames"],
                f"{one['later']['before']:.4f}",
                f"{one['used']:.4f}",
                f"{one['minutes']:.1f}",
            )
            for name, one in found.items()
        ],
        checks=[
            Check(
                "error of later frames, with tuning over without, worst movie",
                max(one["used"] / one["later"]["before"] for one in found.values()),
                "<=",
                1.0,
            ),
            Check(
                "the same, mean",
                fmean(one["used"] / one["later"]["before"] for one in found.values()),
                "<=",
                0.99,
            ),
        ],
        raw=found,
    )


def _tuned(movie: StudiedMovie, out: Path, recipe: Recipe) -> dict[str, Any]:
    """One attempt after the first half, and what the second half says of it."""
    from models.interpolation import Interpolation

    frames = np.asarray(movie.frames, np.float32)
    half = len(frames) // 2
    detector = Detector(gain=_NOISELESS, offset=float(frames.min()))
    audits = [AuditTriplet(i, i + 1, i + 2, 0.5) for i in range(half - 2)]
    older, latest = split_audits(affordable(audits, frames[0].shape))
    began = time.perf_counter()
    fine_tune(_MODEL, _examples(frames, older), out, recipe)
    old, new = Interpolation(_MODEL, "cpu"), Interpolation(_file(out), "cpu")
    verdict = compare_weights(old, new, _examples(frames, latest), detector)
    minutes = (time.perf_counter() - began) / 60
    write_rescaled(_file(out), verdict, out.with_name(f"{out.name}-matched"))
    skipped = [
        AuditTriplet(half + gap.before, half + gap.target, half + gap.after, gap.t)
        for gap in gaps(len(frames) - half, 2)
    ]
    later = compare_weights(old, new, _examples(frames, skipped), detector)
    before, after = (_rms(one) for one in (later.before.value, later.after.value))
    return {
        "audits": len(audits),
        "judge": _figures(verdict),
        "kept": verdict.better,
        "later": _figures(later),
        "used": after if verdict.better else before,
        "minutes": minutes,
    }


def _file(out: Path) -> Path:
    return out.with_name(f"{out.name}.safetensors")


def _examples(frames: NDArray[Any], audits: list[AuditTriplet]) -> list[AuditExample]:
    return [
        AuditExample(frames[one.before], frames[one.frame], frames[one.after], one.t)
        for one in audits
    ]


def _rms(squared: float) -> float:
    return float(max(squared, 0.0) ** 0.5)


def _figures(verdict: TuningVerdict) -> dict[str, Any]:
    return {
        "frames": verdict.audits,
        "before": _rms(verdict.before.value),
        "after": _rms(verdict.after.value),
        "squared_gain": [verdict.gain.value, verdict.gain.sd],
    }
