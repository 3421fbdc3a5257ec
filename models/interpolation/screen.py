"""Frames of a movie that were not measured: copies of another, and blends of their neighbours.

Players and converters fill gaps with them, and some public movies have them. A network that is
trained or judged on them learns that the truth is a blend.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# A measured frame differs from another by the noise of both, √2 of one's; from a blend of two by
# 1.2 times or more. Compression and rounding leave copies and blends a little off.
_COPY = 0.25
_BLEND = 0.4
"""The same of a blend; see `screen_movie`."""
# Of either neighbour in a blend, at least; with less it would be a copy.
_LEAST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Screening:
    """Findings in a movie.

    Parameters
    ----------
    kept
        Numbers of the measured frames, in their order.
    copies
        Numbers of the frames that repeat the one before.
    blends
        Numbers of the frames that are weighted means of their neighbours.
    """

    kept: tuple[int, ...]
    copies: tuple[int, ...]
    blends: tuple[int, ...]


def screen_movie(frames: Iterable[NDArray[Any]]) -> Screening:
    """Find copied and blended frames.

    A frame is a copy if it differs from the last measured one by less than a quarter of their
    noise, and a blend if the best weighted mean of its neighbours comes as near to it as two
    fifths of their noise. The noise is estimated from the neighbours' finest detail (Immerkær,
    Comput. Vis. Image Underst. 64, 300, 1996). Frames without noise are copies only of what
    is the same to the last bit, and no blends.

    Parameters
    ----------
    frames
        Each rows × columns; three of them are in memory at a time. Frames that are not finite are
        kept: they are another's business.

    Examples
    --------
    >>> frames = np.random.default_rng(0).poisson(9, (4, 32, 32))
    >>> screen_movie([*frames[:3], frames[2], frames[3]]).copies
    (3,)
    """
    copies: list[int] = []
    blends: list[int] = []
    count = 0
    last: deque[_Known] = deque(maxlen=3)
    for number, given in enumerate(frames):
        count += 1
        frame = np.asarray(given, np.float32)
        finite = bool(np.isfinite(frame).all())
        if last and finite and last[-1].finite:
            apart = _rms(frame - last[-1].frame)
            if apart == 0 or apart < _COPY * last[-1].noise:
                copies.append(number)
                continue
        last.append(_Known(number, frame, finite, _noise(frame) if finite else 0.0))
        if len(last) == 3 and all(known.finite for known in last):
            before, middle, after = last
            noise = min(before.noise, after.noise)
            if _blended(before.frame, middle.frame, after.frame, noise):
                blends.append(middle.number)
    left_out = {*copies, *blends}
    kept = tuple(number for number in range(count) if number not in left_out)
    return Screening(kept, tuple(copies), tuple(blends))


class _Known(NamedTuple):
    """A frame that is no copy."""

    number: int
    frame: NDArray[np.float32]
    finite: bool
    noise: float


def _blended(
    before: NDArray[np.float32],
    frame: NDArray[np.float32],
    after: NDArray[np.float32],
    noise: float,
) -> bool:
    change = (after - before).astype(np.float64)
    power = float(np.sum(change * change))
    if power == 0:
        return False
    share = float(np.sum((frame - before) * change)) / power
    if not _LEAST_SHARE < share < 1 - _LEAST_SHARE:
        return False
    return _rms(frame - before - share * change) < _BLEND * noise


def _noise(frame: NDArray[np.float32]) -> float:
    """Standard deviation of a frame's noise; 0 for frames too small to tell."""
    if min(frame.shape) < 3:
        return 0.0
    across = frame[:, :-2] - 2 * frame[:, 1:-1] + frame[:, 2:]
    both = across[:-2] - 2 * across[1:-1] + across[2:]
    return float(np.sqrt(np.mean(np.square(both, dtype=np.float64)))) / 6


def _rms(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
