"""Training of an interpolator, from nothing or on a person's own movie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.interpolation.calibration import Calibration, ValidationFrame, measured, rebuilt
from models.interpolation.crops import Crops
from models.interpolation.fitting import Cases, Fit, Progress, loss_of
from models.interpolation.interface import Interpolator
from models.interpolation.movies import Movie, digest, read_movies
from models.interpolation.networks import build
from models.interpolation.recipe import Recipe
from models.interpolation.triplets import Division, triplets
from models.interpolation.weights import Loaded, read_interpolator, save
from models.layout import placed
from models.restoration.normalization import Normalization

Example = dict[str, NDArray[np.float32]]
"""Normalized images of a validation frame by name: before, after, rebuilt, target and sd."""
_LIMITS = (
    "What moves as in the data named here is rebuilt; other motion, structures, pixel sizes and"
    " microscopes by analogy, and what appears and is gone between two frames is not seen.",
    "Its uncertainty is calibrated on the validation part, against targets as they are there.",
)
_SIMULATED = "Its targets are without noise, as only generated movies have them."
_NOISY = "Its targets are measured frames: their noise is part of the calibrated uncertainty."


def train(
    data: Path | Sequence[Movie],
    out: Path,
    recipe: Recipe | None = None,
    *,
    command: str = "",
    commit: str = "",
    progress: Progress | None = None,
    examples: Callable[[list[Example]], None] | None = None,
    device: str = "cpu",
    division: Division | None = None,
) -> dict[str, Any]:
    """Train an interpolator and write weights and model card.

    The weights of the epoch that does best on the validation part are kept; with
    `recipe.start_from`, those it started from if none is better, or some on the way from the one
    to the other if these are. The validation part then
    calibrates the uncertainty.

    It continues where it was stopped: `<out>.checkpoint` has the state after the last epoch.

    Parameters
    ----------
    data
        A folder with movies, one movie (see `movies.read_movies`), or movies.
    out
        Where to write, without suffix: `<out>.safetensors` and `<out>.json`.
    recipe
        How; the default one if absent. The same recipe, data and device give the same weights
        on the same machine with the same number of threads.
    command, commit
        What the model card says about how to make these weights again.
    progress
        Called after each epoch; `validation` is an error in dB, −PSNR.
    examples
        Called at the end with a few validation frames.
    device
        What torch computes on.
    division
        Which frames of the movies to learn from and which to judge by; by default
        `movies.triplets` divides them.

    Returns
    -------
    dict
        The model card; `card["metrics"]` has the figures on the validation part.

    Raises
    ------
    ValueError
        For wrong or too few data, a training that diverges, and weights that it cannot begin
        with; names file and value.
    """
    recipe, out = recipe or Recipe(), Path(out)
    movies = read_movies(data, screened=recipe.screen) if isinstance(data, Path) else list(data)
    if not movies:
        raise ValueError("movies: found none; accepted: one and more")
    training, validation = division or triplets(movies, recipe.gaps, recipe.seed)
    start = read_interpolator(recipe.start_from) if recipe.start_from is not None else None
    normalization = start.normalization if start else Normalization(recipe.low, recipe.high)
    network = _fresh(recipe, start, device)
    count = min(len(validation), recipe.validation_frames)
    chosen = np.linspace(0, len(validation) - 1, count).round().astype(int)
    cases = Cases(recipe, movies, [validation[i] for i in chosen], normalization, device)
    drawn = recipe.patch, recipe.anywhere, recipe.jitter, recipe.wobble
    crops = Crops(movies, training, normalization, *drawn)
    fit = Fit(recipe, network, crops, cases, loss_of(recipe, movies), device)
    parent = start.card["weights_sha256"] if start else None
    content = digest(movies)
    file = out.with_name(f"{out.name}.checkpoint")
    identity = {"recipe": _plain(recipe), "data": content, "parent": parent}
    history = fit.run(file, identity, progress)
    calibration, figures = measured(network, cases)
    clean = [one.clean is not None for one in movies]
    card: dict[str, Any] = {
        "model": type(network).__name__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit,
        "torch": torch.__version__,
        "trained_on": f"{sum(clean)} movies with clean targets, {len(clean) - sum(clean)} without",
        "loss": fit.loss,
        "data": {
            "name": data.name if isinstance(data, Path) else "arrays",
            "movies": len(movies),
            "frames": sum(len(one.frames) for one in movies),
            "left_out": sum(len(one.frames) - len(one.kept) for one in movies),
            "triplets": {
                "training": sum(len(own) for own in training),
                "validation": len(validation),
            },
            "sha256": content,
        },
        "started_from": parent,
        "architecture": network.architecture,
        "parameters": sum(part.numel() for part in network.parameters()),
        "normalization": asdict(normalization),
        "calibration": calibration._asdict(),
        "recipe": _plain(recipe),
        "training": {"threads": torch.get_num_threads(), "device": device, **history},
        "metrics": {"validation": figures},
        "limits": [
            *([_SIMULATED] if any(clean) else []),
            *([_NOISY] if not all(clean) else []),
            *network.limits,
            *_LIMITS,
        ],
    }
    save(out, network, card)
    file.unlink(missing_ok=True)
    if examples is not None:
        some = [cases[i] for i in np.linspace(0, len(cases) - 1, min(4, len(cases))).astype(int)]
        examples([_example(network, case, calibration) for case in some])
    return card


def _fresh(recipe: Recipe, start: Loaded | None, device: str) -> Interpolator:
    """The network before the first step."""
    if start is None:
        # The caller's random numbers stay the caller's.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = build(recipe.architecture)
    else:
        network = start.network
    return placed(network, device)


def _plain(recipe: Recipe) -> dict[str, Any]:
    plain = asdict(recipe)
    plain["gaps"] = list(recipe.gaps)
    if recipe.start_from is not None:
        plain["start_from"] = Path(recipe.start_from).name
    return plain


def _example(network: Interpolator, case: ValidationFrame, calibration: Calibration) -> Example:
    with torch.no_grad():
        location, sd = rebuilt(
            network, case.before, case.after, case.t, both_ways=True, blend=calibration.blend
        )
    images = {
        "before": case.before,
        "after": case.after,
        "rebuilt": location,
        "target": case.target,
        "sd": calibration.both_ways * sd,
    }
    return {name: image[0, 0].float().cpu().numpy() for name, image in images.items()}
