"""Hot pixels: single ones far above all that the optics could have put there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LOW, _HIGH = 1.0, 99.8
"""Percentiles whose distance is a frame's range (%); those of a tile's normalization."""
FAR = 4.0
"""Ranges above the lower percentile from which a pixel is hot; chosen. The brightest pixel of a
frame, real or simulated, lies within 3: the counts of a structure thin out towards the brightest,
and a focus is no point."""
_MOST = 1e-3
"""Share of the pixels above which bright ones are taken for the image; chosen."""
_SOME = 8
"""Step between the pixels that are looked at first; chosen."""


def without_hot_pixels(frame: NDArray[Any]) -> NDArray[Any]:
    """The same frame, or a copy in which hot pixels have the median of their neighbours.

    A pixel is hot if it lies four times the frame's range (1 to 99.8 percentile) above the lower
    percentile, and as far above the second brightest of its eight neighbours. One of them would
    otherwise be the frame's whole contrast. Where more than a thousandth of all pixels would be,
    or the two percentiles coincide, nothing is changed: then they may be what there is to see.

    Parameters
    ----------
    frame
        Rows × columns, finite, real numbers; 3 × 3 pixels or more.

    Examples
    --------
    >>> frame = np.random.default_rng(0).poisson(9, (64, 64))
    >>> frame[5, 5] = 4000
    >>> bool(without_hot_pixels(frame)[5, 5] < 20)
    True
    """
    if min(frame.shape) < 3 or frame.dtype.kind == "b":
        return frame
    top = float(frame.max())
    # Most frames end here: sorting all pixels takes ten times as long as some.
    low, high = np.percentile(frame.ravel()[::_SOME], (_LOW, _HIGH))
    if top <= low + FAR / 2 * float(high - low):
        return frame
    low, high = np.percentile(frame, (_LOW, _HIGH))
    far = FAR * float(high - low)
    if far <= 0 or top <= low + far:
        return frame
    found = np.argwhere(frame > low + far)
    if len(found) > max(1.0, _MOST * frame.size):
        return frame
    cleaned: NDArray[Any] | None = None
    padded = np.pad(frame, 1, mode="reflect")
    for row, column in found:
        window = padded[row : row + 3, column : column + 3].ravel()
        near = np.sort(np.delete(window, 4))
        if float(frame[row, column]) > float(near[-2]) + far:
            cleaned = frame.copy() if cleaned is None else cleaned
            cleaned[row, column] = near[4]
    return frame if cleaned is None else cleaned
