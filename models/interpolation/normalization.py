"""The units in which networks see a pair of frames, and the way back to the frames' own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.restoration.normalization import Image, Normalization

__all__ = ["Image", "Normalization", "as_type", "levels"]


def levels(
    normalization: Normalization, before: NDArray[Any], after: NDArray[Any]
) -> tuple[float, float]:
    """Offset and scale that two frames (rows × columns) have in common, in their units.

    From the percentiles of both together: a frame that is darker by bleaching stays darker.

    Examples
    --------
    >>> frame = np.linspace(0, 100, 101).reshape(1, -1)
    >>> levels(Normalization(low=0, high=100), frame, frame)
    (0.0, 100.0)
    """
    return normalization.of(np.stack([before, after]))


def as_type(image: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An image in the type of the measured frames: integers are rounded, and stay in their range.

    Nothing is rescaled.

    Examples
    --------
    >>> as_type(np.array([-0.4, 0.6, 300.0]), np.dtype(np.uint8)).tolist()
    [0, 1, 255]
    """
    if dtype.kind not in "ui":
        return image.astype(dtype, copy=False)
    span = np.iinfo(dtype)
    # In double precision, in which the largest 32-bit integers are themselves.
    return np.clip(np.rint(image.astype(np.float64)), span.min, span.max).astype(dtype)
