"""Frames of any pixel size at that of the networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXEL_SIZE_NM = 20.0
"""Pixel size at which frames are scored (nm)."""
Image = NDArray[np.float32]
# Closer than this to 20 nm a frame is taken as it is: nothing in it becomes two percent larger.
_CLOSE = 0.02
_FINE = 0.75
"""Share of a frame's band above which its detail is taken for noise; chosen."""
_AROUND = 9
"""Pixels on a side over which the level of noise is averaged; chosen."""


def as_it_is(pixel_size_nm: float) -> bool:
    """Whether frames of this pixel size are not resampled.

    Examples
    --------
    >>> as_it_is(20.0), as_it_is(50.0)
    (True, False)
    """
    return abs(PIXEL_SIZE_NM / pixel_size_nm - 1) <= _CLOSE


def resample(frame: Image, pixel_size_nm: float) -> Image:
    """Resample to 20 nm a pixel with the same factor along both axes; noise stays white.

    Means over neighbours would share noise between new pixels, and a network that judges by a
    frame's power spectrum would take the lower noise for better quality. So the frame's
    frequencies (its cosine transform, which knows no edges) are cut off at what pixels of 20 nm
    can hold: white noise keeps its power at every frequency that is left, as if the detector had
    had the larger pixels. Coarser pixels lack the highest frequencies. There, noise as strong as
    the frame's own, place by place, is filled in: detail that was not scanned is not added.

    The rest at the lower and right edge (less than a new pixel) is cut off rather than squeezed
    in. The same frame always gives the same result.

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
    shape = [max(1, int(np.floor(length / step + 1e-6))) for length in frame.shape]
    covered = [
        min(length, max(1, round(count * step)))
        for length, count in zip(frame.shape, shape, strict=True)
    ]
    whole = frame[: covered[0], : covered[1]]
    kept = [min(count, old) for count, old in zip(shape, covered, strict=True)]
    rows, columns = map(_cut_off, shape, covered, kept)
    resampled: Image = np.asarray(rows @ whole @ columns.T, np.float32)
    if kept != shape:
        noise = _noise_like(whole, (shape[0], shape[1]))
        rows, columns = map(_cut_off, shape, shape, kept)
        resampled += noise - np.asarray(rows @ noise @ columns.T, np.float32)
    return resampled


def _cut_off(new: int, old: int, kept: int) -> NDArray[np.float32]:
    """Matrix (new, old) that takes an axis to `new` pixels with its `kept` lowest frequencies.

    That is the cosine transform, cut off, and its inverse: a sum of cosines, of which there is a
    closed form (Dirichlet's kernel). Means stay what they are.
    """
    place = np.pi * (np.arange(new)[:, None] + 0.5) / new
    known = np.pi * (np.arange(old)[None, :] + 0.5) / old

    def kernel(angle: NDArray[np.float64]) -> NDArray[np.float64]:
        below = np.sin(angle / 2)
        same = np.abs(below) < 1e-9
        ratio = np.sin((kept - 0.5) * angle) / np.where(same, 1.0, below)
        return np.where(same, 2 * kept - 1.0, ratio)

    matrix: NDArray[np.float64] = (kernel(place - known) + kernel(place + known)) / (2 * old)
    return matrix.astype(np.float32)


def _noise_like(frame: Image, shape: tuple[int, int]) -> Image:
    """White noise of another shape and the same power, at each place as strong as the frame's."""
    coarse = [max(1, int(_FINE * n)) for n in frame.shape]
    share = 1 - coarse[0] * coarse[1] / frame.size
    if share <= 0:
        return np.zeros(shape, np.float32)
    rows, columns = map(_cut_off, frame.shape, frame.shape, coarse)
    level = _averaged((frame - rows @ frame @ columns.T) ** 2) / share
    near = (
        np.minimum((np.arange(n) + 0.5) / n * old, old - 1).astype(int)
        for n, old in zip(shape, frame.shape, strict=True)
    )
    drawn = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    # Of the same light a smaller pixel has less, and so more noise for its mean.
    stronger = np.float32(shape[0] * shape[1] / frame.size)
    noise: Image = drawn * np.sqrt(level * stronger).astype(np.float32)[np.ix_(*near)]
    return noise


def _averaged(image: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Mean over the pixels around each, of those that there are."""
    reach = _AROUND // 2
    mean = image.astype(np.float64)
    for axis in (0, 1):
        sums = np.cumsum(np.insert(mean, 0, 0.0, axis=axis), axis=axis)
        length = mean.shape[axis]
        low = np.maximum(np.arange(length) - reach, 0)
        high = np.minimum(np.arange(length) + reach + 1, length)
        count = (high - low).reshape((-1, 1) if axis == 0 else (1, -1))
        mean = (sums.take(high, axis) - sums.take(low, axis)) / count
    return np.maximum(mean, 0.0)
