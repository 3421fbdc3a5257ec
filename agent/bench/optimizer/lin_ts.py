"""Linear Thompson sampling with a diagonal prior."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from agent.optimizer.one_thread import one_thread
from agent.optimizer.outcome import Outcome
from agent.optimizer.space import Space
from devices.config import Value

if TYPE_CHECKING:
    from torch import Tensor, nn
from agent.bench.optimizer.thompson import Array, Sampler


class LinTSDiag(Sampler):
    """Linear Thompson sampling with a diagonal covariance on a small network's last layer.

    The network is trained again on all merits at every tell; its last hidden layer gives the
    features of a linear model, whose weights are sampled independently about the trained ones.
    The method was used for STED microscopy in [1]_, and is the diagonal variant of the neural
    bandits of [2]_; this is written from its description, with its default λ and ν of 1 taken
    relative to the spread of the measured merits.

    Parameters
    ----------
    space, bleaching_limit, seed
        As in `BaseEngine`.
    initial
        Space-filling trials (Sobol) before the model decides.
    hidden
        Units of each of the two hidden layers.
    precision
        Prior precision λ of a weight.
    exploration
        Factor ν on the sampled deviation of the weights.
    noise
        Standard deviation of one measured merit, in standard deviations of all.
    steps
        Training steps (Adam, all trials at once) at every tell.

    References
    ----------
    .. [1] A. Bilodeau et al., "Development of AI-assisted microscopy frameworks through realistic
       simulation in pySTED", Nature Machine Intelligence 6, 1197 (2024).
    .. [2] W. Zhang et al., "Neural Thompson sampling", ICLR 2021.
    """

    def __init__(
        self,
        space: Space,
        *,
        bleaching_limit: float,
        initial: int,
        seed: int,
        hidden: int = 32,
        precision: float = 1.0,
        exploration: float = 1.0,
        noise: float = 0.3,
        steps: int = 150,
    ) -> None:
        super().__init__(space, bleaching_limit=bleaching_limit, initial=initial, seed=seed)
        self._hidden = hidden
        self._precision = precision
        self._exploration = exploration
        self._noise = noise
        self._steps = steps
        self._network: nn.Sequential | None = None

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """What a trial gave; nothing if it is doubtful."""
        super().tell(settings, outcome)
        at = len(self.told) + len(self.failed)
        if not outcome.doubtful and at >= self._initial:
            with one_thread(self.seed + at):
                self._train()

    def _train(self) -> None:
        import torch
        from torch import nn

        where, merits = self._told()
        x = torch.from_numpy(where).float()
        y = torch.from_numpy((merits - merits.mean()) / max(float(merits.std()), 1e-6)).float()
        network = nn.Sequential(
            nn.Linear(x.shape[1], self._hidden),
            nn.ReLU(),
            nn.Linear(self._hidden, self._hidden),
            nn.ReLU(),
            nn.Linear(self._hidden, 1),
        )
        adam = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
        for _ in range(self._steps):
            adam.zero_grad()
            loss = torch.mean((network(x).squeeze(1) - y) ** 2)
            loss.backward()  # type: ignore[no-untyped-call]  # torch's
            adam.step()
        self._network = network

    def _sample(self, where: Array, rng: np.random.Generator) -> Array:
        known, _ = self._told()
        with one_thread(self.seed):
            if self._network is None:
                self._train()
            seen, _ = self._read(known)
            features, mean = self._read(where)
        precision = self._precision + np.square(seen).sum(axis=0) / self._noise**2
        shift = self._exploration * rng.normal(size=len(precision)) / np.sqrt(precision)
        sample: Array = mean + features @ shift
        return sample

    def _read(self, where: Array) -> tuple[Array, Array]:
        """Features of the last hidden layer, and the network's own prediction."""
        import torch

        assert self._network is not None
        with torch.no_grad():
            hidden: Tensor = self._network[:-1](torch.from_numpy(where).float())
            out: Tensor = self._network[-1](hidden)
        return hidden.double().numpy(), out.squeeze(1).double().numpy()
