"""Data and networks of the restoration benchmark: made where they are missing, kept otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any

import tifffile
from numpy.typing import NDArray
from rich.progress import Progress

from agent.cli.terminal import err
from agent.offline.simulate.labels import CHANNELS, parse_set, simulate_labels
from agent.offline.training.restoration import recipe_of
from models.restoration import Recipe

TRAINED = ("actin", "tubulin")
FOREIGN = "psd95"
_TRAINING_SEED, _TEST_SEED = 1, 11
_TRAINING_FIELDS, _TEST_FIELDS = 240, 24

_SHIPPED = recipe_of("default")
_COMPARED = replace(_SHIPPED, epochs=25)
METHODS: Mapping[str, Recipe] = MappingProxyType(
    {
        "l2l, MS-SSIM": replace(_COMPARED, loss="ms_ssim3"),
        "l2l, MAE": replace(_COMPARED, loss="mae"),
        "n2n": replace(_COMPARED, method="n2n", loss="mae"),
        "care": replace(_COMPARED, method="care", loss="laplace"),
        "n2v": replace(
            _COMPARED,
            method="n2v",
            input="label_a_low",
            loss="mse",
            # The pixel itself is blind: there is nothing to add to (Krull et al., CVPR 2019).
            architecture={**_COMPARED.architecture, "residual": False},
        ),
        "cyclegan": replace(
            recipe_of("cyclegan"),
            architecture=_SHIPPED.architecture,
            epochs=_COMPARED.epochs,
            steps_per_epoch=_COMPARED.steps_per_epoch,
        ),
    }
)
"""One network and one number of steps for all; data and loss differ.

The bundled networks were trained on the same fields, three times as long.
"""
DENOISING = ("care", "n2v")
"""These get frames of a tenth of the light, and are for one structure only."""


@dataclass(frozen=True, slots=True)
class StudyField:
    """One test field: a frame of each channel by its name."""

    name: str
    channels: Mapping[str, NDArray[Any]]

    def __getitem__(self, channel: str) -> NDArray[Any]:
        return self.channels[channel]


def prepare(folder: Path, *, quick: bool) -> None:
    """Simulate missing data, and train networks that are not there yet."""
    _simulate(folder, quick)
    jobs = [
        (folder, structure, name, quick)
        for name in METHODS
        for structure in TRAINED
        if not (name in DENOISING and structure != TRAINED[0])
        and not weights(folder, structure, name).is_file()
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with (
        Progress(console=err) as bar,
        ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool,
    ):
        task = bar.add_task("training", total=len(jobs))
        for future in as_completed([pool.submit(_train, *job) for job in jobs]):
            future.result()
            bar.advance(task)


def weights(folder: Path, structure: str, name: str) -> Path:
    """Where the network of one method and structure is kept."""
    plain = name.replace(", ", "-").lower()
    return folder / "weights" / f"{structure}-{plain}.safetensors"


def fields(folder: Path, structure: str) -> Iterator[StudyField]:
    """The test fields of a structure."""
    place = folder / structure / "test"
    for file in sorted((place / CHANNELS[0]).glob("*.tif")):
        yield StudyField(
            file.stem,
            {channel: tifffile.imread(place / channel / file.name) for channel in CHANNELS},
        )


def _simulate(folder: Path, quick: bool) -> None:
    jobs = [(s, "training", 24 if quick else _TRAINING_FIELDS, _TRAINING_SEED) for s in TRAINED]
    jobs += [(s, "test", 4 if quick else _TEST_FIELDS, _TEST_SEED) for s in (*TRAINED, FOREIGN)]
    with Progress(console=err) as bar:
        task = bar.add_task("simulating", total=sum(count for _, _, count, _ in jobs))
        done = 0
        for structure, name, count, seed in jobs:
            place = folder / structure / name
            for at in simulate_labels(place, *parse_set(structure, name), count, seed):
                bar.update(task, completed=done + at)
            done += count


def _train(folder: Path, structure: str, name: str, quick: bool) -> None:
    import torch

    from models.restoration import train

    torch.set_num_threads(1)
    recipe = METHODS[name]
    if quick:
        recipe = replace(recipe, epochs=2, steps_per_epoch=5)
    out = weights(folder, structure, name).with_suffix("")
    train(folder / structure / "training", out, recipe, command="stedfast bench restoration")
