"""Training on inputs and targets of the same places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import Stateful
from models.precision import trained_in
from models.restoration.losses import LOSSES, total
from models.restoration.network import RestorationNet
from models.restoration.objective import (
    Case,
    Objective,
    Stack,
    channels_last,
    set_rate,
    whole,
)
from models.restoration.patches import Patches
from models.restoration.recipe import Recipe


class Supervised(Objective):
    """Inputs and targets of the same places: label2label, noise2noise, CARE, and a teacher's word.

    Parameters
    ----------
    recipe, network, device
        As for `Objective`.
    training, validation
        Stacks of input and target; with a third image, the scale that a teacher gave.
    """

    def __init__(
        self,
        recipe: Recipe,
        network: RestorationNet,
        device: str,
        training: Sequence[Stack],
        validation: Sequence[Stack],
    ) -> None:
        super().__init__(recipe, network, device)
        guides = [stack[min(1, len(stack) - 1)] for stack in training]
        self.patches = Patches(training, guides, recipe.patch, recipe.anywhere)
        self._validation = list(validation)
        self.optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate)

    @property
    def parts(self) -> dict[str, Stateful]:
        """The optimizer."""
        return {"optimizer": self.optimizer}

    @property
    def cases(self) -> int:
        """How many validation frames there are."""
        return len(self._validation)

    def step(self, rng: np.random.Generator, rate: float) -> float:
        """One batch of patches."""
        self.network.train()
        set_rate(self.optimizer, rate)
        patches = self.patches.draw(rng, self.recipe.batch)
        with trained_in(self.recipe.precision, self.device):
            loss = self.loss(channels_last(patches, self.device), rng)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        self.optimizer.step()
        return float(loss.detach())

    def loss(self, patches: Tensor, rng: np.random.Generator) -> Tensor:
        """Loss of patches, n × images × side × side."""
        location, scale = (part.float() for part in self.network(patches[:, :1]))
        if patches.shape[1] == 3:
            return self._taught(location, scale, patches)
        return total(self.recipe.loss, location, scale, patches[:, 1:2])

    def _taught(self, location: Tensor, scale: Tensor, patches: Tensor) -> Tensor:
        """A student's loss: its location is the teacher's, and the logarithm of its scale."""
        told, doubt = patches[:, 1:2], patches[:, 2:3]
        own = "mae" if self.recipe.loss == "laplace" else self.recipe.loss
        apart = (scale.log() - doubt.log()).abs().mean()
        return LOSSES[own](location, told) + 0.02 * apart

    def case(self, index: int) -> Case:
        """Input and target of a validation frame, cropped to what the network takes."""
        return Case(self.image(index), self.image(index, 1))

    def image(self, index: int, which: int = 0) -> Tensor:
        """One image of a validation frame, 1 × 1 × rows × columns."""
        return whole(self._validation[index][which], self.network.multiple, self.device)
