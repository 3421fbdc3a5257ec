"""Fits an interpolator, epoch by epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models import checkpoint
from models.checkpoint import State
from models.interpolation.calibration import ValidationFrame
from models.interpolation.crops import Crops, unevenly, whole
from models.interpolation.interface import Interpolator
from models.interpolation.losses import decibels, total
from models.interpolation.movies import Movie
from models.interpolation.recipe import Recipe
from models.interpolation.triplets import Triplet
from models.precision import trained_in
from models.restoration.normalization import Normalization
from models.restoration.objective import channels_last, set_rate

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with its number, how many there are in all, and figures."""
_LARGEST_GRADIENT = 1.0
"""Norm to which gradients are clipped; chosen: deformable offsets and flows have rare, huge ones,
and this much is usual."""
# Of the way from the weights that a fine-tuning began with to those that it reached.
_SHARES = (0.25, 0.5, 0.75)


def loss_of(recipe: Recipe, movies: Sequence[Movie]) -> str:
    """The loss of the location that `auto` stands for with these movies."""
    if recipe.loss != "auto":
        return recipe.loss
    return "charbonnier" if all(one.clean is not None for one in movies) else "mse"


def rate_at(recipe: Recipe, done: float) -> float:
    """The learning rate after `done` (0 to 1) of the training.

    Examples
    --------
    >>> recipe = Recipe(learning_rate=1e-3, warm_up=0.0)
    >>> rate_at(recipe, 0.0), round(rate_at(recipe, 0.5), 6), rate_at(recipe, 1.0)
    (0.001, 0.0005, 0.0)
    """
    rising = min(1.0, (done + 1e-3) / recipe.warm_up) if recipe.warm_up else 1.0
    falling = 0.5 * (1 + math.cos(math.pi * done)) if recipe.schedule == "cosine" else 1.0
    return recipe.learning_rate * rising * falling


class Cases(Sequence[ValidationFrame]):
    """Validation frames, made when they are asked for: a few hundred whole ones fill a memory.

    They are as uncertain in time as the training data: else the sharper frame seems the better.
    """

    def __init__(
        self,
        recipe: Recipe,
        movies: Sequence[Movie],
        chosen: Sequence[Triplet],
        normalization: Normalization,
        device: str,
    ) -> None:
        self._recipe, self._movies, self._chosen = recipe, movies, chosen
        self._normalization, self._device = normalization, device

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: Any) -> Any:
        sample = whole(self._movies, self._chosen[index], self._normalization)
        if wobble := self._recipe.wobble:
            rng = np.random.default_rng((self._recipe.seed, int(index)))
            sample = unevenly(sample, wobble, rng)
        images, t = sample
        before, after, target = (
            torch.from_numpy(image[None, None]).to(self._device) for image in images[:3]
        )
        return ValidationFrame(before, after, target, t)


class Fit:
    """The steps of a training."""

    def __init__(
        self,
        recipe: Recipe,
        network: Interpolator,
        crops: Crops,
        cases: Sequence[ValidationFrame],
        loss: str,
        device: str,
    ) -> None:
        self._recipe, self._network, self._device = recipe, network, device
        self._crops, self._cases = crops, cases
        self.loss = loss
        self._optimizer = torch.optim.AdamW(
            network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay
        )

    def run(
        self, file: Path, identity: dict[str, Any], progress: Progress | None
    ) -> dict[str, Any]:
        """Train in place, and leave the best weights; what the card says about it."""
        recipe, network = self._recipe, self._network
        state = State(network, {"optimizer": self._optimizer})
        started = None
        begun: dict[str, Tensor] = {}
        if recipe.start_from is not None:
            # Weights that are not better on the same movie are not kept.
            started = state.best = self._validate()
            begun = state.best_weights = copy.deepcopy(network.state_dict())
        checkpoint.read(file, state, identity)
        while state.epoch < recipe.epochs:
            epoch = state.epoch + 1
            # Everything random in an epoch comes from its number: a resumed training is the same.
            rng = np.random.default_rng((recipe.seed, epoch))
            losses = []
            for step in range(recipe.steps_per_epoch):
                done = (state.epoch + step / recipe.steps_per_epoch) / recipe.epochs
                losses.append(self._step(rng, rate_at(recipe, done)))
            error = self._validate()
            if not np.isfinite([*losses, error]).all():
                raise ValueError(
                    f"learning_rate: {recipe.learning_rate:g} let the training diverge in epoch"
                    f" {epoch}; accepted: a smaller one"
                )
            state.step(float(np.mean(losses)), error, keep=True)
            checkpoint.write(file, state, identity)
            if progress is not None:
                told = {"train": state.training[-1], "validation": error, "best": state.best}
                progress(epoch, recipe.epochs, told)
        network.load_state_dict(state.best_weights)
        network.eval()
        share = self._part_way(begun, state) if begun and state.best_epoch else 1.0
        history: dict[str, Any] = {
            "epochs": state.epoch,
            "best_epoch": state.best_epoch,
            "train_loss": [round(value, 6) for value in state.training],
            "validation_db": [round(value, 4) for value in state.validation],
        }
        if started is not None:
            history |= {"started_db": round(started, 4), "share": share}
        return history

    def _part_way(self, begun: dict[str, Tensor], state: State) -> float:
        """Leave the best weights on the way from those it began with; how far that is, 0 to 1.

        Between the two, a network often is better than either, even more so on frames that it was
        not tuned to (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
        """
        reached, best, kept = state.best_weights, state.best, 1.0
        for share in _SHARES:
            self._network.load_state_dict(_mixed(begun, reached, share))
            if (error := self._validate()) < best:
                best, kept = error, share
        self._network.load_state_dict(_mixed(begun, reached, kept))
        return kept

    def _step(self, rng: np.random.Generator, rate: float) -> float:
        """Make the loss of some crops smaller at this learning rate, and return it."""
        self._network.train()
        set_rate(self._optimizer, rate)
        samples = [self._crops.draw(rng) for _ in range(self._recipe.batch)]
        stack = torch.from_numpy(np.stack([sample.images for sample in samples]))
        images = channels_last(stack, self._device)
        t = torch.tensor([sample.t for sample in samples]).to(self._device)
        with trained_in(self._recipe.precision, self._device):
            told = self._network.staged(images[:, :1], images[:, 1:2], t)
        loss = total(self.loss, self._recipe.stages, told, images)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), _LARGEST_GRADIENT)
        self._optimizer.step()
        return float(loss.detach())

    def _validate(self) -> float:
        """Error of the validation frames (dB)."""
        self._network.eval()
        found = []
        with torch.no_grad():
            for case in self._cases:
                with trained_in(self._recipe.precision, self._device):
                    location: Tensor = self._network(case.before, case.after, case.t)[0]
                found.append(decibels(location, case.target, self.loss))
        return float(np.mean(found))


def _mixed(first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """Weights that lie `share` of the way from the first to the second."""
    return {name: torch.lerp(first[name], second[name], share) for name in first}
