"""Single objects of generated movies: spots, and bodies with an outline that may divide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from agent.offline.simulate.movie_tracks import Tracks

Map = NDArray[np.float64]

_PLATE = (0.95, 0.4)
"""Half axes of a nucleus about to divide, in radii of it: along and across the plate."""
_DAUGHTER = 0.74
"""Radius of a daughter, in radii of the mother."""
_EDGE_PX = 0.7
"""Width of the edge of a body (px); chosen."""


def smooth_step(x: Map | float) -> Map:
    """From 0 at 0 to 1 at 1, without a kink."""
    inside = np.clip(x, 0.0, 1.0)
    step: Map = inside**2 * (3 - 2 * inside)
    return step


@dataclass(frozen=True, slots=True)
class Spots:
    """Vesicles, particles, grains: small, each on a track of its own.

    All but `tracks`, `hollow` and `size_px` have one value for each spot.

    Parameters
    ----------
    tracks
        Where they are.
    sigma_px
        Standard deviation of their profile.
    brightness
        Density in the middle (of the wall, where they are hollow).
    born, gone, fade
        Times (frames) between which they are there, and how long they take to come and to go.
    hollow
        Radius of the wall in standard deviations of its profile; 0 for a full spot.
    size_px
        Side of the window.
    """

    tracks: Tracks
    sigma_px: Map
    brightness: Map
    born: Map
    gone: Map
    fade: Map
    hollow: float
    size_px: int

    def at(self, t: float) -> Map:
        """Density at a time, rows × columns."""
        there = smooth_step((t - self.born) / self.fade) * smooth_step((self.gone - t) / self.fade)
        places = self.tracks.at(t)
        reach = int(np.ceil((4 + self.hollow) * self.sigma_px.max()))
        seen = (there > 0) & (np.abs(places - self.size_px / 2) < self.size_px / 2 + reach).all(1)
        out = np.zeros(self.size_px**2)
        if not seen.any():
            return out.reshape(self.size_px, self.size_px)
        nearest = np.rint(places[seen]).astype(np.intp)
        around = np.arange(-reach, reach + 1)
        rows, cols = (nearest[:, axis, None] + around for axis in (0, 1))
        sigma = self.sigma_px[seen, None, None]
        away = np.hypot(
            (rows - places[seen, 0, None])[:, :, None], (cols - places[seen, 1, None])[:, None, :]
        )
        profile = np.exp(-0.5 * (away / sigma - self.hollow) ** 2)
        profile *= (there * self.brightness)[seen, None, None]
        inside = ((rows >= 0) & (rows < self.size_px))[:, :, None]
        inside = inside & ((cols >= 0) & (cols < self.size_px))[:, None, :]
        flat = rows[:, :, None] * self.size_px + cols[:, None, :]
        out += np.bincount(flat[inside], profile[inside], self.size_px**2)
        return out.reshape(self.size_px, self.size_px)


@dataclass(frozen=True, slots=True)
class Bodies:
    """Nuclei and cells: textured, with an outline that changes, migrating, turning, dividing.

    A body keeps its molecules: where it shrinks it is brighter. One that divides first becomes
    a bright plate, whose halves part across it and grow into two bodies.
    All but `tracks`, `texture`, `rim`, `rim_px`, `fill`, `dome` and `size_px` have one value
    for each body.

    Parameters
    ----------
    tracks
        Where their middles are.
    radius_px, elongation
        Geometric mean of the half axes, and their ratio.
    angle, spin
        Direction of the long axis at time 0 (rad), and how it turns (rad/frame).
    brightness
        Density inside, before anything divides.
    divides, takes, parting_px
        When it does (frames; infinite for never), how long it takes to condense and about how
        long to part (frames), and how far each half moves.
    order, wobble, phase, omega
        Waves around the outline, bodies × waves: how many, how high (radii), where (rad) and
        how they run (rad/frame).
    texture, offset
        Density inside from place to place, and where in it each body's middle is (bodies × 2).
    rim, rim_px
        Density of the outline, and the standard deviation of its profile.
    fill, dome
        Density inside, and how much less of it is at the edge: a body is thicker in its middle.
    size_px
        Side of the window.
    """

    tracks: Tracks
    radius_px: Map
    elongation: Map
    angle: Map
    spin: Map
    brightness: Map
    divides: Map
    takes: Map
    parting_px: Map
    order: Map
    wobble: Map
    phase: Map
    omega: Map
    texture: Map
    offset: Map
    rim: float
    rim_px: float
    fill: float
    dome: float
    size_px: int

    def at(self, t: float) -> Map:
        """Density at a time, rows × columns."""
        out = np.zeros((self.size_px, self.size_px))
        for i, middle in enumerate(self.tracks.at(t)):
            axes = self.radius_px[i] * self.elongation[i] ** np.array([0.5, -0.5])
            plate = self.radius_px[i] * np.array(_PLATE)
            since = t - self.divides[i]
            if since < 0:
                condensed = smooth_step(since / self.takes[i] + 1)
                self._add(out, t, i, middle, axes + (plate - axes) * condensed, 1.0)
                continue
            parted = 1 - np.exp(-since / self.takes[i])
            grown = plate + (_DAUGHTER * axes - plate) * smooth_step(parted)
            angle = self.angle[i] + self.spin[i] * t
            across = np.array([np.cos(angle), -np.sin(angle)])
            for side in (-1, 1):
                away = side * self.parting_px[i] * parted * across
                self._add(out, t, i, middle + away, grown, 0.5)
        return out

    def _add(self, out: Map, t: float, i: int, middle: Map, axes: Map, share: float) -> None:
        """Draw one body, or one half, with these half axes (px) and this share of molecules."""
        reach = float(axes.max()) * (1 + np.abs(self.wobble[i]).sum()) + 4 * max(
            _EDGE_PX, self.rim_px if self.rim else 0.0
        )
        first = np.clip(np.floor(middle - reach), 0, self.size_px).astype(int)
        last = np.clip(np.ceil(middle + reach) + 1, 0, self.size_px).astype(int)
        if (first >= last).any():
            return
        row = np.arange(first[0], last[0])[:, None] - middle[0]
        col = np.arange(first[1], last[1])[None, :] - middle[1]
        angle = self.angle[i] + self.spin[i] * t
        along = (col * np.cos(angle) + row * np.sin(angle)) / axes[0]
        across = (row * np.cos(angle) - col * np.sin(angle)) / axes[1]
        rho, theta = np.hypot(along, across), np.arctan2(across, along)
        outline = np.ones_like(rho)
        for order, wobble, phase, omega in zip(
            self.order[i], self.wobble[i], self.phase[i], self.omega[i], strict=True
        ):
            outline += wobble * np.cos(order * theta + phase + omega * t)
        size = float(np.sqrt(axes.prod()))
        deep = (outline - rho) * size
        edge = 1 / (1 + np.exp(-np.clip(deep / (0.5 * _EDGE_PX), -30, 30)))
        thick = np.sqrt(np.clip(1 - (rho / outline) ** 2, 0, 1))
        density = self.fill * edge * (1 - self.dome + self.dome * thick)
        if self.rim:
            density = density + self.rim * np.exp(-0.5 * (deep / self.rim_px) ** 2)
        # The texture belongs to the body, and is stretched with it.
        inside = self.radius_px[i] * np.stack([across, along]) + self.offset[i, :, None, None]
        density *= map_coordinates(self.texture, inside, order=1, mode="mirror")
        density *= share * self.brightness[i] * (self.radius_px[i] / size) ** 2
        out[first[0] : last[0], first[1] : last[1]] += density
