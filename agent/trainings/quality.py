"""`stedfast train`: a config and rated frames in, weights with card, curve and scatter plot out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from rich.console import Console

from agent.reading import ConfigError, read_checked
from agent.store.folder import commit_of_this_code
from agent.trainings.epochs import shown_epochs
from devices.config import Model
from models.quality.recipe import Recipe

SHIPPED = "shipped"
_DEFAULT = Recipe()


class QualityTraining(Model):
    """`stedfast train quality`: see `models.quality.recipe.Recipe`."""

    data: Path | None = Field(
        None, description="folder with frames.csv, or a CSV: file, score; from where you are"
    )
    out: Path | None = Field(None, description="weights to write, without ending")
    tests: dict[str, Path] = Field(
        default_factory=dict, description="more rated sets to measure on, by name"
    )
    architecture: dict[str, Any] | None = Field(
        None, description="{network: stedfast or robitaille}; of new weights only"
    )
    start_from: str | None = Field(
        None, description=f"weights to go on from: `{SHIPPED}` or a .safetensors file"
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
    device: str = Field("auto", description="what torch computes on; auto: CUDA if there is one")


def recipe_of(name: str) -> Recipe:
    """The recipe in `configs/quality/<name>.yaml`."""
    file = Path(__file__).parents[2] / "configs" / "quality" / f"{name}.yaml"
    return _recipe(read_checked(file, QualityTraining))


def _recipe(asked: QualityTraining) -> Recipe:
    from models.quality.scorer import SHIPPED as SHIPPED_WEIGHTS

    start = asked.start_from and (
        SHIPPED_WEIGHTS if asked.start_from == SHIPPED else Path(asked.start_from)
    )
    named = asked.model_dump(exclude={"data", "out", "tests", "device", "start_from"})
    return Recipe(**named, start_from=start or None)


def device_named(name: str) -> str:
    """What torch computes on; `ConfigError` if it is not there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"`device`: {name!r} is not there ({reason}); accepted: auto, cpu, cuda, …"
        ) from None
    return name


def train_quality(config: Path, overrides: Sequence[str], console: Console) -> None:
    """Train the quality network and print what it reached.

    Raises
    ------
    ConfigError
        The config, the data or the weights to start from cannot be used.
    """
    from models.quality.training import train

    asked = read_checked(config, QualityTraining, overrides)
    for key, value in (("data", asked.data), ("out", asked.out)):
        if value is None:
            raise ConfigError(f"{config}: `{key}`: missing; give it here or as --{key}")
    if (asked.architecture is None) == (asked.start_from is None):
        raise ConfigError(f"{config}: one of `architecture` and `start_from` is needed, not both")
    assert asked.data is not None and asked.out is not None
    recipe, device = _recipe(asked), device_named(asked.device)
    with shown_epochs(console) as show:
        try:
            card = train(
                asked.data,
                asked.out,
                recipe,
                tests=asked.tests,
                command=shlex.join(["stedfast", *sys.argv[1:]]),
                commit=commit_of_this_code(),
                progress=show,
                device=device,
            )
        except (ValueError, OSError) as error:
            raise ConfigError(str(error)) from None
    from agent.trainings.quality_figures import draw_training

    picture = draw_training(asked.out, card)
    for name, figures in card["metrics"].items():
        print(
            f"{name}: {figures['frames']} frames, RMSE {figures['rmse']:.3f},"
            f" Spearman {figures['spearman']:.3f},"
            f" 90% intervals cover {figures['coverage_90']:.0%}"
        )
    print(f"{asked.out.with_name(asked.out.name + '.safetensors')}, {picture}")
