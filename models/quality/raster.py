"""What happened to a frame between detector and file, told from its noise and its lines.

A score rests on noise that is alone in each pixel, and on lines that lie where they were scanned.
Exports that smooth, a mirror whose way back is displaced, and channels that take turns by lines
break that, and the score alone does not show it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.quality.score import Flag

_REGION = 320
"""Rows and columns in the middle of a frame that are looked at (pixels): enough, and quick."""
_BLOCK = 8
"""Side of the blocks that are sorted by brightness (pixels); chosen."""
_GROUPS = 8
"""How many groups of blocks, from dark to bright; chosen."""
_LEAST_BLOCKS = 64
"""Blocks without which nothing is said about the noise: 64 × 64 pixels; chosen."""
_LEAST_LINES = 32
"""Likewise lines, without which nothing is said about them; chosen."""
_ROUGH = 0.93
"""Least ratio of fourth to third differences in white noise; of simulated frames it was 0.96 or
more."""
_WHITE = 1.01
"""The same ratio, above which the noise is white, whatever lower differences say."""
_ROUGH_FINE, _ROUGH_COARSE = 0.77, 0.7
"""Likewise of second to first ones, up to 21 nm a pixel and beyond, where a sharp structure is
only two pixels wide itself; of 99 in 100 simulated frames it was more."""
_FINE_NM = 21.0
"""Side of a pixel that parts the two (nm); chosen: just above the networks' own 20 nm."""
_APART = 3
"""Distance of pixels whose medians over 3 × 3 have nothing in common (pixels)."""
_TIED, _TIED_LEAST, _TIED_FAR, _ROUGH_TIED = 1.6, 0.055, 0.15, 0.93
"""See `_is_tied`; chosen between simulated frames, in 8 bits also, and their medians."""
_FEWEST_PAIRS = 500
"""Pairs of which fewer say little; chosen."""
_FARTHEST = 12
"""Largest displacement of every other line that is looked for (pixels); chosen."""
_SURE = 3.5
"""Standard errors by which lines must say so; chosen."""
_STRANGE = 2.0
"""Standard errors by which lines of different things must say so: less, since the lines of none of
1500 simulated frames of one thing said so by more than 1; chosen."""
_STRANGERS = 0.5
"""Covariance of neighbouring lines over that of every other one, below which they show different
things; 0.95 or more in good frames."""


class Lines(NamedTuple):
    """How lines fit their neighbours.

    Parameters
    ----------
    shift
        Displacement of every other line with which they fit best (pixels).
    gain
        By how many standard errors they then fit better than as they lie.
    kinship
        Covariance with the neighbours, so displaced, over that with the lines beyond them.
    strangeness
        By how many standard errors the lines beyond fit better; 0 where lines fit as they lie.
    """

    shift: int
    gain: float
    kinship: float
    strangeness: float


def raster_flags(frame: NDArray[Any], pixel_size_nm: float) -> list[Flag]:
    """`smoothed`, `phase` or `interleaved`; see `score.FLAGS`.

    Examples
    --------
    >>> light = 2 + 40 * np.exp(-((np.indices((96, 96)).sum(0) % 24 - 12.0) ** 2) / 8)
    >>> frame = np.random.default_rng(0).poisson(light)
    >>> raster_flags(frame, 20.0), raster_flags((frame[1:] + frame[:-1]) / 2, 20.0)
    ([], ['smoothed'])
    """
    middle = _middle(frame)
    found: list[Flag] = []
    if _is_smoothed(middle, pixel_size_nm):
        found.append("smoothed")
    lines = lines_of(middle)
    if lines is not None and lines.strangeness > _STRANGE and lines.kinship < _STRANGERS:
        found.append("interleaved")
    elif lines is not None and lines.gain > _SURE:
        found.append("phase")
    return found


def _middle(frame: NDArray[Any]) -> NDArray[np.float32]:
    rows, columns = (
        slice((n - min(n, _REGION)) // 2, (n + min(n, _REGION)) // 2) for n in frame.shape
    )
    return np.ascontiguousarray(frame[rows, columns], dtype=np.float32)


def _is_smoothed(frame: NDArray[np.float32], pixel_size_nm: float) -> bool:
    roughness = roughness_of(frame)
    if roughness is None:
        return False
    least = _ROUGH_FINE if pixel_size_nm <= _FINE_NM else _ROUGH_COARSE
    if roughness[0] < _ROUGH or (roughness[0] < _WHITE and roughness[1] < least):
        return True
    return _is_tied(ties_of(frame), roughness[1])


def _is_tied(ties: tuple[float, float], roughness: float) -> bool:
    """Whether neighbours are the same far more often than pixels farther apart are.

    A median filter leaves steps between plateaus, which look nearly as rough as noise, but
    neighbours often have the same median (Kirchner and Fridrich, SPIE 7541, 2010). So they do where
    few grey levels show a smooth structure without noise; then they are as rough as noise.
    """
    near, apart = ties
    excess = near - _TIED * apart
    return excess > _TIED_FAR or (excess > _TIED_LEAST and roughness < _ROUGH_TIED)


def ties_of(frame: NDArray[np.float32]) -> tuple[float, float]:
    """Share of pairs in a line that are the same: neighbours, and pixels beyond a median's reach.

    Of pairs of which one pixel is brighter than the mean, in every other line.

    Examples
    --------
    >>> noise = np.random.default_rng(0).poisson(9, (96, 96)).astype(np.float32)
    >>> near, apart = ties_of(noise)
    >>> round(near, 1), round(apart, 1)
    (0.1, 0.1)
    """
    lines = frame[::2]
    bright = (lines > lines.mean()) & (lines < lines.max())
    shares = []
    for lag in (1, _APART):
        asked = bright[:, lag:] | bright[:, :-lag]
        same = (lines[:, lag:] == lines[:, :-lag]) & asked
        pairs = max(_FEWEST_PAIRS, int(np.count_nonzero(asked)))
        shares.append(int(np.count_nonzero(same)) / pairs)
    return shares[0], shares[1]


def roughness_of(frame: NDArray[np.float32]) -> tuple[float, float] | None:
    """How white the noise is: 1 for white noise, less for noise that neighbours share.

    The energy of fourth over that of third differences of adjacent pixels, and of second over that
    of first ones, each by its value for white noise. A structure is smoother than noise and lowers
    them, too. So they are taken within blocks of like brightness, and the group of blocks where
    they are highest counts, along the axis where that is lower. None of a frame too small, or
    without noise.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(128, 128)).astype(np.float32)
    >>> [round(ratio, 1) for ratio in roughness_of(noise)]
    [1.0, 1.0]
    """
    lowest: list[NDArray[np.float64]] = []
    for along in (frame, frame.T):
        # Every other row of blocks of larger frames: they are many enough. The last block of a
        # line has no more pixels behind it to take differences to.
        step = _BLOCK * (2 if frame.size >= 8 * _LEAST_BLOCKS * _BLOCK**2 else 1)
        rows, columns = along.shape[0] // step, along.shape[1] // _BLOCK - 1
        if rows * columns < _LEAST_BLOCKS:
            return None
        along = along[: rows * step].reshape(rows, step, -1)[:, :_BLOCK].reshape(rows * _BLOCK, -1)
        means = _over_blocks(along, rows, columns)
        energies, differences = [], along
        for _ in range(4):
            differences = differences[:, 1:] - differences[:, :-1]
            energies.append(_over_blocks(differences * differences, rows, columns))
        order = np.argsort(means, kind="stable")
        least, more = divmod(order.size, _GROUPS)
        starts = least * np.arange(_GROUPS) + np.minimum(np.arange(_GROUPS), more)
        groups = np.add.reduceat(np.array(energies, np.float64)[:, order], starts, axis=1)
        # A group that is dark but for a few photons says little.
        of = least + (np.arange(_GROUPS) < more)
        lit = np.add.reduceat(energies[2][order] > 0, starts, dtype=np.intp) > of / 2
        if not lit.any():
            return None
        first, second, third, fourth = groups[:, lit]
        lowest.append(np.array([(fourth / third).max() / 3.5, (second / first).max() / 3.0]))
    lower = np.minimum(*lowest)
    return float(lower[0]), float(lower[1])


def _over_blocks(image: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Sums over the first rows × columns blocks, in their order."""
    lines = image[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, -1).sum(1)
    # Sums over few neighbours are quicker as a product.
    sums: NDArray[np.float32] = lines.reshape(-1, _BLOCK) @ np.ones(_BLOCK, np.float32)
    return sums


def lines_of(frame: NDArray[np.float32]) -> Lines | None:
    """How every other line fits its neighbours; None of too few lines, or of ones that are flat.

    Noise of different lines has nothing in common, so that their covariance is that of what they
    show. Slow changes along a line count less (its derivative is taken, and the finest detail left
    out), so that light common to two channels does not make them kin. A structure that leans to
    one side fits its two neighbours best in the middle between both.

    Examples
    --------
    >>> light = 2 + 40 * np.exp(-((np.indices((96, 96)).sum(0) % 24 - 12.0) ** 2) / 8)
    >>> frame = np.random.default_rng(0).poisson(light).astype(np.float32)
    >>> frame[1::2] = np.roll(frame[1::2], 3, axis=1)
    >>> lines_of(frame).shift
    3
    """
    count, length = (frame.shape[0] - 1) // 2 * 2 + 1, frame.shape[1]
    if count < _LEAST_LINES or length < _LEAST_LINES:
        return None
    lines = frame[:count] - frame[:count].mean(1, keepdims=True)
    at = 2 * np.pi * np.arange(length // 2 + 1) / length
    weight = (at * np.exp(-(at**2) / 2)).astype(np.float32)
    waves = np.fft.rfft(lines, axis=1) * weight
    odd, even = waves[1::2], waves[::2]
    near = np.conj(even[:-1] + even[1:])
    near /= 2
    # Covariance with the neighbours by displacement, of all lines together.
    both = np.fft.irfft(np.einsum("ij,ij->j", near, odd), length)
    reach = min(_FARTHEST, length // 4)
    around = np.concatenate([both[-reach:], both[: reach + 1]])
    shift = int(np.argmax(around)) - reach
    beyond = (np.conj(even[:-1]) * even[1:]).real.sum(1, dtype=np.float64)
    if not (whole := 2 * float(beyond.sum()) / length) > 0:
        return None
    kinship = float(around.max()) / whole
    if shift == 0 and kinship >= _STRANGERS:
        return Lines(0, 0.0, kinship, 0.0)
    products = near * odd
    here = products.real.sum(1, dtype=np.float64)
    moved = (products * np.exp(1j * at * shift)).real.sum(1, dtype=np.float64)
    return Lines(shift, _standard_errors(moved - here), kinship, _standard_errors(beyond - moved))


def _standard_errors(values: NDArray[np.float64]) -> float:
    """Mean over its standard error."""
    error = float(values.std()) / np.sqrt(len(values))
    return float(values.mean()) / error if error > 0 else 0.0
