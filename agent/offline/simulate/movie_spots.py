"""Layers of many small objects: vesicles, and chromosomes that part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.offline.simulate.movie_facts import (
    FASTEST_PX,
    SLOWEST_PX,
    DrawnWindow,
    Facts,
    Map,
    flow_of_layer,
    own_motion,
    scattered,
)
from agent.offline.simulate.movie_layers import Layer
from agent.offline.simulate.movie_objects import Spots, smooth_step
from agent.offline.simulate.movie_tracks import follow, jitter, steps_of
from agent.offline.simulate.population import Chance

_FLEETING = 0.4
"""Share of the vesicle layers in which some appear or disappear; chosen."""


def draw_vesicles(rng: Chance, window: DrawnWindow) -> tuple[Layer, Facts]:
    """Vesicles, anywhere or around an organelle or two."""
    flow, facts = flow_of_layer(rng, "vesicles", window, fastest=3.0)
    own_px = rng.log_uniform(SLOWEST_PX, FASTEST_PX)
    objects = int(rng.log_uniform(8, 320))
    places = scattered(rng, objects, window, own_px + facts.flow_px)
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
        tracks=follow(places, own_motion(rng, objects, window, own_px), flow),
        sigma_px=sigma,
        brightness=np.exp(rng.normal(0, rng.uniform(0.1, 0.7), objects)),
        born=born,
        gone=gone,
        fade=np.full(objects, rng.log_uniform(0.3, 3)),
        hollow=float(rng.uniform(1.5, 3)) if rng.happens(0.15) else 0.0,
        size_px=window.size_px,
    )
    return layer, replace(facts, own_px=own_px, objects=objects, size_px=size, fleeting=fleeting)


def _lives(rng: Chance, objects: int, fleeting: float, window: DrawnWindow) -> tuple[Map, Map]:
    """When objects come and go (frames), most of them before and after the movie."""
    born, gone = np.full(objects, -np.inf), np.full(objects, np.inf)
    for times in (born, gone):
        some = rng.random(objects) < fleeting / 2
        times[some] = rng.uniform(-1, window.frames, int(some.sum()))
    # One that would go before it came is there for a moment.
    return born, np.maximum(gone, born + rng.uniform(1, 4, objects))


def draw_chromosomes(rng: Chance, window: DrawnWindow) -> tuple[Layer, Facts]:
    """Grains in a plate, whose halves are drawn apart."""
    flow, facts = flow_of_layer(rng, "chromosomes", window, fastest=3.0)
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
