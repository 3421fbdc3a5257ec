"""What generated movies show: kinds of layers, the ranges they are drawn from, and their sum.

Training and test share no map of pySTED's: those of actin and tubulin are divided between them,
and those of PSD95 are for tests only. All that is drawn at random is drawn again for each movie,
from the same ranges in both sets. `uneven` is for training, too: its movies run as unevenly as
real ones (see `movie_course`). `jumping` is for tests: nuclei that leap by up to 20 pixels a frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from scipy.ndimage import gaussian_filter

from agent.offline.simulate.movie_bodies import draw_cells, draw_nuclei
from agent.offline.simulate.movie_facts import SLOWEST_PX, DrawnWindow, Facts, Kind, Map
from agent.offline.simulate.movie_layers import Layer
from agent.offline.simulate.movie_sheets import draw_haze, draw_network, draw_sheet
from agent.offline.simulate.movie_spots import draw_chromosomes, draw_vesicles
from agent.offline.simulate.population import Chance

MovieSet = Literal["training", "test", "uneven", "jumping"]
MOVIE_SETS: tuple[MovieSet, ...] = get_args(MovieSet)
LEAPS_PX: MappingProxyType[MovieSet, tuple[float, float]] = MappingProxyType(
    {"uneven": (SLOWEST_PX, 12.0), "jumping": (8.0, 20.0)}
)
"""Range of the fastest leaps of nuclei in sets that run unevenly (px/frame); chosen."""
_FOR_TRAINING = MappingProxyType[Kind, tuple[int, ...]](
    {"actin": (0, 1, 2, 3), "tubulin": (0, 1, 2, 3)}
)
MAPS: MappingProxyType[MovieSet, MappingProxyType[Kind, tuple[int, ...]]] = MappingProxyType(
    {
        "training": _FOR_TRAINING,
        "uneven": _FOR_TRAINING,
        "jumping": MappingProxyType({}),
        "test": MappingProxyType({"actin": (4, 5), "tubulin": (4, 5), "psd95": (0, 1, 2, 3, 4, 5)}),
    }
)
"""pySTED's maps that a set may show."""
_DRAWN: tuple[Kind, ...] = (
    *("vesicles", "nuclei", "chromosomes", "network", "filaments", "vesicles", "cells"),
    *("mesh", "nuclei", "bundles", "chromosomes", "vesicles", "patches", "axons"),
)
KINDS: MappingProxyType[MovieSet, tuple[Kind, ...]] = MappingProxyType(
    {
        "training": ("actin", "tubulin", "actin", *_DRAWN),
        "uneven": ("actin", "tubulin", "actin", *_DRAWN, "nuclei", "vesicles", "nuclei"),
        "jumping": ("nuclei",),
        "test": ("actin", "tubulin", "psd95", *_DRAWN),
    }
)
"""What the first layers of a set's movies are, by turns."""
_SECOND = 0.35
"""Share of the movies with a second layer; chosen."""
_COVERS = 0.4
"""Share of the second layers that the first one covers; chosen."""
_HAZE = 0.6
"""Share of the movies with light out of focus; chosen."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Layers of a movie, one behind the other.

    Parameters
    ----------
    layers, strengths
        From the front to the back, and what each is multiplied by.
    covers
        Share of the light from behind that the first one takes where it is densest.
    first, second
        Their parameters; None where there is no second one.
    haze
        Strength of the last layer, out of focus everywhere; 0 for none.
    """

    layers: tuple[Layer, ...]
    strengths: tuple[float, ...]
    covers: float
    first: Facts
    second: Facts | None
    haze: float

    def at(self, t: float) -> Map:
        """Density at a time (frames), rows × columns."""
        front, *behind = (
            strength * layer.at(t)
            for layer, strength in zip(self.layers, self.strengths, strict=True)
        )
        if not behind:
            return front
        rest: Map = np.sum(behind, axis=0)
        return front + rest * (1 - self.covers * (1 - np.exp(-3 * front)))


def draw_scene(rng: Chance, name: MovieSet, index: int, window: DrawnWindow) -> Scene:
    """A random scene.

    Parameters
    ----------
    rng
        Where chance comes from.
    name, index
        Set, and movie in it: what the first layer shows goes round.
    window
        Its purpose.
    """
    kinds = KINDS[name]
    first, first_facts = _draw_layer(rng, kinds[index % len(kinds)], name, window)
    layers, strengths = [first], [_unit(first, window)]
    second_facts, covers, haze = None, 0.0, 0.0
    if rng.happens(_SECOND):
        kind = kinds[int(rng.integers(len(kinds)))]
        second, second_facts = _draw_layer(rng, kind, name, window)
        layers.append(second)
        strengths.append(rng.log_uniform(0.15, 1) * _unit(second, window))
        covers = rng.uniform(0.4, 1) if rng.happens(_COVERS) else 0.0
    if rng.happens(_HAZE):
        haze = rng.log_uniform(0.02, 0.5)
        layer = draw_haze(rng, window)
        layers.append(layer)
        strengths.append(haze * _unit(layer, window))
    return Scene(tuple(layers), tuple(strengths), covers, first_facts, second_facts, haze)


def _unit(layer: Layer, window: DrawnWindow) -> float:
    """What brings the brightest of a layer to 1."""
    top = float(gaussian_filter(layer.at(window.middle), 1.0).max())
    return 1 / top if top > 0 else 0.0


def _draw_layer(
    rng: Chance, kind: Kind, name: MovieSet, window: DrawnWindow
) -> tuple[Layer, Facts]:
    draw = _OBJECTS.get(kind)
    if draw is not None:
        return draw(rng, window)
    return draw_sheet(rng, kind, MAPS[name].get(kind), window)


_OBJECTS: MappingProxyType[Kind, Callable[[Chance, DrawnWindow], tuple[Layer, Facts]]] = (
    MappingProxyType(
        {
            "vesicles": draw_vesicles,
            "chromosomes": draw_chromosomes,
            "nuclei": draw_nuclei,
            "cells": draw_cells,
            "network": draw_network,
        }
    )
)
