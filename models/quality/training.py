"""Training of a quality network on rated frames."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import checkpoint
from models import weights as weight_files
from models.checkpoint import State
from models.layout import placed
from models.quality.data import RatedSet, Split, load, split
from models.quality.figures import rmse
from models.quality.judging import calibrate_on, evaluate, features_of, predict
from models.quality.lessons import Lessons, Remembered, Shown
from models.quality.network import Judgements, RatingNet
from models.quality.networks import build
from models.quality.preparing import INPUT
from models.quality.recipe import Recipe
from models.quality.resampling import PIXEL_SIZE_NM
from models.quality.scorer import read_weights
from models.quality.table import Reader, read_plain

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with its number, how many there are at most, and figures."""
_FEWEST = 10
"""Fewest frames that can be learned from; chosen."""
# The loss by a blur is learned much better by a network that has seen sharp frames first.
_SHARP_ONLY = 0.3
_LIMITS = (
    "What it learned is what the data named here show; of other microscopes' frames it judges by"
    " analogy.",
    "Its standard deviation is calibrated on the validation part: on frames like those.",
)
_SIMULATED = (
    "Frames and labels are simulated: the labels are computed from the simulation's ground truth,"
    " no expert gave them, and no expert has judged the scores."
)


def train(
    data: Path,
    out: Path,
    recipe: Recipe | None = None,
    *,
    tests: Mapping[str, Path] | None = None,
    command: str = "",
    commit: str = "",
    progress: Progress | None = None,
    device: str = "cpu",
    read: Reader = read_plain,
) -> dict[str, Any]:
    """Train a quality network on rated frames and write weights and model card.

    Each head learns by mean squared error, on its own sample of the frames (drawn with
    replacement), and how large its errors are by their Gaussian likelihood. The weights of the
    epoch with the least error on the validation part are kept. The validation part then
    calibrates the standard deviation and sets the limit of familiar frames.

    It continues where it was stopped: `<out>.checkpoint` has the state after the last epoch, until
    the training is done.

    Parameters
    ----------
    data
        Folder with `frames.csv` and TIFFs, or a CSV (see `table.read_ratings`).
    out
        Where to write, without suffix: `<out>.safetensors`, `<out>.json` and `<out>.csv`, which
        has the score of every validation and test frame.
    recipe
        How; the default one if absent. The same recipe, data and device give the same weights
        on the same machine with the same number of threads.
    tests
        More rated sets that the card gives figures of, by name.
    command, commit
        What the model card says about how to make these weights again.
    progress
        Called after each epoch.
    device
        What torch computes on; on CUDA in bfloat16 where it is precise enough.
    read
        See `data.load`.

    Returns
    -------
    dict
        The model card; `card["metrics"]` has the figures on the validation part, on the test part
        if there is one, and on each of `tests`.

    Raises
    ------
    ValueError
        For wrong or too few data; names file, line and value.
    """
    recipe = recipe or Recipe()
    if recipe.epochs < 1:
        raise ValueError(f"epochs: found {recipe.epochs}; accepted: 1 or more")
    rated = load(Path(data), recipe.column, read)
    if len(rated.ratings) < _FEWEST:
        raise ValueError(f"{data}: found {len(rated.ratings)} frames; accepted: {_FEWEST} or more")
    parts = split(rated.ratings, recipe.seed)
    network, architecture, parent = _start(recipe, device)
    about = rated.describe(Path(data).name, parts)
    identity = {
        "recipe": _plain(recipe),
        "data": about["sha256"],
        "table": rated.table_sha256,
        "parent": parent,
    }
    history = _fit(network, rated, parts, recipe, device, progress, Path(out), identity)
    calibrate_on(network, rated, parts, device)
    predictions, metrics = evaluate(network, rated, parts, tests or {}, recipe, device, read)
    card: dict[str, Any] = {
        "model": type(network).__name__,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit,
        "torch": torch.__version__,
        "data": about,
        "started_from": parent,
        "architecture": architecture,
        "input": {
            "pixels": INPUT,
            "pixel_size_nm": PIXEL_SIZE_NM,
            "normalization": "each tile by its own 1 and 99.8 percentiles",
        },
        "recipe": _plain(recipe),
        "training": history,
        "metrics": metrics,
        "limits": [*([_SIMULATED] if about["simulated"] else []), *_LIMITS],
        "notes": [],
    }
    _write(Path(out), network, card, predictions)
    return card


def _plain(recipe: Recipe) -> dict[str, Any]:
    plain = asdict(recipe)
    if recipe.start_from is not None:
        plain["start_from"] = Path(recipe.start_from).name
    return plain


def _start(recipe: Recipe, device: str) -> tuple[RatingNet, dict[str, Any], str | None]:
    """The network to train, its architecture, and the hash of the weights it begins with."""
    # The caller's random numbers stay the caller's.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if recipe.start_from is not None:
            network, card = read_weights(Path(recipe.start_from))
            architecture, parent = card["architecture"], card["weights_sha256"]
        else:
            architecture, parent = dict(recipe.architecture or {}), None
            network = build(architecture)
    return placed(network, device), architecture, parent


def _trained(network: RatingNet, recipe: Recipe) -> list[torch.nn.Parameter]:
    """The parameters that this training changes."""
    if recipe.start_from is None or not recipe.heads_only:
        return list(network.parameters())
    return list(network.last().parameters())


def _fit(
    network: RatingNet,
    rated: RatedSet,
    parts: Split,
    recipe: Recipe,
    device: str,
    progress: Progress | None,
    out: Path,
    identity: dict[str, Any],
) -> dict[str, Any]:
    """Train in place; leaves the best weights in `network` and returns what happened."""
    mine = rated.part(parts.training)
    trained = _trained(network, recipe)
    part_only = len(trained) < len(list(network.parameters()))
    remembers = part_only and recipe.variants is not None
    seen = out.with_name(out.name + ".features")
    lessons: Lessons = (
        Remembered(network, rated, mine, recipe, device, seen, identity)
        if remembers
        else Shown(network, rated, mine, recipe, device)
    )
    optimizer, schedule = _optimizer(trained, recipe, recipe.epochs * lessons.steps())
    given: Tensor | None = None
    known = features_of(network.eval(), rated, parts.validation, device) if remembers else None
    state = State(network, {"optimizer": optimizer, "schedule": schedule})
    file = out.with_name(out.name + ".checkpoint")
    checkpoint.read(file, state, identity)
    while state.epoch < recipe.epochs and not state.finished(recipe.patience):
        epoch = state.epoch + 1
        # Of few frames the statistics are worse than those that the network has.
        network.train(not part_only)
        all_shown = part_only or epoch > _SHARP_ONLY * recipe.epochs
        squares, shown = 0.0, 0
        for tile, judged, target in lessons.epoch(epoch, blurred=recipe.blurred * all_shown):
            if given is None:
                given = _bootstrap(len(judged.value), len(rated.score), recipe.seed)
            weight = given[:, rated.frame[tile]]
            squared, unlikely = _losses(judged, target, weight.to(device))
            optimizer.zero_grad()
            (squared + unlikely).backward()  # type: ignore[no-untyped-call]  # torch's
            optimizer.step()
            schedule.step()
            squares += float(squared.detach()) * len(tile)
            shown += len(tile)
        error = rmse(
            predict(network, rated, parts.validation, device, known).value,
            rated.score[parts.validation],
        )
        state.step((squares / shown) ** 0.5, error, keep=all_shown)
        checkpoint.write(file, state, identity)
        if progress is not None:
            told = {"train_rmse": state.training[-1], "validation_rmse": error, "best": state.best}
            progress(epoch, recipe.epochs, told)
    if state.best_weights:
        network.load_state_dict(state.best_weights)
    file.unlink(missing_ok=True)
    lessons.forget()
    return {
        "loss": "mean squared error of each head; Gaussian likelihood of its standard deviation",
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "threads": torch.get_num_threads(),
        "device": device,
        "train_rmse": [round(value, 5) for value in state.training],
        "validation_rmse": [round(value, 5) for value in state.validation],
    }


def _optimizer(
    parameters: list[torch.nn.Parameter], recipe: Recipe, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    if recipe.optimizer == "adam":
        adam = torch.optim.Adam(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
        return adam, torch.optim.lr_scheduler.ConstantLR(adam, factor=1.0)
    adamw = torch.optim.AdamW(parameters, recipe.learning_rate, weight_decay=recipe.weight_decay)
    return adamw, torch.optim.lr_scheduler.OneCycleLR(adamw, recipe.learning_rate, steps)


def _bootstrap(heads: int, frames: int, seed: int) -> Tensor:
    """How often each frame is in the sample of each head (heads × frames): Poisson around 1.

    It depends on the frame's number alone, so that a head never sees what it was not given.
    """
    if heads == 1:
        return torch.ones(1, frames)
    drawn = [np.random.default_rng((seed, frame)).poisson(1.0, heads) for frame in range(frames)]
    return torch.from_numpy(np.array(drawn, np.float32).T.copy())


def _losses(judged: Judgements, target: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error, and negative log-likelihood of the error's size, over a batch."""
    total = weight.sum().clamp_min(1.0)
    error = (judged.value.float() - target).square()
    sd = judged.sd.float()
    # What the scores are must not depend on how well their errors are known.
    unlikely = error.detach() / (2 * sd.square()) + sd.log()
    return (weight * error).sum() / total, 0.01 * (weight * unlikely).sum() / total


def _write(
    out: Path, network: RatingNet, card: dict[str, Any], predictions: list[dict[str, Any]]
) -> None:
    weight_files.write(out, network.state_dict(), card)
    with out.with_name(out.name + ".csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, list(predictions[0]))
        writer.writeheader()
        writer.writerows(predictions)
