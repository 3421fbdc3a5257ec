"""The state of a training after an epoch, on disk: a stopped training continues from it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Stateful(Protocol):
    """An optimizer, a schedule, another network: anything that continues from a state."""

    def state_dict(self) -> dict[str, Any]:
        """Everything it needs to continue."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Continue from there."""
        ...


@dataclass(slots=True)
class State:
    """What changes while a network is trained.

    Parameters
    ----------
    network
        The one whose best weights are kept.
    parts
        What else changes with it, by name: optimizers, schedules.
    training, validation
        Errors after each epoch.
    best, best_epoch, best_weights
        The smallest validation error, and the weights it was reached with.

    Examples
    --------
    >>> state = State(nn.Linear(1, 1), {})
    >>> state.step(training=0.5, validation=0.4, keep=True)
    >>> state.epoch, state.best
    (1, 0.4)
    """

    network: nn.Module
    parts: dict[str, Stateful]
    training: list[float] = field(default_factory=list)
    validation: list[float] = field(default_factory=list)
    best: float = float("inf")
    best_epoch: int = 0
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return len(self.training)

    def step(self, training: float, validation: float, *, keep: bool) -> None:
        """Note an epoch's errors, and its weights if they may be kept and are the best."""
        self.training.append(training)
        self.validation.append(validation)
        if keep and validation < self.best:
            self.best, self.best_epoch = validation, self.epoch
            self.best_weights = copy.deepcopy(self.network.state_dict())

    def finished(self, patience: int | None) -> bool:
        """Whether the best weights are more than `patience` epochs old."""
        return (
            patience is not None
            and self.best_epoch > 0
            and self.epoch - self.best_epoch >= patience
        )


_PLAIN = ("training", "validation", "best", "best_epoch", "best_weights")


def write(file: Path, state: State, identity: dict[str, Any]) -> None:
    """Write the state beside the weights to be; a crash meanwhile leaves the last one.

    Parameters
    ----------
    file
        Where to.
    state
        Of the training.
    identity
        What tells it from others: its recipe and its data. `read` refuses another one.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> state = State(nn.Linear(1, 1), {})
    >>> state.step(0.5, 0.4, keep=True)
    >>> again = State(nn.Linear(1, 1), {})
    >>> with TemporaryDirectory() as folder:
    ...     write(Path(folder) / "training.checkpoint", state, {"seed": 1})
    ...     read(Path(folder) / "training.checkpoint", again, {"seed": 1})
    >>> again.epoch, again.best
    (1, 0.4)
    """
    content = {name: getattr(state, name) for name in _PLAIN}
    content["network"] = state.network.state_dict()
    content["parts"] = {name: part.state_dict() for name, part in state.parts.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    torch.save({"identity": identity, **content}, fresh)
    fresh.replace(file)


def read(file: Path, state: State, identity: dict[str, Any]) -> None:
    """Take up the state in `file`, if there is one.

    Raises
    ------
    ValueError
        It is damaged, or of another training: of other data, or with another recipe.
    """
    if not file.is_file():
        return
    try:
        content = torch.load(file, weights_only=True)
        same = content.pop("identity") == identity
    except Exception:  # anything that a damaged zip or pickle leads to
        raise ValueError(f"{file}: not a checkpoint; delete it to start again") from None
    if not same:
        raise ValueError(
            f"{file}: of a training with another recipe or other data; finish that one, or"
            " delete the file to start again"
        )
    state.network.load_state_dict(content["network"])
    for name, part in state.parts.items():
        part.load_state_dict(content["parts"][name])
    for name in _PLAIN:
        setattr(state, name, content[name])
