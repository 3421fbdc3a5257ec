"""What a layer of a generated movie is drawn with: its window, its flow, and its facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent.offline.simulate.movie_motion import Flow, draw_flow
from agent.offline.simulate.movie_tracks import jitter, leaps, runs
from agent.offline.simulate.population import Chance

Map = NDArray[np.float64]
Kind = Literal[
    "actin",
    "tubulin",
    "psd95",
    "filaments",
    "bundles",
    "axons",
    "mesh",
    "patches",
    "vesicles",
    "nuclei",
    "cells",
    "chromosomes",
    "network",
]
FASTEST_PX = 8.0
"""Nothing is meant to move faster on its own, nor any flow (px/frame); chosen."""
SLOWEST_PX = 0.6
"""Slowest speed drawn of what moves (px/frame); chosen."""
_STILL = 0.05
"""Share of the layers that no flow carries; chosen."""
_WANDER = (0.2, 0.7)
"""Range of what a flow adds from frame to frame and does not remember, as a share of its speed."""
_LEAPING = 0.7
"""Share of the layers of objects in uneven movies that leap; chosen."""
_STRAIN = (0.02, 0.25)
"""Range of how much neighbours in a flow differ in speed (1/frame); chosen."""
_MARGIN_PX = 40.0
"""Farthest from the window that anything is drawn (px); chosen: the memory of it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What one layer was drawn with; columns of the table.

    Parameters
    ----------
    kind, maps
        Its kind, and the maps of pySTED that it is made of.
    flow_px, strain, drifting
        The flow that carries it: fastest anywhere (px/frame), how much neighbours may differ
        (1/frame), and the share of the speed that is common drift.
    own_px
        The fastest that objects move on their own (px/frame): transport, migration, or each
        half of what divides.
    objects, size_px
        How many objects there are, in view or near it, and their standard deviation, radius or
        pitch (px); of a sheet, the pixels of its texture in one of the movie.
    fleeting
        Share of the objects that appear or disappear.
    dividing
        How many objects begin to divide, or part, during the movie.
    """

    kind: Kind
    maps: str = ""
    flow_px: float = 0.0
    strain: float = 0.0
    drifting: float = 0.0
    own_px: float = 0.0
    objects: int = 0
    size_px: float = 0.0
    fleeting: float = 0.0
    dividing: int = 0


@dataclass(frozen=True, slots=True)
class DrawnWindow:
    """What a layer is drawn for.

    Parameters
    ----------
    size_px
        Side of its square window.
    frames
        How many.
    leaps_px
        Range of the fastest that single objects leap (px/frame), where movies are as uneven as real
        ones; None where everything moves smoothly.
    """

    size_px: int
    frames: int
    leaps_px: tuple[float, float] | None = None

    @property
    def middle(self) -> float:
        """Time (frames) in the middle of the movie."""
        return (self.frames - 1) / 2

    def reach_px(self, speed: float) -> float:
        """How far from the window something may be that a flow of this speed brings into it."""
        return min(speed * self.frames, _MARGIN_PX) + 4


def flow_of_layer(
    rng: Chance, kind: Kind, window: DrawnWindow, fastest: float = FASTEST_PX
) -> tuple[Flow, Facts]:
    """A flow for a layer of some kind, and the properties known so far."""
    if rng.happens(_STILL):
        return Flow(), Facts(kind)
    speed = rng.log_uniform(SLOWEST_PX, fastest)
    strain = rng.log_uniform(*_STRAIN)
    drifting = float(rng.uniform(0, 0.9))
    wander = float(rng.uniform(*_WANDER)) if window.leaps_px else 0.0
    flow = draw_flow(rng, speed, strain, drifting, window.size_px, window.frames, wander)
    return flow, Facts(kind, flow_px=speed, strain=strain, drifting=drifting)


def scattered(rng: Chance, objects: int, window: DrawnWindow, speed: float) -> Map:
    """Places (objects × 2, px) in the window and around it."""
    reach = window.reach_px(speed)
    return rng.uniform(-reach, window.size_px + reach, (objects, 2))


def own_motion(rng: Chance, objects: int, window: DrawnWindow, speed: float) -> Map:
    """Own velocities (steps × objects × 2): transport, wandering about, or leaps."""
    if window.leaps_px is not None and rng.happens(_LEAPING):
        return leaps(rng, objects, window.frames, speed)
    return (runs if rng.happens(0.6) else jitter)(rng, objects, window.frames, speed)
