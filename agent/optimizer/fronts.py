"""Fronts between score and bleaching."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def non_dominated(score: Array, bleached: Array) -> list[int]:
    """Numbers of the points with more score or less bleaching than any other, gentlest first.

    Examples
    --------
    >>> non_dominated(np.array([0.5, 0.4, 0.9]), np.array([0.1, 0.2, 0.3]))
    [0, 2]
    """
    front: list[int] = []
    best = -np.inf
    for at in np.lexsort((-score, bleached)):
        if score[at] > best:
            best = score[at]
            front.append(int(at))
    return front


def spread_out(front: list[int], score: Array, bleached: Array, count: int) -> list[int]:
    """At most `count` of a front, at even steps along its length, both ends among them.

    Examples
    --------
    >>> score = bleached = np.linspace(0, 1, 5)
    >>> spread_out([0, 1, 2, 3, 4], score, bleached, count=3)
    [0, 2, 4]
    """
    if len(front) <= count:
        return front
    line = np.stack([score[front], bleached[front]], axis=1)
    steps = np.abs(np.diff(line, axis=0)) / np.maximum(np.ptp(line, axis=0), 1e-12)
    along = np.concatenate([[0.0], np.cumsum(steps.sum(axis=1))])
    nearest = np.abs(along[None, :] - np.linspace(0, along[-1], count)[:, None]).argmin(axis=1)
    return [front[at] for at in np.unique(nearest)]
