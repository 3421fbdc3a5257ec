"""Frames of any pixel size at that of the networks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PIXEL_SIZE_NM = 20.0
"""Pixel size at which frames are scored (nm)."""
Image = NDArray[np.float32]
# Closer than this to 20 nm a frame is taken as it is: resampling it would correlate the noise
# of neighbouring pixels, which changes a frame more than a size two percent off.
_CLOSE = 0.02


def _weights(size: int, step: float) -> NDArray[np.float64]:
    """Matrix (new, old) that resamples an axis of `size` pixels to pixels of `step` old ones."""
    count = max(1, int(np.floor(size / step + 1e-6)))
    if step > 1:
        # A larger pixel: the mean over the part of each old pixel that lies in it.
        left = np.arange(count)[:, None] * step
        old = np.arange(size)[None, :]
        overlap = np.minimum(left + step, old + 1) - np.maximum(left, old)
        weights = np.maximum(overlap, 0.0)
    else:
        # A smaller pixel: linear between the centres of the old ones.
        centre = np.clip((np.arange(count) + 0.5) * step - 0.5, 0, size - 1)
        weights = np.maximum(1 - np.abs(centre[:, None] - np.arange(size)[None, :]), 0.0)
    normalized: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalized


def as_it_is(pixel_size_nm: float) -> bool:
    """Whether frames of this pixel size are not resampled.

    Examples
    --------
    >>> as_it_is(20.0), as_it_is(50.0)
    (True, False)
    """
    return abs(PIXEL_SIZE_NM / pixel_size_nm - 1) <= _CLOSE


def resample(frame: Image, pixel_size_nm: float) -> Image:
    """Resample to 20 nm a pixel with the same factor along both axes.

    Finer pixels are averaged by area, as a detector with larger pixels would have counted;
    coarser ones are interpolated linearly, which adds no detail that was not scanned. The rest
    at the lower and right edge (less than a new pixel) is cut off rather than squeezed in.

    Parameters
    ----------
    frame
        Rows × columns.
    pixel_size_nm
        Pixel size of `frame` (nm).

    Examples
    --------
    >>> resample(np.ones((64, 64), np.float32), pixel_size_nm=10).shape
    (32, 32)
    """
    if as_it_is(pixel_size_nm):
        return frame
    step = PIXEL_SIZE_NM / pixel_size_nm
    rows, columns = (_weights(size, step) for size in frame.shape)
    resampled: Image = (rows @ frame @ columns.T).astype(np.float32)
    return resampled
