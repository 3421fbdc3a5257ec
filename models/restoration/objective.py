"""What one step of training does, and how good a network is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.checkpoint import Stateful
from models.layout import placed
from models.restoration.losses import LOSSES, laplace
from models.restoration.network import RestorationNet
from models.restoration.recipe import Recipe

Stack = NDArray[np.float32]
"""Normalized images of one frame, images × rows × columns."""


class Case(NamedTuple):
    """One frame as a network is judged on it, normalized, each 1 × 1 × rows × columns.

    Parameters
    ----------
    source, target
        Inputs and targets.
    counted
        Where errors count; None for everywhere.
    """

    source: Tensor
    target: Tensor
    counted: Tensor | None = None


class Objective(ABC):
    """How a network is trained.

    Parameters
    ----------
    recipe
        See `recipe.Recipe`.
    network
        The network under training.
    device
        What torch computes on.
    """

    def __init__(self, recipe: Recipe, network: RestorationNet, device: str) -> None:
        self.recipe, self.network, self.device = recipe, network, device

    @property
    @abstractmethod
    def parts(self) -> dict[str, Stateful]:
        """What changes in training beside `network`, by name."""

    @abstractmethod
    def step(self, rng: np.random.Generator, rate: float) -> float:
        """Make the loss of some patches smaller at this learning rate, and return it."""

    @abstractmethod
    def case(self, index: int) -> Case:
        """Validation frame `index`, the same at every call."""

    @property
    @abstractmethod
    def cases(self) -> int:
        """How many validation frames there are."""

    def validate(self) -> float:
        """Loss on validation frames, at most `validation_frames` of them."""
        count = min(self.cases, self.recipe.validation_frames)
        chosen = np.linspace(0, self.cases - 1, count).round().astype(int)
        self.network.eval()
        with torch.no_grad():
            return float(np.mean([self._error(self.case(int(i))) for i in chosen]))

    def _error(self, case: Case) -> float:
        location, scale = self.network(case.source)
        target = case.target
        if case.counted is not None:
            location, scale, target = (part[case.counted] for part in (location, scale, target))
        if self.recipe.loss == "laplace":
            return float(laplace(location, scale, target))
        return float(LOSSES[self.recipe.loss](location, target))


def channels_last(images: Tensor, device: str) -> Tensor:
    """Images on the device, in the order of memory in which convolutions run fastest.

    Examples
    --------
    >>> channels_last(torch.zeros(1, 2, 4, 4), "cpu").stride()
    (32, 1, 8, 2)
    """
    return images.to(device).contiguous(memory_format=torch.channels_last)


def whole(image: Stack, multiple: int, device: str) -> Tensor:
    """An image (rows × columns) as 1 × 1 × rows × columns, cropped to a multiple of pixels.

    Examples
    --------
    >>> tuple(whole(np.zeros((33, 35), np.float32), 4, "cpu").shape)
    (1, 1, 32, 32)
    """
    rows, columns = (size // multiple * multiple for size in image.shape)
    return channels_last(torch.from_numpy(image[None, None, :rows, :columns].copy()), device)


def fresh(recipe: Recipe, member: int, device: str, build: Any) -> Any:
    """A network from random weights that follow from seed and member alone.

    Examples
    --------
    >>> first, again = (fresh(Recipe(), 0, "cpu", lambda: nn.Linear(2, 2)) for _ in range(2))
    >>> torch.equal(first.weight, again.weight)
    True
    """
    # The caller's random numbers stay the caller's.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1000 * recipe.seed + member)
        network: nn.Module = build()
    return placed(network, device)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameters.

    Examples
    --------
    >>> optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    >>> set_rate(optimizer, 0.01)
    >>> optimizer.param_groups[0]["lr"]
    0.01
    """
    for group in optimizer.param_groups:
        group["lr"] = rate


def rate_at(recipe: Recipe, history: Sequence[float], done: float) -> float:
    """The learning rate after `done` (0 to 1) of the training.

    It follows from recipe and history alone, so that a resumed training has the same.

    Parameters
    ----------
    history
        Validation errors of the epochs so far.

    Examples
    --------
    >>> recipe = Recipe(learning_rate=1e-3, schedule="plateau", patience=2)
    >>> rate_at(recipe, [0.5, 0.4, 0.3], 0.3), rate_at(recipe, [0.3, 0.4, 0.4, 0.4], 0.4)
    (0.001, 0.0005)
    """
    if recipe.schedule == "cosine":
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if recipe.schedule == "constant":
        return recipe.learning_rate
    best, since, halved = math.inf, 0, 0
    for error in history:
        since = 0 if error < best else since + 1
        best = min(best, error)
        if since >= recipe.patience:
            since, halved = 0, halved + 1
    return recipe.learning_rate * 0.5**halved
