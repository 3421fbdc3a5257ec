"""Thompson sampling, as two published engines do it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from agent.optimizer.base import BaseEngine, merit
from agent.optimizer.one_thread import one_thread
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from devices.config import Value

if TYPE_CHECKING:
    from torch import Tensor, nn

Array = NDArray[np.float64]
_CANDIDATES = 1000
"""Settings among which a sample is maximized; chosen."""
_FEWEST = 3
"""Outcomes below which settings are drawn at random; chosen."""


class _Sampler(BaseEngine):
    """Sobol trials, and then the best of a sample of `merit` over random candidates."""

    def __init__(self, space: Space, *, bleaching_limit: float, initial: int, seed: int) -> None:
        super().__init__(space, bleaching_limit=bleaching_limit, seed=seed)
        self._initial = initial

    def ask(self) -> Settings:
        """Settings to try next."""
        at = len(self.told) + len(self.failed)
        if at < self._initial or len(self.told) < _FEWEST:
            return self.space.sobol(max(self._initial, at + 1), self.seed)[at]
        rng = np.random.default_rng((self.seed, at))
        candidates = self.space.random(_CANDIDATES, rng)
        with threadpool_limits(1):
            sample = self._sample(self.space.features(candidates), rng)
        return candidates[int(np.argmax(sample))]

    @abstractmethod
    def _sample(self, where: Array, rng: np.random.Generator) -> Array:
        """One sample of `merit` at these features."""

    def _told(self) -> tuple[Array, Array]:
        """Features and merits of the trials."""
        where = self.space.features([settings for settings, _ in self.told])
        return where, np.array([merit(outcome, self.limit) for _, outcome in self.told])


class FixedThompson(_Sampler):
    """Kernel Thompson sampling with a kernel that is never fitted [1]_.

    A Gaussian process with a squared-exponential kernel, centred on the mean merit so far.

    Parameters
    ----------
    space, bleaching_limit, seed
        As in `BaseEngine`.
    initial
        Space-filling trials (Sobol) before the model decides.
    length
        Length scale in the features.
    sd
        Standard deviation of the merit over the space.
    noise
        Standard deviation of one measured merit.

    References
    ----------
    .. [1] A. Durand et al., "A machine learning approach for online automated optimization of
       super-resolution optical microscopy", Nature Communications 9, 5247 (2018).
    """

    def __init__(
        self,
        space: Space,
        *,
        bleaching_limit: float,
        initial: int,
        seed: int,
        length: float = 0.3,
        sd: float = 0.3,
        noise: float = 0.05,
    ) -> None:
        super().__init__(space, bleaching_limit=bleaching_limit, initial=initial, seed=seed)
        self._length = length
        self._sd = sd
        self._noise = noise

    def _sample(self, where: Array, rng: np.random.Generator) -> Array:
        from scipy.linalg import cholesky, solve_triangular

        known, values = self._told()
        middle = values.mean()
        root = cholesky(
            self._kernel(known, known) + self._noise**2 * np.eye(len(known)), lower=True
        )
        cross = solve_triangular(root, self._kernel(known, where), lower=True)
        mean = middle + cross.T @ solve_triangular(root, values - middle, lower=True)
        spread = self._kernel(where, where) - cross.T @ cross
        # Candidates lie so close together that rounding leaves tiny negative eigenvalues.
        spread[np.diag_indices_from(spread)] += 1e-6 * self._sd**2
        sample: Array = mean + cholesky(spread, lower=True) @ rng.normal(size=len(where))
        return sample

    def _kernel(self, one: Array, other: Array) -> Array:
        from scipy.spatial.distance import cdist

        covariance: Array = self._sd**2 * np.exp(
            -0.5 * cdist(one, other, "sqeuclidean") / self._length**2
        )
        return covariance


class LinTSDiag(_Sampler):
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
