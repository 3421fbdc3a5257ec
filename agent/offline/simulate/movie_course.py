"""How a whole movie runs: at an uneven pace, and on a stage that trembles.

From frame to frame real movies do not move by the same: between two frames that are a step
apart, the one in the middle is half of a step or more off the middle, and a part of that the whole
field has in common. Nothing in the two frames tells it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agent.offline.simulate.population import Chance

Map = NDArray[np.float64]

_MOST_UNEVEN = 0.8
"""Largest standard deviation of the logarithm of a frame's step; chosen."""
_TREMBLING = 0.5
"""Share of the movies whose stage trembles; chosen."""
_MOST_TREMBLING_PX = 1.5
"""Largest standard deviation of that (px along each axis); measured in real movies: 0.7 to 1.3."""


@dataclass(frozen=True, slots=True)
class Course:
    """When each frame is of the sample's own time, and where the stage is.

    Parameters
    ----------
    times
        The sample's own time of each frame (frames, from 0 to the last frame's number).
    stage_px
        Where the field is seen, frames × 2 (px): one place for each frame, that the next one does
        not remember.
    unevenness, trembling_px
        What they were drawn with: standard deviations of the logarithm of a step, and of the
        place along each axis (px).
    """

    times: Map
    stage_px: Map = field(default_factory=lambda: np.zeros((0, 2)))
    unevenness: float = 0.0
    trembling_px: float = 0.0


def even(frames: int) -> Course:
    """A course without a surprise.

    Examples
    --------
    >>> even(3).times.tolist()
    [0.0, 1.0, 2.0]
    """
    return Course(np.arange(frames, dtype=float), np.zeros((frames, 2)))


def draw_course(rng: Chance, frames: int) -> Course:
    """A random one: lognormal steps, and a stage that trembles in half of the movies.

    Examples
    --------
    >>> course = draw_course(Chance(1), 9)
    >>> float(course.times[0]), float(course.times[-1])
    (0.0, 8.0)
    """
    unevenness = float(rng.uniform(0, _MOST_UNEVEN))
    steps = np.exp(unevenness * rng.normal(size=max(frames - 1, 0)))
    times = np.concatenate([[0.0], np.cumsum(steps)])
    if frames > 1:
        times *= (frames - 1) / times[-1]
        times[-1] = frames - 1
    trembling_px = float(rng.uniform(0, _MOST_TREMBLING_PX)) if rng.happens(_TREMBLING) else 0.0
    stage_px = trembling_px * rng.normal(size=(frames, 2))
    return Course(times, stage_px, unevenness, trembling_px)
