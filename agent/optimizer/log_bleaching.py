"""The logarithm of the bleaching, which is near normal, and what follows for a limit."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from agent.optimizer.gaussian import Array

FLOOR = 0.02
"""Bleached share added before the logarithm is taken: less than this is noise."""


def chance_within(log: Array, sd: Array, bound: float) -> Array:
    """Probability that the bleaching is within a bound, from the distribution of its logarithm.

    Examples
    --------
    >>> log = np.log(np.array([0.2 + FLOOR]))
    >>> chance_within(log, np.array([0.5]), bound=0.2).tolist()
    [0.5]
    """
    chance: Array = ndtr((np.log(bound + FLOOR) - log) / np.maximum(sd, 1e-6))
    return chance


def expected_excess(log: Array, sd: Array, bound: float) -> Array:
    """By how much the bleaching is expected to be beyond a bound.

    The mean of max(0, bleaching − bound), whose logarithm (with `FLOOR`) is normal.

    Examples
    --------
    >>> log = np.log(np.array([0.1, 0.3]) + FLOOR)
    >>> expected_excess(log, np.zeros(2), bound=0.2).round(3).tolist()
    [0.0, 0.1]
    """
    sd, edge = np.maximum(sd, 1e-6), bound + FLOOR
    beyond = (log - np.log(edge)) / sd
    mean = np.exp(np.minimum(log + 0.5 * sd**2, 2.0))
    excess: Array = np.maximum(mean * ndtr(beyond + sd) - edge * ndtr(beyond), 0.0)
    return excess
