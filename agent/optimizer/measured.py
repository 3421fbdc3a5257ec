"""Measurements of an objective, and its scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ObjectiveScale:
    """Scales of an objective, known before anything is measured.

    Parameters
    ----------
    mean, constant
        Its level, and how far that may be off.
    amplitude
        Median of how much it varies with the settings.
    slope
        Median of its slope along a setting; 0 for an objective without a trend.
    residual
        By how much a good hypothesis may be off: a few standard deviations to choose from.
    """

    mean: float
    constant: float
    amplitude: float
    slope: float
    residual: Sequence[float]


@dataclass(frozen=True, slots=True)
class Data:
    """Measurements: features (n × features), values and standard deviations (n).

    Examples
    --------
    >>> data = Data(np.zeros((3, 2)), np.array([0.1, 0.2, 0.3]), np.full(3, 0.05))
    >>> data.first(2).values.tolist()
    [0.1, 0.2]
    """

    where: Array
    values: Array
    sd: Array

    def first(self, count: int) -> Data:
        """The first so many."""
        return Data(self.where[:count], self.values[:count], self.sd[:count])
