"""Which settings to try next, and which to recommend: ask and tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from devices.config import SettingConfig, Value
from models.quality.score import doubtful

_PENALTY = 3.0
_CERTAINTY = 0.8
# The matrices here are so small that a second thread makes them several times slower:
# hence `threadpool_limits(1)` around them.


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a trial gave.

    Parameters
    ----------
    score
        Quality in [0, 1].
    bleaching
        Share of the dye lost.
    score_sd
        Standard deviation of `score`.
    flags
        What the quality network remarked; see `models.quality.score.FLAGS`.
    """

    score: float
    bleaching: float
    score_sd: float = 0.0
    flags: tuple[str, ...] = ()

    @property
    def doubtful(self) -> bool:
        """Whether a flag says that the score may be wrong."""
        return doubtful(self.flags)

    def as_dict(self) -> dict[str, Any]:
        """For the ledger."""
        return {**asdict(self), "flags": list(self.flags)}


Settings = dict[str, Value]


class Optimizer(Protocol):
    """What `plan: optimize` needs of an engine; settings are plain Python values."""

    def ask(self) -> Settings:
        """Settings to try next."""
        ...

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """What a trial gave; a doubtful outcome says as little as a failed trial."""
        ...

    def tell_failed(self, settings: Mapping[str, Value]) -> None:
        """A trial gave nothing."""
        ...

    def recommend(self) -> Settings:
        """The settings believed to be best within the limits.

        Raises
        ------
        ValueError
            No trial gave anything.
        """
        ...


class SkoptOptimizer:
    """Bayesian optimization by scikit-optimize.

    Its Gaussian process knows one objective and no constraint, so it is told the merit
    ``score − 3 · max(0, bleaching − limit)``; the recommendation then uses one process for
    each of score and bleaching, and takes the tried settings with the best predicted score
    among those that stay under the limit with a probability of 0.8. Predicted rather than
    measured, because the best measurement of many is the luckiest, and scores that the network is
    less sure of count for less. Trials whose score is doubtful
    take no part in either, unless all are.

    Parameters
    ----------
    space
        The tuned settings, by name.
    search
        Narrower ranges or choices for some of them.
    bleaching_limit
        Largest share of the dye one frame may bleach.
    initial
        Space-filling trials (Sobol) before the model decides.
    seed
        Same seed and same outcomes: same suggestions.
    engine
        `skopt`, or `random` for a baseline that draws every trial at random.
    """

    def __init__(
        self,
        space: Mapping[str, SettingConfig],
        search: Mapping[str, Sequence[Value]],
        *,
        bleaching_limit: float,
        initial: int,
        seed: int,
        engine: Literal["skopt", "random"] = "skopt",
    ) -> None:
        from skopt import Optimizer as Skopt

        self._space = dict(space)
        self._limit = bleaching_limit
        self._seed = seed
        self._told: list[tuple[list[Value], Outcome]] = []
        self._doubted: list[tuple[list[Value], Outcome]] = []
        dimensions = [
            _dimension(setting, search.get(name) or setting.range or setting.choices or ())
            for name, setting in self._space.items()
        ]
        self._skopt: Any = Skopt(
            dimensions,
            base_estimator="GP" if engine == "skopt" else "dummy",
            n_initial_points=initial,
            initial_point_generator="sobol" if engine == "skopt" else "random",
            acq_func="EI",
            random_state=seed,
        )

    def ask(self) -> Settings:
        """Settings to try next."""
        with threadpool_limits(1):
            point = self._skopt.ask()
        return {
            name: setting.plain(_native(value))
            for (name, setting), value in zip(self._space.items(), point, strict=True)
        }

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """What a trial gave; nothing if it is doubtful."""
        point = [settings[name] for name in self._space]
        if outcome.doubtful:
            self._doubted.append((point, outcome))
            self.tell_failed(settings)
            return
        self._told.append((point, outcome))
        excess = max(0.0, outcome.bleaching - self._limit)
        with threadpool_limits(1):
            self._skopt.tell(point, -(outcome.score - _PENALTY * excess))

    def tell_failed(self, settings: Mapping[str, Value]) -> None:
        """A trial gave nothing.

        scikit-optimize suggests the same point until it is told something: it gets the mean
        merit so far, which neither draws it there nor drives it away.
        """
        point = [settings[name] for name in self._space]
        told = self._skopt.yi
        with threadpool_limits(1):
            self._skopt.tell(point, float(np.mean(told)) if told else 0.0)

    def recommend(self) -> Settings:
        """The tried settings with the best predicted score within the bleaching limit."""
        # Doubtful scores are better than none where all are.
        told = self._told or self._doubted
        if not told:
            raise ValueError("no trial gave a score, there is nothing to recommend")
        points = [point for point, _ in told]
        where = np.asarray(self._skopt.space.transform(points), dtype=float)
        score, _ = self._fit(
            where,
            [outcome.score for _, outcome in told],
            [outcome.score_sd for _, outcome in told],
        )
        bleached, spread = self._fit(where, [outcome.bleaching for _, outcome in told])
        safe = _probability_below(self._limit, bleached, spread)
        allowed = safe >= _CERTAINTY
        pick = int(np.argmax(np.where(allowed, score, -np.inf) if allowed.any() else -bleached))
        return dict(zip(self._space, points[pick], strict=True))

    def _fit(
        self, where: NDArray[np.float64], values: list[float], sd: list[float] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
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
            random_state=self._seed,
        )
        with threadpool_limits(1):
            process.fit(where, values)
        mean, spread = process.predict(where, return_std=True)
        # The noise of one measurement is not doubt about the settings.
        noise = process.kernel_.k2.noise_level * np.var(values)
        return mean, np.sqrt(np.maximum(spread**2 - noise, 0))


def _probability_below(
    limit: float, mean: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.stats import norm

    chance: NDArray[np.float64] = norm.cdf((limit - mean) / np.maximum(spread, 1e-9))
    return chance


def _dimension(setting: SettingConfig, values: Sequence[Value]) -> Any:
    from skopt.space import Categorical, Integer, Real

    if setting.kind == "choice":
        return Categorical(list(values))
    prior = "log-uniform" if setting.scale == "log" else "uniform"
    if setting.kind == "integer":
        return Integer(int(values[0]), int(values[1]), prior=prior)
    return Real(float(values[0]), float(values[1]), prior=prior)


def _native(value: Any) -> Value:
    """scikit-optimize hands out numpy scalars where kinds are mixed."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return plain
