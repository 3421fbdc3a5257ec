"""Training of a restoration network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models import checkpoint
from models.checkpoint import State
from models.restoration import calibration, cyclegan
from models.restoration.blind import BlindSpots
from models.restoration.cyclegan import CycleGAN
from models.restoration.losses import SMALLEST
from models.restoration.network import RestorationNet, build
from models.restoration.normalization import Normalization
from models.restoration.objective import Case, Objective, Stack, fresh, rate_at, whole
from models.restoration.pairs import Frame, Pairs, PairSplit
from models.restoration.parts import divided, split
from models.restoration.reading import read_pairs
from models.restoration.recipe import METHODS, Recipe
from models.restoration.registration import register
from models.restoration.supervised import Supervised
from models.restoration.weights import Loaded, read_restoration, save

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with its number, how many there are in all, and figures."""

Example = dict[str, np.ndarray[Any, np.dtype[np.float32]]]
"""Normalized images of a validation frame by name: input, filtered, target and sd."""

_LIMITS = (
    "What it takes for structure is what the data named here share; of other structures, pixel"
    " sizes and microscopes it judges by analogy.",
    "Its uncertainty is calibrated on the validation part, against targets as they were measured,"
    " noise and all: on frames like those.",
)
_SIMULATED = "All frames are simulated; it has seen no microscope's."
_UNPAIRED = (
    "It was trained without pairs, so that nothing says how wrong it is: its uncertainty is how"
    " far it changes frames that need no change."
)


def train(
    data: Path | Pairs,
    out: Path,
    recipe: Recipe | None = None,
    *,
    command: str = "",
    commit: str = "",
    progress: Progress | None = None,
    examples: Callable[[list[Example]], None] | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train a restoration network and write weights and model card.

    Each member of the ensemble keeps the weights of the epoch with the least loss on the
    validation part. That part then calibrates the uncertainty: 90% of its pixels lie in their 90%
    interval.

    It continues where it was stopped: `<out>.<member>.checkpoint` has the state after the last
    epoch of each member, until all are done.

    Parameters
    ----------
    data
        Folder with a folder for each channel (see `pairs.read_pairs`), or frames.
    out
        Where to write, without suffix: `<out>.safetensors` and `<out>.json`.
    recipe
        How; the default one if absent. The same recipe, data and device give the same weights
        on the same machine with the same number of threads.
    command, commit
        What the model card says about how to make these weights again.
    progress
        Called after each epoch.
    examples
        Called at the end with a few validation frames.
    device
        What torch computes on; on CUDA in bfloat16 where it is precise enough.

    Returns
    -------
    dict
        The model card; `card["metrics"]` has the figures on the validation part.

    Raises
    ------
    ValueError
        For wrong or too few data, a training that diverges, and a teacher that cannot be used;
        names file and value.
    """
    recipe, out = recipe or Recipe(), Path(out)
    pairs = _load(data, recipe)
    parts = split(pairs, recipe.seed)
    about = pairs.describe(parts)
    teacher = read_restoration(recipe.distil_from) if recipe.distil_from is not None else None
    parent = teacher.card["weights_sha256"] if teacher else None
    normalization = teacher.normalization if teacher else Normalization(recipe.low, recipe.high)
    images = _Images(pairs, parts, normalization, teacher, device)
    make = partial(_objective, recipe, images, device)
    identity = {"recipe": _plain(recipe), "data": about["sha256"], "parent": parent}
    files = [out.with_name(f"{out.name}.{i}.checkpoint") for i in range(recipe.members)]
    objectives, histories = [], []
    for member, file in enumerate(files):
        objective = make(member)
        told = progress and partial(_offset, progress, member, recipe)
        histories.append(_fit(objective, recipe, member, file, identity, told))
        objectives.append(objective)
    networks = [objective.network for objective in objectives]
    judged = objectives[0]
    cases = [judged.case(i) for i in range(judged.cases)]
    if teacher is not None:
        cases = [_measured(case, stack) for case, stack in zip(cases, images.measured, strict=True)]
    factor = calibration.calibrate(networks, cases)
    card: dict[str, Any] = {
        "model": "RestorationNet",
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "commit": commit,
        "torch": torch.__version__,
        "method": recipe.method,
        "trained_on": METHODS[recipe.method],
        "loss": recipe.loss,
        "data": about,
        "distilled_from": parent,
        "architecture": networks[0].architecture,
        "reach_px": networks[0].reach,
        "normalization": asdict(normalization),
        "calibration": factor,
        "members": recipe.members,
        "recipe": _plain(recipe),
        "training": {
            "threads": torch.get_num_threads(),
            "device": device,
            "members": histories,
        },
        "metrics": {"validation": calibration.figures(networks, cases, factor)},
        "pixel_nm": recipe.pixel_nm,
        "limits": _limits(pairs, recipe),
    }
    save(out, networks, card)
    for file in files:
        file.unlink(missing_ok=True)
    if examples is not None:
        examples([_example(networks, case, factor) for case in cases[:4]])
    return card


def _load(data: Path | Pairs, recipe: Recipe) -> Pairs:
    """Frames of the recipe's channels, registered, none smaller than a patch."""
    paired = recipe.method != "cyclegan"
    pairs = data if isinstance(data, Pairs) else read_pairs(data, *recipe.channels, paired=paired)
    if recipe.register and paired and recipe.method != "n2v":
        pairs = register(pairs)
    needed = max(recipe.patch, SMALLEST.get(recipe.loss, 0))
    if not paired and recipe.patch < cyclegan.SMALLEST:
        raise ValueError(
            f"patch: found {recipe.patch}; accepted with cyclegan: {cyclegan.SMALLEST}"
        )
    if recipe.method == "n2v":
        pairs = divided(pairs, needed)
    for frame in (*pairs.inputs, *pairs.targets):
        if min(frame.image.shape) < needed:
            rows, columns = frame.image.shape
            raise ValueError(
                f"{pairs.source}: {frame.name} has {rows} × {columns} pixels (after registration);"
                f" accepted: {needed} × {needed} or more, or a smaller `patch`"
            )
    return pairs


def _limits(pairs: Pairs, recipe: Recipe) -> list[str]:
    first = [_SIMULATED] if pairs.simulated else []
    return [*first, *([_UNPAIRED] if recipe.method == "cyclegan" else []), *_LIMITS]


def _plain(recipe: Recipe) -> dict[str, Any]:
    plain = asdict(recipe)
    plain["input"], plain["target"] = recipe.channels
    if recipe.distil_from is not None:
        plain["distil_from"] = Path(recipe.distil_from).name
    return plain


def _offset(
    progress: Progress,
    member: int,
    recipe: Recipe,
    epoch: int,
    figures: dict[str, float],
) -> None:
    """Tell an epoch of one member as one of all."""
    progress(member * recipe.epochs + epoch, recipe.members * recipe.epochs, figures)


class _Images:
    """Normalized stacks of the training and the validation part."""

    def __init__(
        self,
        pairs: Pairs,
        parts: PairSplit,
        normalization: Normalization,
        teacher: Loaded | None,
        device: str,
    ) -> None:
        def stacks(frames: Sequence[Frame], chosen: list[int]) -> list[Stack]:
            return [normalization.normalize(frames[i].image)[None] for i in chosen]

        self.inputs = [stacks(pairs.inputs, part) for part in parts.inputs[:2]]
        self.targets = (
            self.inputs
            if pairs.targets is pairs.inputs
            else [stacks(pairs.targets, part) for part in parts.targets[:2]]
        )
        self.measured = self.targets[1]
        """Of the validation part, without a teacher."""
        if teacher is not None:
            lessons = partial(_lesson, teacher, device)
            self.targets = [[lessons(stack[0]) for stack in part] for part in self.inputs]

    def together(self, part: int) -> list[Stack]:
        """Stacks of input and target of the training (0) or validation part (1)."""
        return [
            np.concatenate(
                [source[:, : target.shape[1], : target.shape[2]], target], dtype=np.float32
            )
            for source, target in zip(self.inputs[part], self.targets[part], strict=True)
        ]


def _measured(case: Case, target: Stack) -> Case:
    """A validation frame against its measured target: no teacher can say how wrong a student is."""
    rows, columns = case.source.shape[-2:]
    image = torch.from_numpy(target[None, :1, :rows, :columns].copy()).to(case.source)
    return case._replace(target=image)


def _lesson(teacher: Loaded, device: str, image: Stack) -> Stack:
    """Location and scale that a teacher gives for a normalized image (2 × rows × columns).

    The image is cropped to what the teacher takes.
    """
    networks = [network.to(device) for network in teacher.members]
    source = whole(image, networks[0].multiple, device)
    location, square, variance = calibration.members(networks, source)
    scale = calibration.spread(square, variance, teacher.calibration) / 2**0.5
    return torch.cat([location, scale.clamp_min(1e-3)], 1)[0].cpu().numpy()


def _objective(recipe: Recipe, images: _Images, device: str, member: int) -> Objective:
    network: RestorationNet = fresh(recipe, member, device, lambda: build(recipe.architecture))
    if recipe.method == "n2v":
        return BlindSpots(recipe, network, device, *images.inputs)
    if recipe.method == "cyclegan":
        return CycleGAN(
            recipe,
            network,
            device,
            images.inputs[0],
            images.targets[0],
            images.targets[1],
            member,
        )
    return Supervised(recipe, network, device, images.together(0), images.together(1))


def _fit(
    objective: Objective,
    recipe: Recipe,
    member: int,
    file: Path,
    identity: dict[str, Any],
    progress: Callable[[int, dict[str, float]], None] | None,
) -> dict[str, Any]:
    """Train one member in place; leaves its best weights in its network."""
    state = State(objective.network, objective.parts)
    checkpoint.read(file, state, {**identity, "member": member})
    # Without pairs no figure says which epoch was the best; the last has learned longest.
    comparable = recipe.method != "cyclegan"
    while state.epoch < recipe.epochs:
        epoch = state.epoch + 1
        # Everything random in an epoch comes from its number: a resumed training is the same.
        rng = np.random.default_rng((recipe.seed, member, epoch))
        losses = []
        for step in range(recipe.steps_per_epoch):
            done = (state.epoch + step / recipe.steps_per_epoch) / recipe.epochs
            losses.append(objective.step(rng, rate_at(recipe, state.validation, done)))
        error = objective.validate()
        if not np.isfinite([*losses, error]).all():
            raise ValueError(
                f"learning_rate: {recipe.learning_rate:g} let the training diverge in epoch"
                f" {epoch}; accepted: a smaller one"
            )
        keep = comparable or epoch == recipe.epochs
        state.step(float(np.mean(losses)), error, keep=keep)
        checkpoint.write(file, state, {**identity, "member": member})
        if progress is not None:
            told = {"train": state.training[-1], "validation": error, "best": state.best}
            progress(epoch, told)
    objective.network.load_state_dict(state.best_weights)
    objective.network.eval()
    return {
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "train_loss": [round(value, 6) for value in state.training],
        "validation_loss": [round(value, 6) for value in state.validation],
    }


def _example(networks: Sequence[RestorationNet], case: Case, factor: float) -> Example:
    location, square, variance = calibration.members(networks, case.source)
    images = {
        "input": case.source,
        "filtered": location,
        "target": case.target,
        "sd": calibration.spread(square, variance, factor),
    }
    return {name: image[0, 0].float().cpu().numpy() for name, image in images.items()}
