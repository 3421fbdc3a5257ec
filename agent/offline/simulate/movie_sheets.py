"""Layers that fill the window: textures carried by a flow, networks of lines, haze."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np

from agent.offline.simulate.movie_facts import (
    DrawnWindow,
    Facts,
    Kind,
    flow_of_layer,
)
from agent.offline.simulate.movie_layers import Layer, NetworkLayer, Sheet
from agent.offline.simulate.movie_objects import smooth_step
from agent.offline.simulate.movie_tracks import follow, jitter
from agent.offline.simulate.off_target import smooth_field
from agent.offline.simulate.population import Chance
from devices.sources import Structure
from devices.virtual.sample import canvas


def draw_sheet(
    rng: Chance, kind: Kind, maps: tuple[int, ...] | None, window: DrawnWindow
) -> tuple[Layer, Facts]:
    """A structure of the virtual microscope, or one of pySTED's maps of it, that a flow carries."""
    structure: Structure = next(known for known in get_args(Structure) if known == kind)
    flow, facts = flow_of_layer(rng, kind, window)
    scale = rng.log_uniform(0.5, 1.4)
    # At the movie's middle nothing is deformed: either end is half of the way from there.
    side = window.size_px + 2 * (facts.flow_px * window.middle + 4)
    texture = canvas(structure, int(np.ceil(side * scale)), rng, maps).astype(np.float64)
    layer = Sheet(texture, flow, window.size_px, scale=scale, reference=window.middle)
    shown = " ".join(map(str, maps or ()))
    return layer, replace(facts, maps=shown, size_px=scale)


def draw_haze(rng: Chance, window: DrawnWindow) -> Layer:
    """The light out of focus: smooth, in a part of the field, and slow."""
    flow, facts = flow_of_layer(rng, "patches", window, fastest=2.0)
    side = int(window.size_px + 2 * (facts.flow_px * window.middle + 4))
    length = rng.log_uniform(10, 45)
    region = smooth_field(side, length, rng) - rng.uniform(-1.5, 0.5)
    rough = np.exp(rng.uniform(0, 0.4) * smooth_field(side, rng.uniform(2, 6), rng))
    return Sheet(smooth_step(region / 1.5) * rough, flow, window.size_px, reference=window.middle)


def draw_network(rng: Chance, window: DrawnWindow) -> tuple[Layer, Facts]:
    """Lines between places that wander."""
    flow, facts = flow_of_layer(rng, "network", window, fastest=5.0)
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
    layer = NetworkLayer(
        centres=follow(places, own, flow),
        pitch_px=pitch,
        width_px=rng.log_uniform(0.7, 2.5),
        inside=rng.log_uniform(0.01, 0.3),
        unevenness=Sheet(uneven, flow, window.size_px, reference=window.middle),
        size_px=window.size_px,
    )
    return layer, replace(facts, own_px=own_px, objects=len(places), size_px=pitch)
