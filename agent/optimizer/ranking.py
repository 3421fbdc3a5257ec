"""Weights of hypotheses by how well they rank the measurements, not by how close they come.

The ranking-weighted ensemble of Feurer, Letham & Bakshy, "Scalable meta-learning for Bayesian
optimization" (2018): a hypothesis whose values are scaled or shifted, but whose order is right,
keeps its weight.
"""

from __future__ import annotations

import numpy as np

from agent.optimizer.gaussian import Array

_DRAWS = 64
"""Draws of the true values from the measured ones."""
_PAIRS = 600
"""Pairs of trials that are compared at most."""
_WORST = 0.95
"""Quantile of the errors by chance beyond which a hypothesis is dropped (Feurer et al. 2018)."""


def ranking_weights(values: Array, sd: Array, expected: Array, own: Array, seed: int) -> Array:
    """Probability that each ranks the measurements best.

    Parameters
    ----------
    values, sd
        Measurements and their standard deviations (n).
    expected
        What each hypothesis expects of them (hypotheses × n).
    own
        What a model without hypotheses expects of each from all the others (n).
    seed
        Of the noise that is drawn and of the pairs, where there are more than 600.

    Returns
    -------
    Weights of the hypotheses and, last, of the model without any; they sum to one. A
    hypothesis that mostly ranks worse than that model does at its worst has none: else many bad
    ones outvote it by chance.

    Examples
    --------
    >>> measured, sd = np.array([0.1, 0.5, 0.9]), np.full(3, 0.01)
    >>> expected = np.array([[0.2, 0.4, 0.6], [0.6, 0.4, 0.2]])
    >>> ranking_weights(measured, sd, expected, np.full(3, 0.5), seed=0).round(2).tolist()
    [1.0, 0.0, 0.0]
    """
    rng = np.random.default_rng((seed, 11))
    first, second = np.triu_indices(len(values), 1)
    if len(first) > _PAIRS:
        which = rng.choice(len(first), _PAIRS, replace=False)
        first, second = first[which], second[which]
    drawn = values + sd * rng.normal(size=(_DRAWS, len(values)))
    truly = np.where(drawn[:, first] < drawn[:, second], 1.0, -1.0)
    everyone = np.vstack([expected, own])
    thought = np.where(everyone[:, first] < everyone[:, second], 1.0, -1.0)
    misranked = 0.5 * (len(first) - thought @ truly.T)
    worst = np.quantile(misranked[-1], _WORST)
    hopeless = np.median(misranked, axis=1) > worst
    hopeless[-1] = False
    misranked[hopeless] = np.inf
    best = misranked == misranked.min(axis=0)
    weights: Array = (best / best.sum(axis=0)).mean(axis=1)
    return weights
