"""Common parts of all trainings: checks of their config, and their messages."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console

from agent.config.reading import UserError
from agent.offline.training.epochs import shown_epochs
from agent.record.folder import commit_of_this_code
from devices.config import Model

Examples = list[dict[str, NDArray[np.float32]]]
"""Images of a few validation frames, by name."""


class Training(Model):
    """What the configs of all trainings have."""

    data: Path | None = Field(None, description="what to learn from; from where you are")
    out: Path | None = Field(None, description="weights to write, without ending")
    device: str = Field("auto", description="what torch computes on; auto: CUDA if there is one")


class Provenance(TypedDict):
    """What a model card says about how its weights were made."""

    command: str
    commit: str


def config_of(kind: str, name: str) -> Path:
    """The file `configs/<kind>/<name>.yaml`."""
    return Path(__file__).parents[3] / "configs" / kind / f"{name}.yaml"


def places(config: Path, asked: Training, *, overwrite: bool) -> tuple[Path, Path]:
    """Where data are and where weights go.

    Raises
    ------
    UserError
        The one or the other is missing, or there are no such data; without `overwrite`, there are
        weights of a finished training.
    """
    given = []
    for key, value in (("data", asked.data), ("out", asked.out)):
        if value is None:
            raise UserError(f"{config}: `{key}`: missing; give it here or as --{key}")
        if key == "data" and not value.exists():
            about = (type(asked).model_fields[key].description or "").rpartition(";")[0]
            raise UserError(f"{value}: no such folder or file; accepted: {about}")
        given.append(value)
    data, out = given
    there = out.with_name(out.name + ".safetensors")
    if there.exists() and not overwrite:
        raise UserError(f"{there}: is there already; --overwrite replaces it")
    return data, out


def check_start(config: Path, architecture: object, start_from: object) -> None:
    """`UserError` unless there is either a network to build or weights to begin with."""
    if (architecture is None) == (start_from is None):
        raise UserError(f"{config}: one of `architecture` and `start_from` is needed, not both")


def device_named(name: str) -> str:
    """What torch computes on; `UserError` if it is not there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"`device`: {name!r} is not there ({reason}); accepted: auto, cpu, cuda, …"
        ) from None
    return name


def made_by() -> Provenance:
    """The command that is being carried out, and the commit of this code."""
    return {"command": shlex.join(["stedfast", *sys.argv[1:]]), "commit": commit_of_this_code()}


@contextmanager
def user_errors(config: Path | None = None) -> Iterator[None]:
    """Errors of data, weights and recipes as those of the user, in the file that is named."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise UserError(str(error) if config is None else f"{config}: {error}") from None


def trained(
    train: Callable[..., dict[str, Any]],
    read: Callable[[], Any],
    out: Path,
    recipe: Any,
    device: str,
    console: Console,
) -> tuple[dict[str, Any], Examples]:
    """Model card and examples of a training, with a bar that shows how far it is.

    Parameters
    ----------
    train
        `models.restoration.training.train`, or that of the interpolators.
    read
        Reads its data.
    out, recipe, device
        For `train`.
    console
        Shows the bar.
    """
    examples: Examples = []
    with shown_epochs(console) as show:
        card = train(
            read(),
            out,
            recipe,
            **made_by(),
            progress=show,
            examples=examples.extend,
            device=device,
        )
    return card, examples


def say_where(out: Path, picture: Path) -> None:
    """Print where the weights and the picture of their training are."""
    print(f"{out.with_name(out.name + '.safetensors')}, {picture}")
