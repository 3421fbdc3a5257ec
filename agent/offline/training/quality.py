"""`stedfast train`: a config and rated frames in, weights with card, curve and scatter plot out."""

from __future__ import annotations

from collections.abc import Sequence
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
    made_by,
    places,
    say_where,
    user_errors,
)
from agent.offline.training.epochs import shown_epochs
from agent.offline.training.reading import read_rated
from models.quality.recipe import Recipe

SHIPPED = "shipped"
_DEFAULT = Recipe()


class QualityTraining(Training):
    """`stedfast train quality`: see `models.quality.recipe.Recipe`."""

    data: Path | None = Field(
        None, description="folder with frames.csv, or a CSV: file, score; from where you are"
    )
    tests: dict[str, Path] = Field(
        default_factory=dict, description="more rated sets to measure on, by name"
    )
    architecture: dict[str, Any] | None = Field(
        None, description="{network: stedfast or robitaille}; of new weights only"
    )
    start_from: str | None = Field(
        None, description=f"weights to continue from: `{SHIPPED}` or a .safetensors file"
    )
    heads_only: bool = _DEFAULT.heads_only
    column: str = _DEFAULT.column
    seed: int = Field(_DEFAULT.seed, ge=0)
    epochs: int = Field(_DEFAULT.epochs, ge=1, le=10_000)
    patience: int | None = Field(_DEFAULT.patience, ge=1)
    batch: int = Field(_DEFAULT.batch, ge=2, le=4096)
    optimizer: Literal["adam", "adamw"] = _DEFAULT.optimizer
    learning_rate: float = Field(_DEFAULT.learning_rate, gt=0, le=1)
    weight_decay: float = Field(_DEFAULT.weight_decay, ge=0, le=1)
    augmentation: Literal["turned", "doubled"] = _DEFAULT.augmentation
    blurred: float = Field(_DEFAULT.blurred, ge=0, le=0.5)
    empty: float = Field(_DEFAULT.empty, ge=0, le=0.5)
    processed: float = Field(_DEFAULT.processed, ge=0, le=0.5)
    variants: int | None = Field(_DEFAULT.variants, ge=1, le=1000)


def recipe_of(name: str) -> Recipe:
    """The recipe in `configs/quality/<name>.yaml`."""
    return _recipe(read_checked(config_of("quality", name), QualityTraining))


def _recipe(asked: QualityTraining) -> Recipe:
    from models.quality.scorer import SHIPPED as SHIPPED_WEIGHTS

    start = asked.start_from and (
        SHIPPED_WEIGHTS if asked.start_from == SHIPPED else Path(asked.start_from)
    )
    named = asked.model_dump(exclude={"data", "out", "tests", "device", "start_from"})
    return Recipe(**named, start_from=start or None)


def train_quality(
    config: Path, overrides: Sequence[str], console: Console, *, overwrite: bool = False
) -> None:
    """Train the quality network and print its figures; `overwrite` weights that are there.

    Raises
    ------
    UserError
        The config, the data or the weights to start from cannot be used.
    """
    from models.quality.training import train

    asked = read_checked(config, QualityTraining, overrides)
    data, out = places(config, asked, overwrite=overwrite)
    check_start(config, asked.architecture, asked.start_from)
    recipe, device = _recipe(asked), device_named(asked.device)
    with shown_epochs(console) as show, user_errors():
        card = train(
            data,
            out,
            recipe,
            tests=asked.tests,
            **made_by(),
            progress=show,
            device=device,
            read=read_rated,
        )
    from agent.offline.training.quality_figures import draw_training

    picture = draw_training(out, card)
    for name, figures in card["metrics"].items():
        print(
            f"{name}: {figures['frames']} frames, RMSE {figures['rmse']:.3f},"
            f" Spearman {figures['spearman']:.3f},"
            f" 90% intervals cover {figures['coverage_90']:.0%}"
        )
    say_where(out, picture)
