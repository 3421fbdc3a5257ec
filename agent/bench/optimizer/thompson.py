"""Thompson sampling, as two published engines do it."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from agent.optimizer.base import BaseEngine, merit
from agent.optimizer.outcome import Settings
from agent.optimizer.space import Space

if TYPE_CHECKING:
    pass

Array = NDArray[np.float64]
_CANDIDATES = 1000
"""Settings among which a sample is maximized; chosen."""
_FEWEST = 3
"""Outcomes below which settings are drawn at random; chosen."""


class Sampler(BaseEngine):
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


class FixedThompson(Sampler):
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
