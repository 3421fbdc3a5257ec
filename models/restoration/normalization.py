"""Percentile normalization: the units in which the network sees frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Normalization:
    """Maps a frame's `low` percentile to 0 and its `high` percentile to 1, as CARE does.

    Kept with the weights, so that filtered values return in the frame's own units.

    Parameters
    ----------
    low, high
        Percentiles.

    Raises
    ------
    ValueError
        They are no percentiles in rising order.

    Examples
    --------
    >>> normalization = Normalization(low=0, high=100)
    >>> offset, scale = normalization.of(np.array([[10, 30]]))
    >>> normalization.apply(np.array([[20]]), offset, scale).tolist()
    [[0.5]]
    """

    low: float = 2.0
    high: float = 99.8

    def __post_init__(self) -> None:
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(
                f"normalization: found percentiles {self.low} and {self.high}; accepted:"
                " 0 ≤ low < high ≤ 100"
            )

    def of(self, frame: NDArray[Any]) -> tuple[float, float]:
        """Offset and scale of a frame (rows × columns), in its units.

        Where the two percentiles are the same, the scale is the frame's range, and 1 for a frame
        that is flat: it is never 0.
        """
        low, high = np.percentile(frame, (self.low, self.high))
        scale = float(high - low)
        if not scale > 0:
            scale = float(np.max(frame)) - float(np.min(frame))
        return float(low), scale if scale > 0 else 1.0

    @staticmethod
    def apply(frame: NDArray[Any], offset: float, scale: float) -> Image:
        """A frame in normalized units, single precision."""
        return ((np.asarray(frame, np.float32) - np.float32(offset)) / np.float32(scale)).astype(
            np.float32, copy=False
        )

    @staticmethod
    def undo(image: Image, offset: float, scale: float) -> Image:
        """A normalized image in the frame's own units."""
        return (image * np.float32(scale) + np.float32(offset)).astype(np.float32, copy=False)

    def normalize(self, frame: NDArray[Any]) -> Image:
        """A frame normalized by its own percentiles."""
        return self.apply(frame, *self.of(frame))
