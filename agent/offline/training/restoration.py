"""`stedfast train restoration`: a config and frames in, weights with card and pictures out."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from rich.console import Console

from agent.config.reading import UserError, read_checked
from agent.offline.training.common import (
    Training,
    config_of,
    device_named,
    places,
    say_where,
    trained,
    user_errors,
)
from agent.offline.training.reading import read_frames
from models.restoration.recipe import Recipe

_DEFAULT = Recipe()


class RestorationTraining(Training):
    """`stedfast train restoration`: see `models.restoration.recipe.Recipe`."""

    data: Path | None = Field(
        None, description="folder with a folder of frames for each channel; from where you are"
    )
    method: Literal["l2l", "n2n", "n2v", "care", "cyclegan"] = _DEFAULT.method
    loss: Literal["mae", "mse", "ms_ssim3", "ms_ssim5", "mix", "laplace"] = _DEFAULT.loss
    architecture: dict[str, Any] = Field(
        default_factory=lambda: dict(_DEFAULT.architecture),
        description="{depth, kernel, first, residual} of the U-Net",
    )
    input: str | None = Field(None, description="folder of the inputs; by default the method's")
    target: str | None = Field(None, description="folder of the targets; by default the method's")
    members: int = Field(_DEFAULT.members, ge=1, le=16)
    epochs: int = Field(_DEFAULT.epochs, ge=1, le=10_000)
    steps_per_epoch: int = Field(_DEFAULT.steps_per_epoch, ge=1, le=100_000)
    batch: int = Field(_DEFAULT.batch, ge=1, le=1024)
    patch: int = Field(_DEFAULT.patch, ge=16, le=4096)
    learning_rate: float = Field(_DEFAULT.learning_rate, gt=0, le=1)
    schedule: Literal["plateau", "cosine", "constant"] = _DEFAULT.schedule
    patience: int = Field(_DEFAULT.patience, ge=1)
    anywhere: float = Field(_DEFAULT.anywhere, ge=0, le=1)
    low: float = Field(_DEFAULT.low, ge=0, le=100)
    high: float = Field(_DEFAULT.high, ge=0, le=100)
    # `register` itself is a name of every class that can be subclassed virtually.
    register_: bool = Field(
        _DEFAULT.register, alias="register", description="find and correct shifts within pairs"
    )
    distil_from: Path | None = Field(
        None, description="weights of a teacher, whose outputs for the inputs are learned"
    )
    validation_frames: int = Field(_DEFAULT.validation_frames, ge=1)
    pixel_nm: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="side of the frames' pixels, for the card"
    )
    precision: Literal["auto", "single", "bfloat16"] = Field(
        _DEFAULT.precision,
        description="auto: bfloat16 where the device has units for it",
    )
    discriminator: int = Field(_DEFAULT.discriminator, ge=1, le=512)
    cycle: float = Field(_DEFAULT.cycle, ge=0)
    identity: float = Field(_DEFAULT.identity, ge=0)
    seed: int = Field(_DEFAULT.seed, ge=0)


def recipe_of(name: str) -> Recipe:
    """The recipe in `configs/restoration/<name>.yaml`."""
    return _recipe(read_checked(config_of("restoration", name), RestorationTraining))


def _recipe(asked: RestorationTraining) -> Recipe:
    return Recipe(**asked.model_dump(exclude={"data", "out", "device"}, by_alias=True))


def train_restoration(
    config: Path, overrides: Sequence[str], console: Console, *, overwrite: bool = False
) -> None:
    """Train a restoration network and print its figures; `overwrite` weights that are there.

    Raises
    ------
    UserError
        The config, the data or the teacher cannot be used.
    """
    asked = read_checked(config, RestorationTraining, overrides)
    data, out = places(config, asked, overwrite=overwrite)
    if not data.is_dir():
        raise UserError(f"{data}: no such folder; accepted: one with a folder for each channel")
    with user_errors(config):
        recipe = _recipe(asked)
    from models.restoration.reading import read_pairs
    from models.restoration.training import train

    device = device_named(asked.device)
    with user_errors():
        paired = recipe.method != "cyclegan"
        read = partial(read_pairs, data, *recipe.channels, paired=paired, read=read_frames)
        card, examples = trained(train, read, out, recipe, device, console)
    from agent.offline.training.restoration_figures import draw_restoration

    picture = draw_restoration(out, card, examples)
    found = card["metrics"]["validation"]
    moved = card["data"]["registration"]
    if moved["moved"]:
        print(
            f"{moved['moved']} of {card['data']['pairs']} pairs were shifted, by up to"
            f" {moved['largest_shift_px']:.1f} pixels; corrected"
        )
    likeness = (
        f", SSIM {found['ssim']:.3f} (input {found['input_ssim']:.3f})" if "ssim" in found else ""
    )
    print(
        f"validation: {found['frames']} frames, MAE {found['mae']:.4f}"
        f" (input {found['input_mae']:.4f}){likeness},"
        f" 90% intervals cover {found['coverage_90']:.0%}"
    )
    say_where(out, picture)
