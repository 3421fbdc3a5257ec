"""Common parts of the simple engines: their outcomes, and how they recommend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.one_thread import on_one_thread
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from devices.config import Value

PENALTY = 3.0
"""Score that one unit of bleaching above the limit costs; chosen by hand."""
_CERTAINTY = 0.8
"""Least probability to keep the limit of what a person's weights choose among; chosen by hand."""
# The matrices here are so small that a second thread makes them several times slower:
# hence `on_one_thread()` around them.

Array = NDArray[np.float64]


def merit(outcome: Outcome, limit: float) -> float:
    """One number for engines that know no constraint: score − 3 · max(0, bleaching − limit).

    Examples
    --------
    >>> merit(Outcome(score=0.6, bleaching=0.25), limit=0.2)
    0.45
    """
    return outcome.score - PENALTY * max(0.0, outcome.bleaching - limit)


class BaseEngine(ABC):
    """An engine that keeps outcomes, and recommends by two Gaussian processes.

    The recommendation takes the tried settings with the best predicted score among those that
    stay under the bleaching limit with a probability of 0.8. Predicted rather than measured,
    because the best measurement of many is the luckiest, and scores that the network is less
    sure of count for less. Trials whose score is doubtful take no part in it, unless all are.

    Parameters
    ----------
    space
        The tuned settings.
    bleaching_limit
        Largest share of the dye one frame may bleach.
    seed
        Same seed and same outcomes: same suggestions.
    """

    def __init__(self, space: Space, *, bleaching_limit: float, seed: int) -> None:
        self.space = space
        self.limit = bleaching_limit
        self.seed = seed
        self.told: list[tuple[Settings, Outcome]] = []
        self.failed: list[Settings] = []
        self._doubted: list[tuple[Settings, Outcome]] = []
        self._weights: dict[str, float] = {}

    @abstractmethod
    def ask(self) -> Settings:
        """Settings to try next."""

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """What a trial gave; nothing if it is doubtful."""
        if outcome.doubtful:
            self._doubted.append((dict(settings), outcome))
            self.tell_failed(settings)
        else:
            self.told.append((dict(settings), outcome))

    def tell_failed(self, settings: Mapping[str, Value]) -> None:
        """A trial gave nothing."""
        self.failed.append(dict(settings))

    def restrict(self, search: Mapping[str, Sequence[Value]]) -> None:
        """Suggest and recommend only within these ranges or choices; others are free again."""
        self.space.restrict(search)

    def prefer(self, weights: Mapping[str, float]) -> None:
        """Recommend by `quality` and `bleaching` times these weights, less of the latter."""
        self._weights = dict(weights)

    def pick(self, settings: Mapping[str, Value]) -> None:
        """Recommend the settings themselves: these engines have no model between trials."""
        raise ValueError("pick: only `engine: stedfast` can follow a picked trade-off")

    def expected_gain(self) -> float | None:
        """Not known."""
        return None

    def recommend(self) -> Settings:
        """The tried settings with the best predicted score within the bleaching limit.

        Raises
        ------
        ValueError
            No trial gave a score.
        """
        told, score, bleached, safe = self._predicted()
        allowed = safe >= _CERTAINTY
        value = self._weights.get("quality", 1.0) * score
        value -= self._weights.get("bleaching", 0.0) * bleached
        pick = int(np.argmax(np.where(allowed, value, -np.inf) if allowed.any() else -bleached))
        return dict(told[pick][0])

    def front(self) -> list[Settings]:
        """Tried settings that no other one beats in both predicted score and bleaching."""
        told, score, bleached, _ = self._predicted()
        order = np.lexsort((-score, bleached))
        front: list[Settings] = []
        best = -np.inf
        for at in order:
            if score[at] > best:
                best = score[at]
                front.append(dict(told[at][0]))
        return front

    def _predicted(self) -> tuple[list[tuple[Settings, Outcome]], Array, Array, Array]:
        """Tried settings, their predicted score and bleaching, and how surely they are allowed."""
        # Doubtful scores are better than none where all are.
        told = self.told or self._doubted
        told = [one for one in told if self.space.contains(one[0])] or told
        if not told:
            raise ValueError("no trial gave a score, there is nothing to recommend")
        where = self.space.features([settings for settings, _ in told])
        score, _ = self._fit(
            where,
            [outcome.score for _, outcome in told],
            [outcome.score_sd for _, outcome in told],
        )
        bleached, spread = self._fit(where, [outcome.bleaching for _, outcome in told])
        return told, score, bleached, probability_below(self.limit, bleached, spread)

    def _fit(
        self, where: Array, values: list[float], sd: list[float] | None = None
    ) -> tuple[Array, Array]:
        """Predicted mean and standard deviation at the tried points themselves.

        Where each value's own standard deviation is known, an unsure one counts for less.
        """
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

        if len(values) < 3:
            return np.asarray(values), np.zeros(len(values))
        kernel = ConstantKernel(1.0, (0.05, 20)) * Matern(
            np.ones(where.shape[1]), (0.1, 20), nu=2.5
        ) + WhiteKernel(0.05, (1e-4, 1.0))
        own = np.square(sd or np.zeros(len(values))) / max(float(np.var(values)), 1e-12)
        process = GaussianProcessRegressor(
            kernel,
            alpha=1e-10 + own,
            normalize_y=True,
            n_restarts_optimizer=2,
            random_state=self.seed,
        )
        with on_one_thread():
            process.fit(where, values)
        mean, spread = process.predict(where, return_std=True)
        # The noise of one measurement is not doubt about the settings.
        noise = process.kernel_.k2.noise_level * np.var(values)
        return mean, np.sqrt(np.maximum(spread**2 - noise, 0))


def probability_below(limit: float, mean: Array, spread: Array) -> Array:
    """Of normal distributions with these means and standard deviations.

    Examples
    --------
    >>> probability_below(0.2, np.array([0.2, 0.1]), np.array([0.05, 0.05])).round(3).tolist()
    [0.5, 0.977]
    """
    from scipy.stats import norm

    chance: Array = norm.cdf((limit - mean) / np.maximum(spread, 1e-9))
    return chance
