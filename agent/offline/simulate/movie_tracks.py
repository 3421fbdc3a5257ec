"""Tracks of objects: carried by a flow, wandering, transported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from agent.offline.simulate.movie_motion import PER_FRAME, Flow, Map
from agent.offline.simulate.population import Chance

_LASTING = (0.0, 0.8)
"""Range of how much of its velocity a leaping object keeps in the next frame; chosen."""
_LEAP_SPREAD = 0.5
"""Standard deviation of the logarithm of a leap's length; chosen."""
_SMOOTH_FRAMES = 0.4
"""Time over which transport changes between moving and resting (frames); chosen."""


@dataclass(frozen=True, slots=True)
class Tracks:
    """Where objects are, `PER_FRAME` times a frame from time 0 on.

    Parameters
    ----------
    places
        Steps × objects × 2 (px, rows first).
    """

    places: Map

    def at(self, t: float) -> Map:
        """Places of all objects at a time, objects × 2 (px); at rest before and after."""
        step = min(max(t * PER_FRAME, 0.0), len(self.places) - 1.0)
        before = int(step)
        part = step - before
        after = min(before + 1, len(self.places) - 1)
        between: Map = (1 - part) * self.places[before] + part * self.places[after]
        return between


def steps_of(frames: int) -> int:
    """Points that a track of so many frames has."""
    return (frames - 1) * PER_FRAME + 1


def follow(start: Map, own: Map, flow: Flow) -> Tracks:
    """Tracks of objects that move on their own while a flow carries them.

    Parameters
    ----------
    start
        Places at time 0, objects × 2 (px).
    own
        Their own velocities, steps × objects × 2 (px/frame).
    flow
        What carries them.
    """
    h = 1 / PER_FRAME
    places = np.empty((len(own), len(start), 2))
    places[0] = start
    for i in range(len(own) - 1):
        at, t = places[i], i * h
        middle = at + h / 2 * (own[i] + flow.velocity(at.T, t).T)
        places[i + 1] = at + h * (own[i] + flow.velocity(middle.T, t + h / 2).T)
    return Tracks(places)


def jitter(rng: Chance, objects: int, frames: int, speed: float) -> Map:
    """Velocities (steps × objects × 2, px/frame) of objects that wander, none above `speed`."""
    steps = steps_of(frames)
    remembers = rng.log_uniform(0.5, 2.5) * PER_FRAME
    before = int(4 * remembers)
    noise = rng.normal(size=(steps + 2 * before, objects, 2))
    smooth = gaussian_filter1d(noise, remembers, axis=0, truncate=4)[before : before + steps]
    # White noise behind a Gaussian blur has this standard deviation.
    unit = smooth * np.sqrt(2 * np.sqrt(np.pi) * remembers)
    return _no_faster(unit * speed / 2.5, speed)


def runs(rng: Chance, objects: int, frames: int, speed: float) -> Map:
    """Velocities (steps × objects × 2, px/frame) of directed transport.

    Objects run, pause, turn back and swerve, each at a speed of its own and none faster than
    `speed`; in half of the cases they keep to one axis, as along a neurite.
    """
    steps = steps_of(frames)
    axis = rng.uniform(0, 2 * np.pi)
    if rng.happens(0.5):
        heading = axis + np.pi * rng.integers(0, 2, objects) + rng.normal(0, 0.2, objects)
        swerve = 0.05
    else:
        heading, swerve = rng.uniform(0, 2 * np.pi, objects), rng.log_uniform(0.05, 0.6)
    heading = heading + np.cumsum(
        rng.normal(0, swerve / np.sqrt(PER_FRAME), (steps, objects)), axis=0
    )
    changes = rng.random((steps, objects)) < rng.log_uniform(0.02, 0.4) / PER_FRAME
    drawn = rng.choice((1.0, 0.0, -1.0), (steps, objects), p=(0.6, 0.25, 0.15))
    latest = np.maximum.accumulate(np.where(changes, np.arange(steps)[:, None], 0), axis=0)
    state = np.take_along_axis(drawn, latest, axis=0)
    # What starts or stops takes a part of a frame to do so.
    state = gaussian_filter1d(state, _SMOOTH_FRAMES * PER_FRAME, axis=0, mode="nearest")
    pace = speed * rng.uniform(0.2, 1.0, objects) * state
    velocity: Map = pace[..., None] * np.stack([np.sin(heading), np.cos(heading)], axis=-1)
    return velocity


def leaps(rng: Chance, objects: int, frames: int, speed: float) -> Map:
    """Velocities (steps × objects × 2, px/frame) of objects that leap from frame to frame.

    Each frame's velocity keeps a part of the last one's and adds one of its own, some of them many
    times longer than others; it is the same during a frame, and none is above `speed`. With little
    kept, an object is half of a step off the middle of where it was and will be: so it
    is in real movies, one frame of which says little of the next.
    """
    kept = float(rng.uniform(*_LASTING))
    count = max(frames - 1, 1)
    own = rng.normal(size=(count, objects, 2))
    own *= np.exp(_LEAP_SPREAD * rng.normal(size=(count, objects, 1)))
    for now in range(1, count):
        own[now] = kept * own[now - 1] + np.sqrt(1 - kept**2) * own[now]
    velocity = _no_faster(own * speed / 2.0, speed)
    return np.repeat(velocity, PER_FRAME, axis=0)[
        np.minimum(np.arange(steps_of(frames)), count * PER_FRAME - 1)
    ]


def _no_faster(velocity: Map, speed: float) -> Map:
    size = np.hypot(velocity[..., 0], velocity[..., 1])
    kept: Map = velocity * np.minimum(1.0, speed / np.maximum(size, 1e-9))[..., None]
    return kept
