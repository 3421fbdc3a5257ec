"""How generated movies move: smooth flows that carry everything, and tracks of single objects.

Time is continuous and counted in frames, places are in pixels, rows first. A flow is a velocity
field; where a place comes from is found by following it back. So nothing folds or tears however
long it moves, and the fastest that anything moves in one frame is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from agent.offline.simulate.population import Chance

Map = NDArray[np.float64]
PER_FRAME = 8
"""Points of a track in one frame; straight between them."""
_WAVES = 4
"""Waves that a flow is the sum of; chosen."""
_SHORTEST_WAVE_PX = 40.0
"""Shortest of their wavelengths (px); chosen."""
_NODES_PX = 5
"""Distance between the places where a flow is computed (px); chosen: far below the wavelength."""
_STEP = 0.5
"""Longest step of the integration (frames); chosen."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A velocity field: a drift that turns and changes its pace, and waves of deformation.

    Parameters
    ----------
    drift
        Speed of the common drift (px/frame).
    heading, turn
        Its direction at time 0 (rad, from along the columns to along the rows), and how that
        changes (rad/frame).
    amplitude, wave
        Velocity amplitude (px/frame) and wave vector (rad/px) of each wave, n × 2.
    phase, omega
        Phase (rad) and angular frequency (rad/frame) of each wave, n.
    swing, pace, start
        All of it is faster and slower by turns: depth in [0, 1], angular frequency (rad/frame)
        and phase (rad).
    kicks
        Velocity (px/frame) that everything has in addition in each frame, frames × 2: it is
        another one in the next frame.
    """

    drift: float = 0.0
    heading: float = 0.0
    turn: float = 0.0
    amplitude: Map = field(default_factory=lambda: np.zeros((0, 2)))
    wave: Map = field(default_factory=lambda: np.zeros((0, 2)))
    phase: Map = field(default_factory=lambda: np.zeros(0))
    omega: Map = field(default_factory=lambda: np.zeros(0))
    swing: float = 0.0
    pace: float = 0.0
    start: float = 0.0
    kicks: Map = field(default_factory=lambda: np.zeros((0, 2)))

    def velocity(self, at: Map, t: float) -> Map:
        """Velocity (px/frame) at places (2, …) and a time; same shape."""
        heading = self.heading + self.turn * t
        drift = self.drift * np.array([np.sin(heading), np.cos(heading)])
        out = np.broadcast_to(drift.reshape(2, *[1] * (at.ndim - 1)), at.shape)
        if len(self.wave):
            change = (self.phase + self.omega * t).reshape(-1, *[1] * (at.ndim - 1))
            place = np.tensordot(self.wave, at, 1) + change
            out = out + np.tensordot(self.amplitude.T, np.cos(place), 1)
        paced: Map = out * (1 - self.swing * 0.5 * (1 + np.sin(self.pace * t + self.start)))
        if len(self.kicks):
            kick = self.kicks[min(max(int(t), 0), len(self.kicks) - 1)]
            paced = paced + kick.reshape(2, *[1] * (at.ndim - 1))
        return paced

    def carried(self, at: Map, start: float, end: float) -> Map:
        """Where structure at places (2, …) at time `start` is at time `end`."""
        steps = max(1, int(np.ceil(abs(end - start) / _STEP)))
        h = (end - start) / steps
        for i in range(steps):
            t = start + i * h
            # Runge and Kutta's fourth order.
            a = self.velocity(at, t)
            b = self.velocity(at + h / 2 * a, t + h / 2)
            c = self.velocity(at + h / 2 * b, t + h / 2)
            d = self.velocity(at + h * c, t + h)
            at = at + h / 6 * (a + 2 * b + 2 * c + d)
        return at

    def origin(self, size_px: int, t: float, reference: float) -> tuple[Map, Map]:
        """Where structure in a window at time `t` was at time `reference`, and how much denser.

        Parameters
        ----------
        size_px
            Side of the square window, whose first pixel is at (0, 0).
        t, reference
            Times (frames).

        Returns
        -------
        tuple
            Places (2 × rows × columns, px), and the density relative to that at the reference
            (rows × columns): compressed structure is brighter, so that nothing is lost.
        """
        nodes, value, slope = _splines(size_px)
        coarse = np.stack(np.meshgrid(nodes, nodes, indexing="ij"))
        row, col = self.carried(coarse, t, reference)
        places = np.stack([value @ row @ value.T, value @ col @ value.T])
        stretch = (slope @ row @ value.T) * (value @ col @ slope.T)
        shear = (value @ row @ slope.T) * (slope @ col @ value.T)
        return places, stretch - shear


@lru_cache(maxsize=8)
def _splines(size_px: int) -> tuple[Map, Map, Map]:
    """Places of nodes along a side, and matrices from values there to pixels and their slopes.

    A flow is smooth: it is followed from some nodes only, and a cubic spline does the rest.
    """
    nodes = np.linspace(0, size_px - 1, -(-size_px // _NODES_PX) + 1)
    spline = CubicSpline(nodes, np.eye(len(nodes)))
    pixels = np.arange(size_px)
    return nodes, spline(pixels), spline(pixels, 1)


def draw_flow(
    rng: Chance,
    speed: float,
    strain: float,
    drifting: float,
    size_px: int,
    frames: int,
    wander: float = 0.0,
) -> Flow:
    """A random flow.

    Parameters
    ----------
    rng
        Where chance comes from.
    speed
        The fastest anywhere in the window at any time (px/frame).
    strain
        How much neighbours a pixel apart may differ in velocity, roughly (1/frame): what is
        fast deforms over long distances.
    drifting
        Share of the speed that is common to all, in [0, 1].
    size_px, frames
        Of the movie.
    wander
        Standard deviation of the kicks along each axis, as a share of the speed.
    """
    deforming = (1 - drifting) * speed
    length = max(_SHORTEST_WAVE_PX, 2 * np.pi * deforming / strain)
    along = rng.uniform(0, 2 * np.pi, _WAVES)
    number = 2 * np.pi / (length * rng.uniform(1.0, 1.8, _WAVES))
    # Cells flow and shear more than they shrink: velocities are mostly across their wave.
    across = along + np.pi / 2 + rng.normal(0, 0.35, _WAVES)
    strength = rng.dirichlet(np.full(_WAVES, 3.0))
    flow = Flow(
        drift=drifting,
        heading=rng.uniform(0, 2 * np.pi),
        turn=rng.normal(0, 0.12),
        amplitude=(1 - drifting) * (strength * np.stack([np.sin(across), np.cos(across)])).T,
        wave=(number * np.stack([np.sin(along), np.cos(along)])).T,
        phase=rng.uniform(0, 2 * np.pi, _WAVES),
        omega=rng.normal(0, 0.25, _WAVES),
        swing=rng.uniform(0, 1) if rng.happens(0.6) else 0.0,
        pace=rng.log_uniform(0.15, 1.2),
        start=rng.uniform(0, 2 * np.pi),
    )
    side = np.linspace(0, size_px - 1, 12)
    places = np.stack(np.meshgrid(side, side, indexing="ij"))
    times = np.linspace(0, frames - 1, 2 * frames)
    fastest = max(float(np.hypot(*flow.velocity(places, t)).max()) for t in times)
    scale = speed / fastest
    flow = replace(flow, drift=scale * flow.drift, amplitude=scale * flow.amplitude)
    if not wander:
        return flow
    return replace(flow, kicks=wander * speed * rng.normal(size=(max(frames - 1, 1), 2)))
