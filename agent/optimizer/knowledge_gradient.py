"""What one more image is expected to be worth: the knowledge gradient.

A trial is worth what it is expected to add to the utility of the settings that would be
recommended after it (Frazier, Powell and Dayanik, INFORMS J. Comput. 21, 599, 2009; here for two
objectives at once, with a constraint that is itself uncertain). It values a second look at known
settings as it does a first one elsewhere, whichever changes more, so that nothing special is
needed for noise or for measuring again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agent.optimizer.gaussian import Array

# Gauss-Hermite nodes and weights of a standard normal distribution.
_SCORE_NODES, _SCORE_WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
_PRICE_NODES, _PRICE_WEIGHTS = np.polynomial.hermite_e.hermegauss(3)

Utility = Callable[[Array, Array, Array], Array]
"""Of mean score, mean and standard deviation of the bleaching's logarithm: all of one shape."""


def expected_gains(
    utility: Utility,
    score: tuple[Array, Array],
    price: tuple[Array, Array],
    score_noise: Array,
    price_noise: Array,
) -> Array:
    """Expected gain of one more trial at each of p points, in units of the utility.

    Parameters
    ----------
    utility
        Of recommending settings.
    score, price
        Mean (p) and covariance (p × p) of the score and of the bleaching's logarithm.
    score_noise, price_noise
        Standard deviation of one measurement at each point (p).

    Examples
    --------
    >>> mean, covariance, quiet = np.array([0.5, 0.4]), 0.01 * np.eye(2), np.full(2, 1e-3)
    >>> price = np.zeros(2), 1e-6 * np.eye(2)
    >>> utility = lambda score, log, sd: score
    >>> gains = expected_gains(utility, (mean, covariance), price, quiet, quiet)
    >>> bool(gains[0] > gains[1] > 0)
    True
    """
    (score_mean, score_cov), (price_mean, price_cov) = score, price
    price_sd = np.sqrt(np.maximum(np.diagonal(price_cov), 1e-12))
    now = float(utility(score_mean, price_mean, price_sd).max())
    # Row i: how far every point's mean moves for one standard deviation of trial i's surprise.
    moves = [
        cov / np.sqrt(np.maximum(np.diagonal(cov), 0.0) + noise**2 + 1e-12)[:, None]
        for cov, noise in ((score_cov, score_noise), (price_cov, price_noise))
    ]
    later = np.sqrt(np.maximum(price_sd**2 - moves[1] ** 2, 1e-12))
    gains = np.zeros(len(score_mean))
    for price_node, price_weight in zip(_PRICE_NODES, _PRICE_WEIGHTS, strict=True):
        shifted = price_mean + price_node * moves[1]
        for node, weight in zip(_SCORE_NODES, _SCORE_WEIGHTS, strict=True):
            reached = utility(score_mean + node * moves[0], shifted, later).max(axis=1)
            gains += weight * price_weight * reached
    gains /= _SCORE_WEIGHTS.sum() * _PRICE_WEIGHTS.sum()
    return np.maximum(gains - now, 0.0)
