"""Fine-tuning on the first half of a real movie, judged on the second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.bench.interpolation.measures import Judge
from agent.bench.interpolation.methods import NetworkMethod
from agent.bench.interpolation.study import Row, StudiedMovie, compared
from agent.offline.training.interpolation import recipe_of
from models.interpolation import movie as checked_movie
from models.interpolation import train
from models.interpolation.weights import FOLDER, read_interpolator

BEFORE, AFTER = "before", "after"


def tuned(folder: Path, movie: StudiedMovie, name: str, *, quick: bool) -> dict[str, Any]:
    """A network before and after fine-tuning: rows of the second half's frames, and the outcome.

    Parameters
    ----------
    folder
        Keeps the fine-tuned weights.
    movie
        A real one.
    name
        Of bundled weights.
    quick
        Train for two steps.
    """
    half = len(movie.frames) // 2
    out = folder / f"{movie.name}-{name}"
    file = out.with_name(f"{out.name}.safetensors")
    if not _is_of(file, name):
        recipe = replace(recipe_of("finetune"), start_from=Path(name))
        if quick:
            recipe = replace(recipe, epochs=1, steps_per_epoch=2, patch=32)
        folder.mkdir(parents=True, exist_ok=True)
        first = checked_movie(movie.frames[:half], name=movie.name)
        train([first], out, recipe, command="stedfast bench interpolation")
    second = StudiedMovie(movie.name, True, movie.frames[half:], movie.truth[half:])
    models = {BEFORE: NetworkMethod(name), AFTER: NetworkMethod(file)}
    rows: dict[str, list[Row]] = compared(second, models, 2, Judge(movie.truth))
    training = read_interpolator(file).card["training"]
    return {
        "rows": {key: rows[key] for key in (BEFORE, AFTER)},
        "best_epoch": training["best_epoch"],
        "validation_db": [training["started_db"], *training["validation_db"]],
    }


def _is_of(file: Path, name: str) -> bool:
    """Whether these weights began with those bundled now."""
    if not file.exists():
        return False
    start = read_interpolator(FOLDER / f"{name}.safetensors").card["weights_sha256"]
    return bool(read_interpolator(file).card["started_from"] == start)
