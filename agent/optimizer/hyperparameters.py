"""Hyperparameters that explain measurements, drawn from their prior and weighed by evidence."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from agent.optimizer.gaussian import Covariances, log_evidence, whiten
from agent.optimizer.measured import Array, Data, ObjectiveScale

_DRAWS, _PROPOSALS, _ROUNDS = 64, 32, 2
_LEARN_FROM = 100
"""Measurements from which hyperparameters are learned at most."""
_KEPT_PROCESSES = 6
"""Gaussian processes with the largest evidence that are averaged over."""
_STEP = 0.35
"""Standard deviation of a step of the logarithm in the search for hyperparameters."""


def learn(data: Data, scale: ObjectiveScale, features: int, seed: int) -> Covariances:
    """Hyperparameters that explain the data best, of many drawn from their prior.

    Draws from the prior are followed by steps around the best so far; what is kept is weighed
    by evidence and prior, an approximation of their posterior that needs no gradient.

    Examples
    --------
    >>> where = np.linspace(0, 1, 6)[:, None]
    >>> data = Data(where, where[:, 0], np.full(6, 0.01))
    >>> scale = ObjectiveScale(mean=0.5, constant=0.3, amplitude=0.2, slope=0.5, residual=(0.1,))
    >>> found = learn(data, scale, features=1, seed=0)
    >>> found.lengths.shape == (len(found.amplitude), 1)
    True
    """
    rng = np.random.default_rng((seed, 5))
    used = _some(data, rng)
    pool = _draw(_DRAWS, scale, features, rng)
    score = _log_posterior(pool, used, scale)
    for _ in range(_ROUNDS):
        best = np.argsort(score)[::-1][:8]
        near = _step(pool.take(best[rng.integers(len(best), size=_PROPOSALS)]), rng)
        pool, score = pool.joined(near), np.concatenate([score, _log_posterior(near, used, scale)])
    chance = np.exp(score - logsumexp(score))
    keep = np.argsort(chance)[::-1][:_KEPT_PROCESSES]
    return pool.take(keep)


def _some(data: Data, rng: np.random.Generator) -> Data:
    """At most a hundred of the measurements: hyperparameters need no more."""
    if len(data.values) <= _LEARN_FROM:
        return data
    which = np.sort(rng.choice(len(data.values), _LEARN_FROM, replace=False))
    return Data(data.where[which], data.values[which], data.sd[which])


_LENGTH, _LENGTH_SPREAD, _AMPLITUDE_SPREAD, _NOISE_SPREAD = 0.6, 0.7, 0.5, 0.35


def _draw(
    count: int, scale: ObjectiveScale, features: int, rng: np.random.Generator
) -> Covariances:
    return Covariances(
        scale.amplitude * np.exp(_AMPLITUDE_SPREAD * rng.normal(size=count)),
        _LENGTH * np.exp(_LENGTH_SPREAD * rng.normal(size=(count, features))),
        np.full(count, scale.constant),
        scale.slope * np.exp(0.5 * rng.normal(size=count)),
        np.exp(_NOISE_SPREAD * rng.normal(size=count)),
    )


def _step(kernels: Covariances, rng: np.random.Generator) -> Covariances:
    def near(values: Array) -> Array:
        moved: Array = values * np.exp(_STEP * rng.normal(size=values.shape))
        return moved

    return Covariances(
        near(kernels.amplitude),
        near(kernels.lengths),
        kernels.constant,
        near(kernels.slope),
        near(kernels.noise),
    )


def _log_posterior(kernels: Covariances, data: Data, scale: ObjectiveScale) -> Array:
    lower = kernels.factors(data.where, data.sd)
    white = whiten(lower, (data.values - scale.mean)[:, None])
    prior = -0.5 * (np.log(kernels.amplitude / scale.amplitude) / _AMPLITUDE_SPREAD) ** 2
    prior -= 0.5 * ((np.log(kernels.lengths / _LENGTH) / _LENGTH_SPREAD) ** 2).sum(-1)
    prior -= 0.5 * (np.log(kernels.noise) / _NOISE_SPREAD) ** 2
    if scale.slope:
        prior -= 0.5 * (np.log(kernels.slope / scale.slope) / 0.5) ** 2
    posterior: Array = log_evidence(lower, white)[:, 0] + prior
    return posterior
