"""`stedfast train interpolation`: a config and movies in, weights with card and pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from rich.console import Console

from agent.config.reading import read_checked
from agent.offline.training.common import (
    Training,
    check_start,
    config_of,
    device_named,
    places,
    say_where,
    trained,
    user_errors,
)
from agent.offline.training.reading import read_movie
from models.interpolation.recipe import Recipe

_DEFAULT = Recipe()


class InterpolationTraining(Training):
    """`stedfast train interpolation`: see `models.interpolation.recipe.Recipe`."""

    data: Path | None = Field(
        None, description="folder with movies, or one movie; from where you are"
    )
    architecture: dict[str, Any] | None = Field(
        None, description="{network: flow, dain or zs} and its sizes; of new weights only"
    )
    start_from: str | None = Field(
        None,
        description="weights to continue from: name of bundled ones, or a .safetensors file",
    )
    loss: Literal["auto", "charbonnier", "mse", "mean", "structure"] = _DEFAULT.loss
    epochs: int = Field(_DEFAULT.epochs, ge=1, le=10_000)
    steps_per_epoch: int = Field(_DEFAULT.steps_per_epoch, ge=1, le=100_000)
    batch: int = Field(_DEFAULT.batch, ge=1, le=1024)
    patch: int = Field(_DEFAULT.patch, ge=16, le=4096)
    learning_rate: float = Field(_DEFAULT.learning_rate, gt=0, le=1)
    weight_decay: float = Field(_DEFAULT.weight_decay, ge=0, le=1)
    schedule: Literal["cosine", "constant"] = _DEFAULT.schedule
    warm_up: float = Field(_DEFAULT.warm_up, ge=0, lt=1)
    gaps: list[int] = Field(
        default_factory=lambda: list(_DEFAULT.gaps),
        description="frames from the one before to the one after",
    )
    stages: float = Field(_DEFAULT.stages, ge=0)
    anywhere: float = Field(_DEFAULT.anywhere, ge=0, le=1)
    jitter: float = Field(_DEFAULT.jitter, ge=0, lt=1)
    wobble: float = Field(_DEFAULT.wobble, ge=0, lt=1)
    low: float = Field(_DEFAULT.low, ge=0, le=100)
    high: float = Field(_DEFAULT.high, ge=0, le=100)
    screen: bool = Field(_DEFAULT.screen, description="leave out copied and blended frames")
    validation_frames: int = Field(_DEFAULT.validation_frames, ge=1)
    precision: Literal["auto", "single", "bfloat16"] = Field(
        _DEFAULT.precision,
        description="auto: bfloat16 where the device has units for it",
    )
    seed: int = Field(_DEFAULT.seed, ge=0)


def recipe_of(name: str) -> Recipe:
    """The recipe in `configs/interpolation/<name>.yaml`."""
    return _recipe(read_checked(config_of("interpolation", name), InterpolationTraining))


def _recipe(asked: InterpolationTraining) -> Recipe:
    named = asked.model_dump(exclude={"data", "out", "device", "architecture", "start_from"})
    return Recipe(
        **named,
        architecture=asked.architecture or {},
        start_from=Path(asked.start_from) if asked.start_from else None,
    )


def train_interpolation(
    config: Path, overrides: Sequence[str], console: Console, *, overwrite: bool = False
) -> None:
    """Train an interpolator and print its figures; `overwrite` weights that are there.

    Raises
    ------
    UserError
        The config, the movies or the weights to start from cannot be used.
    """
    asked = read_checked(config, InterpolationTraining, overrides)
    data, out = places(config, asked, overwrite=overwrite)
    check_start(config, asked.architecture, asked.start_from)
    with user_errors(config):
        recipe = _recipe(asked)
    from models.interpolation.movies import read_movies
    from models.interpolation.training import train

    device = device_named(asked.device)
    with user_errors():
        read = partial(read_movies, data, screened=recipe.screen, read=read_movie)
        card, examples = trained(train, read, out, recipe, device, console)
    from agent.offline.training.interpolation_figures import draw_interpolation

    picture = draw_interpolation(out, card, examples)
    learned_from, found = card["data"], card["metrics"]["validation"]
    if left_out := learned_from["left_out"]:
        print(f"{left_out} of {learned_from['frames']} frames are copies or blends; left out")
    if recipe.start_from is not None and not card["training"]["best_epoch"]:
        print(f"no epoch was better than {recipe.start_from} on the validation part: kept as it is")
    print(
        f"validation: {found['frames']} frames, PSNR {found['psnr']:.2f} dB"
        f" (linear blend {found['linear_psnr']:.2f} dB),"
        f" 90% intervals cover {found['coverage']['0.9']:.0%}"
    )
    say_where(out, picture)
