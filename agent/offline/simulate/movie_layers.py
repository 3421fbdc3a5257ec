"""Layers over a whole movie: sheets of structure that a flow carries, and networks.

A layer gives its density at any time, on a square window. Layers of single objects are in
`movie_objects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from agent.offline.simulate.movie_motion import Flow
from agent.offline.simulate.movie_tracks import Tracks

Map = NDArray[np.float64]

GRAIN_PX = 0.6
"""Standard deviation of the finest that a layer shows (px).

Finer structure could not be moved by parts of a pixel without flickering. The PSF is wider, and
is made up of this and the rest.
"""


class Layer(Protocol):
    """A part of the sample."""

    def at(self, t: float) -> Map:
        """Density at a time (frames), rows × columns, not negative, in arbitrary units."""
        ...


class Sheet:
    """A structure that a flow carries and deforms; its molecules are kept.

    Parameters
    ----------
    texture
        Density at the time `reference`, larger than the window by what the flow moves.
    flow
        What carries it.
    size_px
        Side of the window, which lies in the middle of the texture.
    scale
        Pixels of the texture in one of the window.
    reference
        Time (frames) at which the texture is not deformed.
    """

    def __init__(
        self, texture: Map, flow: Flow, size_px: int, *, scale: float = 1.0, reference: float = 0.0
    ) -> None:
        fine = gaussian_filter(texture.astype(np.float64), GRAIN_PX * max(scale, 1.0))
        self._texture = spline_filter(fine, order=3)
        self._flow, self._size_px = flow, size_px
        self._scale, self._reference = scale, reference

    def at(self, t: float) -> Map:
        """Density at a time, rows × columns."""
        places, denser = self._flow.origin(self._size_px, t, self._reference)
        middle = (len(self._texture) - 1) / 2
        inside = (places - (self._size_px - 1) / 2) * self._scale + middle
        moved = map_coordinates(self._texture, inside, order=3, prefilter=False, mode="mirror")
        density: Map = np.maximum(moved, 0) * denser
        return density


@dataclass(frozen=True, slots=True)
class NetworkLayer:
    """Lines between moving centres: membranes of cells in a layer, or a tubular network.

    Each pixel belongs to the centre that is nearest; the lines are where two are equally near.
    They meet in threes, and change their neighbours as the centres move.

    Parameters
    ----------
    centres
        Tracks of the centres.
    pitch_px
        Their distance from each other, roughly.
    width_px
        Standard deviation of a line's profile.
    inside
        Density within the meshes, where it is 1 on the lines.
    unevenness
        Brightness from place to place; a sheet of its own.
    size_px
        Side of the window.
    """

    centres: Tracks
    pitch_px: float
    width_px: float
    inside: float
    unevenness: Layer
    size_px: int

    def at(self, t: float) -> Map:
        """Density at a time, rows × columns."""
        shape = (self.size_px, self.size_px)
        centres = self.centres.at(t)
        first, second = np.full(shape, np.inf), np.full(shape, np.inf)
        one, other = np.zeros(shape, np.intp), np.zeros(shape, np.intp)
        pixels = np.arange(self.size_px)
        # No pixel is farther from its second centre, the lattice being as regular as it is.
        reach = 2.2 * self.pitch_px
        for i, (row, col) in enumerate(centres):
            rows = slice(*np.clip([row - reach, row + reach + 1], 0, self.size_px).astype(int))
            cols = slice(*np.clip([col - reach, col + reach + 1], 0, self.size_px).astype(int))
            part = (rows, cols)
            squared = (pixels[rows, None] - row) ** 2 + (pixels[None, cols] - col) ** 2
            nearest, near = squared < first[part], squared < second[part]
            second[part] = np.where(nearest, first[part], np.where(near, squared, second[part]))
            other[part] = np.where(nearest, one[part], np.where(near, i, other[part]))
            first[part] = np.where(nearest, squared, first[part])
            one[part] = np.where(nearest, i, one[part])
        apart = np.hypot(*np.moveaxis(centres[one] - centres[other], -1, 0))
        # Distance from the line that is as far from one centre as from the other.
        away = (second - first) / (2 * np.maximum(apart, 1e-3))
        line = np.exp(-0.5 * (away / self.width_px) ** 2)
        density: Map = (self.inside + (1 - self.inside) * line) * self.unevenness.at(t)
        return density
