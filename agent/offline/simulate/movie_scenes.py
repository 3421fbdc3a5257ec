"""What generated movies show: kinds of layers, the ranges they are drawn from, and their sum.

Training and test share no map of pySTED's: those of actin and tubulin are divided between them,
and those of PSD95 are for tests only. All that is drawn at random is drawn again for each movie,
from the same ranges in both sets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from agent.offline.simulate.movie_layers import Layer, Network, Sheet
from agent.offline.simulate.movie_motion import Flow, draw_flow, follow, jitter, runs, steps_of
from agent.offline.simulate.movie_objects import Bodies, Spots, smooth_step
from agent.offline.simulate.off_target import smooth_field
from agent.offline.simulate.population import Chance
from devices.config import Structure
from devices.virtual.sample import canvas

Map = NDArray[np.float64]
MovieSet = Literal["training", "test"]
MOVIE_SETS: tuple[MovieSet, ...] = get_args(MovieSet)
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

MAPS: MappingProxyType[MovieSet, MappingProxyType[Kind, tuple[int, ...]]] = MappingProxyType(
    {
        "training": MappingProxyType({"actin": (0, 1, 2, 3), "tubulin": (0, 1, 2, 3)}),
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
        "test": ("actin", "tubulin", "psd95", *_DRAWN),
    }
)
"""What the first layers of a set's movies are, by turns."""

FASTEST_PX = 8.0
"""Nothing is meant to move faster on its own, nor any flow (px/frame)."""
_SLOWEST_PX = 0.6
_STILL = 0.05
_STRAIN = (0.02, 0.25)
_FLEETING = 0.4
_SECOND = 0.35
_COVERS = 0.4
_HAZE = 0.6
_MARGIN_PX = 40.0


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
class Window:
    """What a layer is drawn for: the side of its square window (px), and how many frames."""

    size_px: int
    frames: int

    @property
    def middle(self) -> float:
        """Time (frames) in the middle of the movie."""
        return (self.frames - 1) / 2

    def reach_px(self, speed: float) -> float:
        """How far from the window something may be that a flow of this speed brings into it."""
        return min(speed * self.frames, _MARGIN_PX) + 4


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


def draw_scene(rng: Chance, name: MovieSet, index: int, window: Window) -> Scene:
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
        layer = _haze(rng, window)
        layers.append(layer)
        strengths.append(haze * _unit(layer, window))
    return Scene(tuple(layers), tuple(strengths), covers, first_facts, second_facts, haze)


def _unit(layer: Layer, window: Window) -> float:
    """What brings the brightest of a layer to 1."""
    top = float(gaussian_filter(layer.at(window.middle), 1.0).max())
    return 1 / top if top > 0 else 0.0


def _draw_layer(rng: Chance, kind: Kind, name: MovieSet, window: Window) -> tuple[Layer, Facts]:
    draw = _OBJECTS.get(kind)
    if draw is not None:
        return draw(rng, window)
    return _sheet(rng, kind, MAPS[name].get(kind), window)


def _flow(
    rng: Chance, kind: Kind, window: Window, fastest: float = FASTEST_PX
) -> tuple[Flow, Facts]:
    """A flow for a layer of some kind, and the properties known so far."""
    if rng.happens(_STILL):
        return Flow(), Facts(kind)
    speed = rng.log_uniform(_SLOWEST_PX, fastest)
    strain = rng.log_uniform(*_STRAIN)
    drifting = float(rng.uniform(0, 0.9))
    flow = draw_flow(rng, speed, strain, drifting, window.size_px, window.frames)
    return flow, Facts(kind, flow_px=speed, strain=strain, drifting=drifting)


def _sheet(
    rng: Chance, kind: Kind, maps: tuple[int, ...] | None, window: Window
) -> tuple[Layer, Facts]:
    structure: Structure = next(known for known in get_args(Structure) if known == kind)
    flow, facts = _flow(rng, kind, window)
    scale = rng.log_uniform(0.5, 1.4)
    # At the movie's middle nothing is deformed: either end is half of the way from there.
    side = window.size_px + 2 * (facts.flow_px * window.middle + 4)
    texture = canvas(structure, int(np.ceil(side * scale)), rng, maps).astype(np.float64)
    layer = Sheet(texture, flow, window.size_px, scale=scale, reference=window.middle)
    shown = " ".join(map(str, maps or ()))
    return layer, replace(facts, maps=shown, size_px=scale)


def _haze(rng: Chance, window: Window) -> Layer:
    """The light out of focus: smooth, in a part of the field, and slow."""
    flow, facts = _flow(rng, "patches", window, fastest=2.0)
    side = int(window.size_px + 2 * (facts.flow_px * window.middle + 4))
    length = rng.log_uniform(10, 45)
    region = smooth_field(side, length, rng) - rng.uniform(-1.5, 0.5)
    rough = np.exp(rng.uniform(0, 0.4) * smooth_field(side, rng.uniform(2, 6), rng))
    return Sheet(smooth_step(region / 1.5) * rough, flow, window.size_px, reference=window.middle)


def _scattered(rng: Chance, objects: int, window: Window, speed: float) -> Map:
    """Places (objects × 2, px) in the window and around it."""
    reach = window.reach_px(speed)
    return rng.uniform(-reach, window.size_px + reach, (objects, 2))


def _apart(rng: Chance, objects: int, distance: float, window: Window, speed: float) -> Map:
    """Places like `_scattered`, at least so far from each other; fewer where there is no room."""
    kept: list[Map] = []
    for place in _scattered(rng, 4 * objects, window, speed):
        if len(kept) < objects and all(np.hypot(*(place - one)) > distance for one in kept):
            kept.append(place)
    return np.array(kept)


def _own(rng: Chance, objects: int, window: Window, speed: float) -> Map:
    """Own velocities (steps × objects × 2): transport, or wandering about."""
    return (runs if rng.happens(0.6) else jitter)(rng, objects, window.frames, speed)


def _vesicles(rng: Chance, window: Window) -> tuple[Layer, Facts]:
    flow, facts = _flow(rng, "vesicles", window, fastest=3.0)
    own_px = rng.log_uniform(_SLOWEST_PX, FASTEST_PX)
    objects = int(rng.log_uniform(8, 320))
    places = _scattered(rng, objects, window, own_px + facts.flow_px)
    if rng.happens(0.5):
        # Around an organelle or two, densely.
        centres = rng.uniform(0.25, 0.75, (int(rng.integers(1, 4)), 2)) * window.size_px
        some = rng.random(objects) < rng.uniform(0.4, 1)
        near = centres[rng.integers(len(centres), size=objects)]
        spread = rng.log_uniform(0.04, 0.2) * window.size_px
        places[some] = near[some] + spread * rng.normal(size=(int(some.sum()), 2))
    # The more there are, the smaller.
    size = rng.log_uniform(0.7, 3.5 if objects < 80 else 1.8)
    sigma = np.clip(size * rng.uniform(0.6, 1.4, objects), 0.6, None)
    fleeting = float(rng.uniform(0.1, 0.6)) if rng.happens(_FLEETING) else 0.0
    born, gone = _lives(rng, objects, fleeting, window)
    layer = Spots(
        tracks=follow(places, _own(rng, objects, window, own_px), flow),
        sigma_px=sigma,
        brightness=np.exp(rng.normal(0, rng.uniform(0.1, 0.7), objects)),
        born=born,
        gone=gone,
        fade=np.full(objects, rng.log_uniform(0.3, 3)),
        hollow=float(rng.uniform(1.5, 3)) if rng.happens(0.15) else 0.0,
        size_px=window.size_px,
    )
    return layer, replace(facts, own_px=own_px, objects=objects, size_px=size, fleeting=fleeting)


def _lives(rng: Chance, objects: int, fleeting: float, window: Window) -> tuple[Map, Map]:
    """When objects come and go (frames), most of them before and after the movie."""
    born, gone = np.full(objects, -np.inf), np.full(objects, np.inf)
    for times in (born, gone):
        some = rng.random(objects) < fleeting / 2
        times[some] = rng.uniform(-1, window.frames, int(some.sum()))
    # One that would go before it came is there for a moment.
    return born, np.maximum(gone, born + rng.uniform(1, 4, objects))


def _chromosomes(rng: Chance, window: Window) -> tuple[Layer, Facts]:
    """Grains in a plate, whose halves are drawn apart."""
    flow, facts = _flow(rng, "chromosomes", window, fastest=3.0)
    pairs, own_px = int(rng.integers(10, 46)), rng.log_uniform(0.8, 6)
    sigma, steps = rng.log_uniform(1.4, 3.2), steps_of(window.frames)
    times = np.linspace(0, window.frames - 1, steps)[:, None]
    begins = float(rng.uniform(-0.3, 1.1)) * window.frames
    # They start together, but for a little.
    lag = begins + rng.normal(0, 0.4, 2 * pairs)
    pulled = smooth_step((times - lag) / 2) * np.exp(-np.maximum(times - lag, 0) / 8)
    side = np.tile([-1.0, 1.0], pairs)
    angle = rng.uniform(0, 2 * np.pi) + rng.normal(0, 0.03) * times
    across = np.stack([np.cos(angle), -np.sin(angle)], axis=-1)
    pace = 0.8 * own_px * rng.uniform(0.7, 1, 2 * pairs)
    own = (side * pace * pulled)[..., None] * across
    own = own + jitter(rng, 2 * pairs, window.frames, min(0.3 * own_px, 1.2))
    middle = rng.uniform(0.3, 0.7, 2) * window.size_px
    direction = np.array([np.sin(angle[0, 0]), np.cos(angle[0, 0])])
    along = np.repeat(rng.normal(0, rng.uniform(5, 20), pairs), 2)
    wide = rng.normal(0, rng.uniform(1, 5), pairs).repeat(2) + side * rng.uniform(0, 1.5)
    places = middle + along[:, None] * direction + wide[:, None] * across[0]
    # A cut through the movie in which they had begun to part before it.
    before = np.maximum(0, -lag) * pace
    places = places + (side * before)[:, None] * across[0]
    layer = Spots(
        tracks=follow(places, own, flow),
        sigma_px=np.clip(sigma * rng.uniform(0.7, 1.3, 2 * pairs), 0.6, None),
        brightness=rng.gamma(4.0, 0.25, 2 * pairs),
        born=np.full(2 * pairs, -np.inf),
        gone=np.full(2 * pairs, np.inf),
        fade=np.ones(2 * pairs),
        hollow=0.0,
        size_px=window.size_px,
    )
    return layer, replace(
        facts,
        own_px=own_px,
        objects=2 * pairs,
        size_px=sigma,
        dividing=int(0 <= begins < window.frames - 1),
    )


def _nuclei(rng: Chance, window: Window) -> tuple[Layer, Facts]:
    radius = rng.log_uniform(5, 28)
    crowd = rng.log_uniform(0.08, 0.5) * (window.size_px / radius) ** 2 / np.pi
    return _bodies(
        rng,
        "nuclei",
        radius,
        max(1, min(40, int(crowd))),
        window,
        dividing=0.35 if rng.happens(0.6) else 0.0,
    )


def _cells(rng: Chance, window: Window) -> tuple[Layer, Facts]:
    radius = rng.log_uniform(18, 60)
    most = int(np.clip(1.2 * (window.size_px / radius) ** 2 / np.pi, 1, 12))
    return _bodies(rng, "cells", radius, int(rng.integers(1, most + 1)), window, dividing=0.0)


def _bodies(
    rng: Chance, kind: Kind, radius: float, objects: int, window: Window, dividing: float
) -> tuple[Layer, Facts]:
    """Nuclei, or cells that show their outline."""
    flow, facts = _flow(rng, kind, window, fastest=4.0)
    own_px = rng.log_uniform(_SLOWEST_PX, 6)
    places = _apart(rng, objects, 1.9 * radius, window, own_px + facts.flow_px)
    if kind == "cells":
        places = rng.uniform(0.1, 0.9, (objects, 2)) * window.size_px
    count = len(places)
    divides = np.where(
        rng.random(count) < dividing, rng.uniform(-2, window.frames + 2, count), np.inf
    )
    radii = radius * rng.uniform(0.8, 1.2, count)
    parting = radii * rng.uniform(0.9, 1.8, count)
    cell = kind == "cells"
    waves = np.array([2.0, 3.0, 5.0, 8.0] if cell else [2.0, 3.0, 4.0, 5.0])
    rough = rng.log_uniform(0.03, 0.15) if cell else rng.log_uniform(0.01, 0.08)
    # A wave runs around with the surface moving by no more than a pixel or two a frame.
    lively = min(1.2, 2 / (radius * rough))
    spin = own_px * rng.uniform(-0.4, 0.4, count) / radius
    length = rng.log_uniform(1.2, 8)
    layer = Bodies(
        tracks=follow(places, _own(rng, count, window, own_px), flow),
        radius_px=radii,
        elongation=rng.uniform(1.0, 2.2, count),
        angle=rng.uniform(0, 2 * np.pi, count),
        spin=np.clip(spin, -0.3, 0.3),
        brightness=np.exp(rng.normal(0, rng.uniform(0.05, 0.5), count)),
        divides=divides,
        # Neither what condenses nor what parts is faster than anything else.
        takes=np.maximum(rng.log_uniform(0.6, 4), np.maximum(radii, parting) / FASTEST_PX),
        parting_px=parting,
        order=np.tile(waves, (count, 1)),
        wobble=rng.normal(0, rough, (count, 4)) / np.sqrt(waves / 2),
        phase=rng.uniform(0, 2 * np.pi, (count, 4)),
        omega=rng.uniform(-lively, lively, (count, 4)),
        texture=np.exp(rng.uniform(0.05, 0.6) * smooth_field(200, length, rng)),
        offset=rng.uniform(60, 140, (count, 2)),
        rim=1.0 if cell else 0.0,
        rim_px=rng.log_uniform(0.8, 2.5),
        fill=rng.log_uniform(0.02, 0.5) if cell else 1.0,
        dome=float(rng.uniform(0, 0.7)),
        size_px=window.size_px,
    )
    return layer, replace(
        facts,
        own_px=own_px,
        objects=count,
        size_px=radius,
        dividing=int(((divides > 0) & (divides < window.frames - 1)).sum()),
    )


def _network(rng: Chance, window: Window) -> tuple[Layer, Facts]:
    flow, facts = _flow(rng, "network", window, fastest=5.0)
    pitch = rng.log_uniform(13, 50)
    # Lines turn about as fast as their centres move against each other.
    own_px = rng.log_uniform(0.1, 0.06 * pitch)
    reach = window.reach_px(facts.flow_px) + pitch
    along = np.arange(-reach, window.size_px + reach, pitch)
    lattice = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    places = lattice + rng.uniform(-0.35, 0.35, lattice.shape) * pitch
    own = jitter(rng, len(places), window.frames, own_px)
    side = int(window.size_px + 2 * (facts.flow_px * window.middle + 4))
    uneven = np.exp(rng.uniform(0.1, 0.8) * smooth_field(side, rng.log_uniform(2, 15), rng))
    layer = Network(
        centres=follow(places, own, flow),
        pitch_px=pitch,
        width_px=rng.log_uniform(0.7, 2.5),
        inside=rng.log_uniform(0.01, 0.3),
        unevenness=Sheet(uneven, flow, window.size_px, reference=window.middle),
        size_px=window.size_px,
    )
    return layer, replace(facts, own_px=own_px, objects=len(places), size_px=pitch)


_OBJECTS: MappingProxyType[Kind, Callable[[Chance, Window], tuple[Layer, Facts]]] = (
    MappingProxyType(
        {
            "vesicles": _vesicles,
            "chromosomes": _chromosomes,
            "nuclei": _nuclei,
            "cells": _cells,
            "network": _network,
        }
    )
)
