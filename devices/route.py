"""In which order to visit places for little travel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float]
_GAIN = 1e-9
"""Share of its length by which a way must get shorter for that to be no rounding."""
_SWEEPS = 50
"""Times that all pairs of ways are tried, at most; chosen: it ends where none is shorter."""


def shortest(points: Sequence[Point], start: Point, *, back: bool = False) -> list[int]:
    """Order points for little travel: the nearest next, then 2-opt.

    The best order is not promised; the result is the same each time.

    Parameters
    ----------
    points
        Where to go (µm), each x and y.
    start
        Where the stage is (µm).
    back
        Whether it goes round many times, back to the first point after the last: then the way
        round counts, and it begins at the point that is nearest to `start`. Else the way from
        `start` through all of them counts.

    Examples
    --------
    >>> shortest([(0, 9), (0, 2), (0, 5)], (0, 0))
    [1, 2, 0]
    >>> shortest([(0, 0), (9, 9), (9, 0), (0, 9)], (1, 1), back=True)
    [0, 2, 1, 3]
    """
    if not points:
        return []
    places = np.array([start, *points], dtype=np.float64)
    order = _greedy(places)
    order = np.append(order[1:], order[1]) if back else np.append(order, -1)
    order = _two_opt(places, order)[0 if back else 1 : -1]
    return [int(place) - 1 for place in order]


def length(points: Sequence[Point]) -> float:
    """How far it is along points, in their order."""
    steps = np.diff(np.array(points, dtype=np.float64).reshape(-1, 2), axis=0)
    return float(np.hypot(steps[:, 0], steps[:, 1]).sum())


def _greedy(places: NDArray[np.float64]) -> NDArray[np.intp]:
    """From the first place always to the nearest that is left."""
    left = np.arange(1, len(places))
    order = [0]
    while left.size:
        away = places[left] - places[order[-1]]
        nearest = int(np.argmin(np.hypot(away[:, 0], away[:, 1])))
        order.append(int(left[nearest]))
        left = np.delete(left, nearest)
    return np.array(order, dtype=np.intp)


def _two_opt(places: NDArray[np.float64], order: NDArray[np.intp]) -> NDArray[np.intp]:
    """Turn parts of a way round as long as that makes it shorter.

    Parameters
    ----------
    places
        x and y of each.
    order
        Numbers of the places; the first and the last stay where they are. -1 as the last is an
        open end, to which it is as near from anywhere.
    """
    is_open = order[-1] == -1
    at = places[order]  # an open end is anywhere, and its distances are taken as 0
    least = _GAIN * max(1.0, length([tuple(point) for point in at[: -1 if is_open else None]]))
    for _ in range(_SWEEPS):
        shorter = False
        for i in range(1, len(order) - 2):
            # Turn i … j round: (i - 1, i) and (j, j + 1) become (i - 1, j) and (i, j + 1).
            ends, after = at[i + 1 : -1], at[i + 2 :]
            before = _far(at[i - 1], at[i]) + _far(ends, after)
            now = _far(at[i - 1], ends) + _far(at[i], after)
            if is_open:
                before[-1] = _far(at[i - 1], at[i])
                now[-1] = _far(at[i - 1], ends[-1])
            best = int(np.argmax(before - now))
            if before[best] - now[best] > least:
                part = slice(i, i + best + 2)
                order[part], at[part] = order[part][::-1].copy(), at[part][::-1].copy()
                shorter = True
        if not shorter:
            break
    return order


def _far(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    between = one - other
    return np.asarray(np.hypot(between[..., 0], between[..., 1]))
