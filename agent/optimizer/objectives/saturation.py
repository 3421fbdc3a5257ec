"""How much of a frame the detector could not show."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.quality.scope import saturated


def saturated_share(frame: NDArray[Any], ceiling: float | None = None) -> float:
    """Share of the pixels at the detector's ceiling.

    Known bias: without `ceiling`, fewer than one pixel in 2,000 at the largest value is taken
    for chance, and so is a pile-up in a frame of fewer than eight grey levels.

    Parameters
    ----------
    frame
        Rows × columns (counts or grey values).
    ceiling
        Largest value that the detector gives, in the frame's unit. Without it the frame's
        maximum is the ceiling if values pile up there (`models.quality.scope.saturated`).

    Returns
    -------
    float
        In [0, 1].

    Examples
    --------
    >>> saturated_share(np.array([[0, 255], [255, 7]], np.uint8), ceiling=255)
    0.5
    """
    if ceiling is None:
        if not saturated(frame):
            return 0.0
        ceiling = float(frame.max())
    return float(np.mean(frame >= ceiling))
