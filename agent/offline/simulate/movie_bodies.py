"""Layers of a few large objects: nuclei that divide, and cells that show their outline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.offline.simulate.movie_facts import (
    FASTEST_PX,
    SLOWEST_PX,
    DrawnWindow,
    Facts,
    Kind,
    Map,
    flow_of_layer,
    own_motion,
    scattered,
)
from agent.offline.simulate.movie_layers import Layer
from agent.offline.simulate.movie_objects import Bodies
from agent.offline.simulate.movie_tracks import follow
from agent.offline.simulate.off_target import smooth_field
from agent.offline.simulate.population import Chance


def draw_nuclei(rng: Chance, window: DrawnWindow) -> tuple[Layer, Facts]:
    """Nuclei, some of which divide."""
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


def draw_cells(rng: Chance, window: DrawnWindow) -> tuple[Layer, Facts]:
    """Cells that migrate."""
    radius = rng.log_uniform(18, 60)
    most = int(np.clip(1.2 * (window.size_px / radius) ** 2 / np.pi, 1, 12))
    return _bodies(rng, "cells", radius, int(rng.integers(1, most + 1)), window, dividing=0.0)


def _bodies(
    rng: Chance, kind: Kind, radius: float, objects: int, window: DrawnWindow, dividing: float
) -> tuple[Layer, Facts]:
    """Nuclei, or cells that show their outline."""
    flow, facts = flow_of_layer(rng, kind, window, fastest=4.0)
    own_px = rng.log_uniform(*(window.leaps_px or (SLOWEST_PX, 6)))
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
        tracks=follow(places, own_motion(rng, count, window, own_px), flow),
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


def _apart(rng: Chance, objects: int, distance: float, window: DrawnWindow, speed: float) -> Map:
    """Places like `_scattered`, at least so far from each other; fewer where there is no room."""
    kept: list[Map] = []
    for place in scattered(rng, 4 * objects, window, speed):
        if len(kept) < objects and all(np.hypot(*(place - one)) > distance for one in kept):
            kept.append(place)
    return np.array(kept)
