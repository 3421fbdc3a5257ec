"""The state of a training after an epoch, on disk: a stopped training goes on where it was."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(slots=True)
class State:
    """What changes while a network is trained.

    Parameters
    ----------
    network, optimizer, schedule
        The parts of torch whose state it is.
    training, validation
        Root-mean-square errors after each epoch.
    best, best_epoch, best_weights
        The smallest validation error, and the weights it was reached with.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
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
_PARTS = ("network", "optimizer", "schedule")


def write(file: Path, state: State, identity: dict[str, Any]) -> None:
    """Write the state beside the weights to be; a crash meanwhile leaves the last one."""
    content = {name: getattr(state, name) for name in _PLAIN}
    content |= {name: getattr(state, name).state_dict() for name in _PARTS}
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(file.name + ".new")
    torch.save({"identity": identity, **content}, fresh)
    fresh.replace(file)


def read(file: Path, state: State, identity: dict[str, Any]) -> None:
    """Take up the state in `file`, if there is one.

    Raises
    ------
    ValueError
        It is of another training: of other data, or with another recipe.
    """
    if not file.is_file():
        return
    try:
        content = torch.load(file, weights_only=True)
    except Exception:  # whatever a damaged zip or pickle leads to
        raise ValueError(f"{file}: not a checkpoint; delete it to start again") from None
    if content.pop("identity") != identity:
        raise ValueError(
            f"{file}: of a training with another recipe or other data; finish that one, or"
            " delete the file to start again"
        )
    for name in _PARTS:
        getattr(state, name).load_state_dict(content[name])
    for name in _PLAIN:
        setattr(state, name, content[name])
