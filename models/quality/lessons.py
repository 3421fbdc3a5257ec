"""What a quality network is shown in each epoch of its training, and what it says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from models.quality.augmentation import augment, turn
from models.quality.data import RatedSet
from models.quality.network import Judgements, RatingNet
from models.quality.recipe import Recipe

_DECIDES_WHAT_IS_SHOWN = ("seed", "augmentation", "blurred", "empty", "processed")
_AT_ONCE = 32
"""Tiles whose features are computed at once; chosen."""


class Judged(NamedTuple):
    """One step of the training.

    Parameters
    ----------
    tile
        Which tiles were shown.
    judged
        What the network says of them as they were shown.
    target
        The scores that go with them (n).
    """

    tile: Tensor
    judged: Judgements
    target: Tensor


class Lessons(Protocol):
    """The steps of each epoch; all that is random in one comes from its number."""

    def steps(self) -> int:
        """How many an epoch has."""
        ...

    def epoch(self, number: int, *, blurred: float) -> Iterator[Judged]:
        """Every tile once, with this share of blurred ones."""
        ...

    def forget(self) -> None:
        """Remove what was kept for a training that is stopped."""
        ...


class Shown:
    """Tiles that are changed by chance in each epoch, and looked at anew.

    Parameters
    ----------
    network
        On `device`.
    rated, tiles
        The frames, and which of their tiles are learned from.
    recipe, device
        See `training.train`.
    """

    def __init__(
        self, network: RatingNet, rated: RatedSet, tiles: Tensor, recipe: Recipe, device: str
    ) -> None:
        self._network, self._rated, self._tiles = network, rated, tiles
        self._recipe, self._device = recipe, device

    def steps(self) -> int:
        """How many an epoch has."""
        return len(_batches(self._tiles, self._recipe, np.random.default_rng(0)))

    def epoch(self, number: int, *, blurred: float) -> Iterator[Judged]:
        """Every tile once, or once as it is and once turned."""
        rng = np.random.default_rng((self._recipe.seed, number))
        for batch in _batches(self._tiles, self._recipe, rng):
            shown, target = _shown(self._rated, batch, rng, self._recipe, blurred)
            with _precision(self._device):
                judged = self._network.judge(shown.to(self._device))
            yield Judged(batch.tile, judged, target.to(self._device))

    def forget(self) -> None:
        """Nothing was kept."""


class Remembered:
    """Tiles of which the network's heads alone learn: what they look at is computed once.

    Each tile is shown in `recipe.variants` ways, another one in each epoch, and over again.

    Parameters
    ----------
    network, rated, tiles, recipe, device
        As of `Shown`.
    file
        Keeps what was computed, for a training that is stopped.
    identity
        Of data and weights that it depends on; a file of others is written anew.
    """

    def __init__(
        self,
        network: RatingNet,
        rated: RatedSet,
        tiles: Tensor,
        recipe: Recipe,
        device: str,
        file: Path,
        identity: Mapping[str, Any],
    ) -> None:
        self._network, self._rated, self._tiles = network, rated, tiles
        self._recipe, self._device, self._file = recipe, device, file
        self._identity = {key: identity[key] for key in ("data", "table", "parent")} | {
            key: getattr(recipe, key) for key in _DECIDES_WHAT_IS_SHOWN
        }
        self._known: dict[int, tuple[Tensor, Tensor]] = {}
        if file.is_file():
            kept = torch.load(file, weights_only=True)
            if kept["identity"] == self._identity:
                self._known = kept["known"]

    def steps(self) -> int:
        """How many an epoch has."""
        return len(_batches(self._tiles, self._recipe, np.random.default_rng(0)))

    def epoch(self, number: int, *, blurred: float) -> Iterator[Judged]:
        """Every tile once, in the variant of this epoch."""
        assert self._recipe.variants is not None
        variant = (number - 1) % self._recipe.variants
        if variant not in self._known:
            self._known[variant] = self._look(variant, blurred)
            self._keep()
        features, target = self._known[variant]
        rng = np.random.default_rng((self._recipe.seed, number))
        for batch in _batches(torch.arange(len(self._tiles)), self._recipe, rng):
            seen = features[batch.tile].to(self._device)
            judged = Judgements(*self._network.said(seen), seen)
            yield Judged(self._tiles[batch.tile], judged, target[batch.tile].to(self._device))

    def forget(self) -> None:
        """Remove the file: the training is done."""
        self._file.unlink(missing_ok=True)

    def _look(self, variant: int, blurred: float) -> tuple[Tensor, Tensor]:
        # Other numbers than those that shuffle the epochs.
        rng = np.random.default_rng((self._recipe.seed, variant, 1))
        features, targets = [], []
        for part in torch.split(self._tiles, _AT_ONCE):
            batch = _Batch(part, torch.zeros(len(part), dtype=torch.bool))
            shown, target = _shown(self._rated, batch, rng, self._recipe, blurred)
            with torch.no_grad():
                features.append(self._network.seen(shown.to(self._device)).cpu())
            targets.append(target)
        return torch.cat(features), torch.cat(targets)

    def _keep(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._file.with_name(self._file.name + ".new")
        torch.save({"identity": self._identity, "known": self._known}, fresh)
        fresh.replace(self._file)


class _Batch(NamedTuple):
    """Tiles to show, and whether each is the changed copy of `doubled` frames."""

    tile: Tensor
    copy: Tensor


def _batches(tiles: Tensor, recipe: Recipe, rng: np.random.Generator) -> list[_Batch]:
    """Split the tiles, in random order, into batches of nearly the same size."""
    copies = 2 if recipe.augmentation == "doubled" else 1
    order = torch.from_numpy(rng.permutation(copies * len(tiles)))
    # Small sets get smaller batches, so that they too take some steps an epoch; never one
    # frame alone, from which batch normalization cannot learn.
    count = max(-(-len(order) // recipe.batch), min(8, len(order) // 8), 1)
    return [
        _Batch(tiles[part % len(tiles)], part >= len(tiles)) for part in order.tensor_split(count)
    ]


def _shown(
    rated: RatedSet, batch: _Batch, rng: np.random.Generator, recipe: Recipe, blurred: float
) -> tuple[Tensor, Tensor]:
    """One batch of tiles (n, 1, 224, 224) as they are shown this time, with their scores (n)."""
    tiles, scores = [], []
    shares = {"blurred": blurred, "empty": recipe.empty, "processed": recipe.processed}
    for i, copy in zip(batch.tile.tolist(), batch.copy.tolist(), strict=True):
        tile = rated.tiles[i, 0].float().numpy()
        score = float(rated.score[rated.frame[i]])
        if recipe.augmentation == "turned":
            tile, score = augment(tile, score, rng, **shares)
        elif copy:
            tile = turn(tile, np.random.default_rng((recipe.seed, i)))
        tiles.append(tile)
        scores.append(score)
    return torch.from_numpy(np.stack(tiles)[:, None]), torch.tensor(scores)


def _precision(device: str) -> AbstractContextManager[Any]:
    """bfloat16 on CUDA, where it is twice as quick; a CPU gains nothing."""
    if device.startswith("cuda"):
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()
