"""A hundred steps of every recipe, and a whole training where one is asked for."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile

from models.gpu_check.checks import BoundedFigure, Section, TimeLeft
from models.gpu_check.frames import frame, means
from models.interpolation.movies import movie
from models.interpolation.recipe import Recipe as InterpolationRecipe
from models.interpolation.training import train as train_interpolation
from models.interpolation.weights import read_interpolator
from models.interpolation.weights import shipped as interpolators
from models.quality.recipe import Recipe as QualityRecipe
from models.quality.scorer import SHIPPED, read_weights
from models.quality.training import train as train_quality
from models.refusals import refused
from models.restoration.pairs import from_arrays
from models.restoration.recipe import Recipe as RestorationRecipe
from models.restoration.training import train as train_restoration
from models.restoration.weights import read_restoration

KINDS = ("restoration", "interpolation", "quality")
_STEPS, _EPOCHS = 100, 4
"""Steps that are timed for each recipe, in so many epochs; chosen."""
_TRIED = 3
"""Epochs of the training that says how long one takes; chosen."""
_COMMAND = "python -m models.gpu_check --train"
_METHODS = ("l2l", "n2n", "n2v", "care", "cyclegan")
_TINY_FILTER = {"depth": 2, "kernel": 3, "first": 4}
_TINY_RATING = {"network": "stedfast", "channels": [2, 2, 4, 4, 4, 4], "hidden": 8, "heads": 2}
_TINY_FLOW = {"network": "flow", "widths": [4, 6], "hidden": 8, "synthesis": [4, 6]}
"""Networks as small as their recipes allow; chosen: what is learned does not count here."""


@dataclass(frozen=True)
class _Case:
    """A recipe, its trial, and the size of its steps.

    Parameters
    ----------
    train
        Called with recipe, data, output and a callback after each epoch.
    recipe, data
        Of the training.
    steps
        In an epoch.
    pixels
        In a step.
    """

    train: Callable[..., dict[str, Any]]
    recipe: Any
    data: Any
    steps: int
    pixels: int


class _Clock:
    """Time between the ends of epochs, without the time before the first and after the last."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.losses: list[float] = []

    def __call__(self, epoch: int, epochs: int, told: dict[str, float]) -> None:
        self.ends.append(time.perf_counter())
        self.losses += [value for name, value in told.items() if name != "best"]

    @property
    def seconds(self) -> float:
        """Of an epoch, validation included."""
        return (self.ends[-1] - self.ends[0]) / max(1, len(self.ends) - 1)


def learning(place: str, watch: TimeLeft, *, quick: bool) -> Section:
    """Steps and megapixels a second of each recipe, with generated frames, validation included."""
    section = Section("training")
    with TemporaryDirectory() as folder:
        for name, case in _cases(Path(folder), quick=quick).items():
            if not watch.allows(section, name):
                continue
            clock = _Clock()
            case.train(case.data, Path(folder) / "out", case.recipe, progress=clock, device=place)
            section.figures[name] = {
                "steps": case.steps * len(clock.ends),
                "steps_per_s": case.steps / clock.seconds,
                "mpixel_per_s": 1e-6 * case.steps * case.pixels / clock.seconds,
            }
            finite = bool(clock.losses) and bool(np.isfinite(clock.losses).all())
            section.checks.append(
                BoundedFigure(f"{name}: losses are numbers", float(finite), "==", 1)
            )
    return section


def _cases(folder: Path, *, quick: bool) -> dict[str, _Case]:
    """Every method and network, each with what its shipped recipe says, for a hundred steps."""
    steps = 2 if quick else _STEPS // _EPOCHS
    short: dict[str, Any] = {"epochs": 2 if quick else _EPOCHS, "validation_frames": 4}
    if quick:
        short |= {"patch": 32, "batch": 2}
    side = 64 if quick else 256
    filters = recipe_of("restoration", "actin") if not quick else RestorationRecipe(loss="mae")
    shown = [frame(side, side, seed) for seed in range(12 if quick else 32)]
    clean = [means(side, side, seed) for seed in range(len(shown))]
    found: dict[str, _Case] = {}
    for method in _METHODS[-1:] if quick else _METHODS:
        recipe = replace(
            filters,
            **short,
            steps_per_epoch=steps,
            method=method,
            loss={"n2v": "mse", "care": "laplace"}.get(method, filters.loss),
            input=None,
            target=None,
            precision="bfloat16",
            **({"architecture": _TINY_FILTER, "discriminator": 4} if quick else {}),
        )
        pairs = from_arrays(shown, shown if method == "n2v" else clean)
        size = recipe.batch * recipe.patch**2
        found[f"restoration {method}"] = _Case(train_restoration, recipe, pairs, steps, size)
    movies = []
    for seed in range(4 if quick else 8):
        counted = [frame(side, side, seed, 1.5 * i) for i in range(9)]
        true = [means(side, side, seed, 1.5 * i) for i in range(9)]
        movies.append(movie(np.stack(counted), np.stack(true).astype(np.float32), f"movie {seed}"))
    for name in interpolators()[: 1 if quick else None]:
        recipe = replace(recipe_of("interpolation", name), steps_per_epoch=steps, **short)
        if quick:
            recipe = replace(recipe, architecture=_TINY_FLOW)
        size = recipe.batch * recipe.patch**2
        found[f"interpolation {name}"] = _Case(train_interpolation, recipe, movies, steps, size)
    count = 12 if quick else 640
    rated = _rated(folder / "rated", count)
    rates = replace(recipe_of("quality", SHIPPED.stem), epochs=short["epochs"], patience=None)
    if quick:
        rates = replace(rates, batch=4, architecture=_TINY_RATING)
    # Of the frames, about 0.7 are learned from.
    size = rates.batch * 224**2
    found["quality"] = _Case(
        train_quality, rates, rated, max(1, int(0.7 * count / rates.batch)), size
    )
    return found


def _rated(folder: Path, count: int) -> Path:
    """A folder of frames with scores that their brightness tells."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    with (folder / "frames.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "score"])
        for i in range(count):
            score = float(rng.uniform(0.05, 0.95))
            pixels = rng.poisson(score * means(224, 224, i % 16)).astype(np.uint16)
            tifffile.imwrite(folder / f"{i:05d}.tif", pixels)
            table.writerow([f"{i:05d}.tif", f"{score:.4f}"])
    return folder


def recipe_of(kind: str, name: str) -> Any:
    """The recipe that shipped weights were trained by, from their card.

    Raises
    ------
    ValueError
        There is no such kind.
    """
    if kind == "restoration":
        return _made(RestorationRecipe, read_restoration(name).card["recipe"])
    if kind == "interpolation":
        return _made(InterpolationRecipe, read_interpolator(name).card["recipe"])
    if kind == "quality":
        _, card = read_weights(SHIPPED.with_name(f"{name}.safetensors"))
        return _made(QualityRecipe, card["recipe"])
    raise ValueError(f"kind: {refused(kind, KINDS)}")


def _made(recipe: type[Any], values: dict[str, Any]) -> Any:
    """A recipe from a card, which may be of a version that knew other keys."""
    known = {one.name for one in fields(recipe)}
    return recipe(**{key: value for key, value in values.items() if key in known})


def train_for(
    kind: str, name: str, data: Path, out: Path, minutes: float, place: str
) -> dict[str, Any]:
    """Train a recipe for about so many minutes, and write weights and card.

    How many epochs that is, a short training of the same recipe says first.

    Parameters
    ----------
    kind, name
        See `recipe_of`.
    data, out
        As the training of that kind takes them.
    minutes
        All in all, of the training itself.
    place
        Where.
    """
    recipe = recipe_of(kind, name)
    trains: dict[str, Callable[..., dict[str, Any]]] = {
        "restoration": train_restoration,
        "interpolation": train_interpolation,
        "quality": train_quality,
    }
    train = trains[kind]
    never: dict[str, Any] = {"patience": None} if kind == "quality" else {}
    with TemporaryDirectory() as folder:
        clock = _Clock()
        short = replace(recipe, epochs=_TRIED, **never)
        train(data, Path(folder) / "weights", short, progress=clock, device=place)
    epochs = max(_TRIED, int(60 * minutes / clock.seconds))
    return train(data, out, replace(recipe, epochs=epochs), command=_COMMAND, device=place)
