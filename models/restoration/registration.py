"""Shifts between the two frames of a pair, found and taken away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.filters import gaussian
from skimage.registration import phase_cross_correlation

from models.restoration.normalization import Image
from models.restoration.pairs import Pairs

_LARGEST_SHIFT = 0.1
"""Largest shift that is believed (share of the frame's side); chosen."""
_SMOOTH, _HAZE = 2.0, 8.0
"""Standard deviations of the blur of noise and of haze (pixels); chosen."""
# How many standard deviations of two unlike frames' correlation the shifted pair must correlate
# better. Noise alone finds a best shift, too.
_GAIN = 4.0


def register(pairs: Pairs) -> Pairs:
    """Pairs with the targets moved onto the inputs, both cropped to their common area.

    Shifts are whole pixels: interpolation would make the noise of neighbours alike, which is what
    the network learns to take for structure.

    Frames that share nothing fit somewhere by chance: a few pairs that seem to be shifted by more
    than a tenth of their side are left as they are.

    Raises
    ------
    ValueError
        Most pairs are shifted by more than a tenth of their side.

    Examples
    --------
    >>> from models.restoration.pairs import from_arrays
    >>> still = np.random.default_rng(0).random((2, 64, 64))
    >>> moved = np.roll(still, 5, axis=1)
    >>> register(from_arrays(still, moved)).shifts
    ((-5, 0), (-5, 0))
    """
    found = [shift_of(a.image, b.image) for a, b in zip(pairs.inputs, pairs.targets, strict=True)]
    far = [
        (source.name, shift)
        for source, shift in zip(pairs.inputs, found, strict=True)
        if _far(shift, source.image)
    ]
    if 2 * len(far) > len(found):
        name, (rows, columns) = far[0]
        raise ValueError(
            f"{pairs.source}: {name} is shifted by {rows} rows and {columns} columns between"
            f" {' and '.join(pairs.channels)}, and so are most; accepted: up to a tenth of the"
            " frame (set register: false if that is no shift)"
        )
    inputs, targets, shifts = [], [], []
    for source, target, shift in zip(pairs.inputs, pairs.targets, found, strict=True):
        rows, columns = (0, 0) if _far(shift, source.image) else shift
        shifts.append((rows, columns))
        inputs.append(replace(source, image=overlap(source.image, rows, columns)))
        targets.append(replace(target, image=overlap(target.image, -rows, -columns)))
    return replace(pairs, inputs=tuple(inputs), targets=tuple(targets), shifts=tuple(shifts))


def shift_of(source: Image, target: Image) -> tuple[int, int]:
    """Rows and columns by which `target` must move to lie on `source`.

    Found by phase correlation, and by the correlation of the smoothed frames without their haze,
    which noise leaves more alone; whichever makes the smoothed frames more alike where they
    overlap counts, and no shift if neither clearly does.

    Examples
    --------
    >>> still = np.random.default_rng(0).random((64, 64), dtype=np.float32)
    >>> shift_of(still, np.roll(still, (2, -3), axis=(0, 1)))
    (-2, 3)
    """
    if not (np.ptp(source) and np.ptp(target)):
        return 0, 0
    smooth = [gaussian(image, _SMOOTH) - gaussian(image, _HAZE) for image in (source, target)]
    window = np.outer(*(np.hanning(size + 2)[1:-1] for size in source.shape))
    tapered = [image * window for image in smooth]
    # After smoothing, so many pixels say the same.
    independent = source.size / (4 * np.pi * _SMOOTH**2)
    best, shift = _alike(smooth[0], smooth[1], 0, 0) + _GAIN / independent**0.5, (0, 0)
    for normalization in ("phase", None):
        found, _, _ = phase_cross_correlation(*tapered, normalization=normalization)
        rows, columns = (int(value) for value in found)
        likeness = _alike(smooth[0], smooth[1], rows, columns)
        if likeness > best:
            best, shift = likeness, (rows, columns)
    return shift


def _far(shift: tuple[int, int], image: Image) -> bool:
    return any(abs(by) > _LARGEST_SHIFT * size for by, size in zip(shift, image.shape, strict=True))


def _alike(source: NDArray[Any], target: NDArray[Any], rows: int, columns: int) -> float:
    """Correlation of two frames where they overlap; -1 where that is less than a quarter."""
    a, b = overlap(source, rows, columns), overlap(target, -rows, -columns)
    if 4 * a.size < source.size:
        return -1.0
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / norm if norm > 0 else 0.0


def overlap(image: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """What of `image` its partner also shows, after that was moved by so many rows and columns.

    Examples
    --------
    >>> overlap(np.zeros((10, 10)), 2, -3).shape
    (8, 7)
    """
    height, width = image.shape
    return image[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)]
