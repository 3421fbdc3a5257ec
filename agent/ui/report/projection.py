"""How the planes of a z-stack become one picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Planes = Sequence[NDArray[Any]]


def maximum(planes: Planes) -> NDArray[Any]:
    """The brightest value of each pixel (rows × columns).

    Raises
    ------
    ValueError
        Planes are of several sizes.

    Examples
    --------
    >>> maximum([np.array([[1, 5]]), np.array([[3, 2]])])
    array([[3, 5]])
    """
    return np.asarray(np.max(np.stack(planes), axis=0))


def mean(planes: Planes) -> NDArray[Any]:
    """The mean of each pixel (rows × columns), float32.

    Raises
    ------
    ValueError
        Planes are of several sizes.
    """
    return np.asarray(np.mean(np.stack(planes), axis=0, dtype=np.float32))


NAMES = {"max": "maximum", "mean": "mean"}
PROJECTIONS: Mapping[str, Callable[[Planes], NDArray[Any]]] = {"max": maximum, "mean": mean}
"""By the names that a page asks for."""
