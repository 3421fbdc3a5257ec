"""The virtual sample: a large canvas of pySTED's real structures that moves and bleaches.

Molecules live in the sample's own (material) frame. Looking at a place at a time maps the
stage frame onto it through drift and motion; what a scan bleaches is written back the same
way, so that bleaching stays where the light was even while the structure moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from devices.sources import Structure
from devices.virtual.structures import SYNTHETIC, draw

_FOLDERS = {"actin": "factin", "tubulin": "tubulin", "psd95": "psd95"}
_TILE = 224
"""Side of pySTED's maps (pixels)."""
_SEAM = 32
"""Pixels over which neighbouring maps are blended; chosen."""
_WAVES = 6
"""Waves along each axis that motion is the sum of; chosen."""

Displacement = Callable[
    [NDArray[np.float64], NDArray[np.float64], float | NDArray[np.float64]], NDArray[np.float64]
]


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the sample as it lies under the objective at one moment.

    Parameters
    ----------
    molecules
        Molecules per pixel, int64, rows × columns.
    rows, cols
        For each pixel, where it lies in the material frame (pixels, float).
    """

    molecules: NDArray[np.int64]
    rows: NDArray[np.float64]
    cols: NDArray[np.float64]


def datamaps(structure: Structure, which: Sequence[int] | None = None) -> list[NDArray[np.float32]]:
    """Read pySTED's maps of one structure: six of 224 × 224 pixels of 20 nm, in [0, 1].

    `which` picks some of them, by their place in the sorted list.
    """
    folder = files("pysted") / "data" / "examples" / _FOLDERS[structure]
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".npy"))
    maps = []
    for name in names:
        with (folder / name).open("rb") as file:
            maps.append(np.load(file).astype(np.float32))
    return maps if which is None else [maps[i] for i in which]


def canvas(
    structure: Structure,
    size_px: int,
    rng: np.random.Generator,
    which: Sequence[int] | None = None,
) -> NDArray[np.float32]:
    """Structure density in [0, 1] over `size_px` × `size_px` pixels of 20 nm.

    Real structures are tiled with pySTED's datamaps (or those of them in `which`), chosen,
    turned and mirrored at random, and cross-faded over their seams.
    """
    if structure in SYNTHETIC:
        return draw(structure, size_px, rng)
    maps = datamaps(structure, which)
    step = _TILE - _SEAM
    n = -(-(size_px - _SEAM) // step)
    ramp = np.minimum(np.arange(_TILE) + 0.5, np.arange(_TILE)[::-1] + 0.5) / _SEAM
    fade = np.minimum(ramp, 1.0).astype(np.float32)
    weight = np.outer(fade, fade)
    total = np.zeros((n * step + _SEAM,) * 2, np.float32)
    weights = np.full_like(total, 1e-6)
    for row in range(n):
        for col in range(n):
            tile = np.rot90(maps[rng.integers(len(maps))], int(rng.integers(4)))
            if rng.random() < 0.5:
                tile = tile[:, ::-1]
            at = np.s_[row * step : row * step + _TILE, col * step : col * step + _TILE]
            total[at] += tile * weight
            weights[at] += weight
    return (total / weights)[:size_px, :size_px]


def _smooth_motion(speed_um_s: float, length_um: float, rng: np.random.Generator) -> Displacement:
    """Displacement (2, rows, cols) in µm at a place and time: a few slow, long waves.

    Every wave swings about its start, so that the displacement is zero at time zero, its
    root-mean-square speed is `speed_um_s` along each axis, and nothing ever tears.
    """
    direction = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    wavelength = length_um * rng.uniform(0.7, 1.5, (2, _WAVES))
    kx, ky = 2 * np.pi / wavelength * np.cos(direction), 2 * np.pi / wavelength * np.sin(direction)
    phase = rng.uniform(0, 2 * np.pi, (2, _WAVES))
    # One swing moves a structure by about a twelfth of the motion's length scale.
    amplitude = length_um / 12 / np.sqrt(_WAVES)
    omega = speed_um_s * np.sqrt(2 / _WAVES) / amplitude * rng.choice((-1, 1), (2, _WAVES))

    def displacement(
        x: NDArray[np.float64], y: NDArray[np.float64], t: float | NDArray[np.float64]
    ) -> NDArray[np.float64]:
        out = np.zeros((2, *x.shape))
        for axis in range(2):
            for i in range(_WAVES):
                place = kx[axis, i] * x + ky[axis, i] * y + phase[axis, i]
                out[axis] += amplitude * (np.sin(place + omega[axis, i] * t) - np.sin(place))
        return out

    return displacement


class Sample:
    """Fluorophores on a canvas.

    Parameters
    ----------
    structure
        Whose datamaps the canvas is made of.
    size_um
        Side of the square canvas (µm), its centre at stage position (0, 0).
    molecules_per_pixel
        Labelling density: molecules in a 20 nm pixel where the structure is densest.
    motion_nm_per_s
        Root-mean-square speed of the structure along each axis (nm/s); 0: fixed cells.
    motion_length_um
        Distance over which neighbours move together (µm).
    drift_nm_per_s
        Speed of the stage against the sample (nm/s), in a direction drawn from `seed`.
    maps
        Which of pySTED's six maps of a real structure to use; all if absent.
    seed
        Of everything random in the sample.
    part
        Which of its parts, that move together: each has a structure of its own.
    """

    pixel_size_nm = 20.0

    def __init__(
        self,
        structure: Structure = "actin",
        *,
        size_um: float = 48.0,
        molecules_per_pixel: float = 30.0,
        motion_nm_per_s: float = 0.0,
        motion_length_um: float = 3.0,
        drift_nm_per_s: float = 0.0,
        maps: Sequence[int] | None = None,
        seed: int = 0,
        part: int = 0,
    ) -> None:
        self.structure = structure
        self.size_um = size_um
        layout, moves, drifts, fractions = np.random.default_rng(seed).spawn(4)
        if part:
            layout, fractions = np.random.default_rng((seed, part)).spawn(2)
        self._pixel_um = self.pixel_size_nm * 1e-3
        size_px = round(size_um / self._pixel_um)
        self._density = np.rint(canvas(structure, size_px, layout, maps) * molecules_per_pixel)
        self._survival = np.ones(self._density.shape)
        # Between pixels a place holds a fraction of a molecule. Each place keeps its own
        # threshold for rounding it, so that the sum neither shrinks nor flickers on the way.
        self._threshold = fractions.random(self._density.shape, dtype=np.float32)
        self._motion = (
            _smooth_motion(motion_nm_per_s * 1e-3, motion_length_um, moves)
            if motion_nm_per_s
            else None
        )
        angle = drifts.uniform(0, 2 * np.pi)
        self._drift_um_s = drift_nm_per_s * 1e-3 * np.array([np.cos(angle), np.sin(angle)])

    def reach_um(self, shape: tuple[int, int], margin: int) -> float:
        """How far from the centre the stage may go with a field of `shape` pixels (µm)."""
        return self.size_um / 2 - (max(shape) / 2 + margin) * self._pixel_um

    def window(
        self,
        x_um: float,
        y_um: float,
        t_s: float | NDArray[np.float64],
        shape: tuple[int, int],
        margin: int = 0,
    ) -> Window:
        """The molecules under the field of view centred on stage position (x, y) at time t.

        Parameters
        ----------
        x_um, y_um
            Stage position (µm); columns run along x, rows along y.
        t_s
            Sample time (s); or rows (with both margins) × 1 of them, for a scan that takes
            so long that the sample moves on from line to line.
        shape
            Field of view, rows × columns (pixels).
        margin
            Pixels to add on every side.
        """
        height, width = (n + 2 * margin for n in shape)
        x = x_um + (np.arange(width) - (width - 1) / 2) * self._pixel_um
        y = y_um + (np.arange(height) - (height - 1) / 2) * self._pixel_um
        xs, ys = np.meshgrid(x, y)
        xs, ys = xs + self._drift_um_s[0] * t_s, ys + self._drift_um_s[1] * t_s
        if self._motion is not None:
            moved = self._motion(xs, ys, t_s)
            xs, ys = xs - moved[0], ys - moved[1]
        half = (len(self._density) - 1) / 2
        rows = np.round(ys / self._pixel_um + half, 6)
        cols = np.round(xs / self._pixel_um + half, 6)
        patch, corner = self._patch(rows, cols)
        alive = map_coordinates(
            self._density[patch] * self._survival[patch],
            (rows - corner[0], cols - corner[1]),
            order=1,
        )
        threshold = self._threshold[patch][self._nearest(rows, cols, patch)]
        return Window(np.floor(np.round(alive, 6) + threshold).astype(np.int64), rows, cols)

    def bleach(self, window: Window, survivors: NDArray[np.int64]) -> None:
        """Write back what a scan of `window` left alive (`survivors`, same shape)."""
        share = np.ones(survivors.shape)
        np.divide(survivors, window.molecules, out=share, where=window.molecules > 0)
        patch, _ = self._patch(window.rows, window.cols)
        shape = self._survival[patch].shape
        # Where motion squeezes the sample, several stage pixels fall on one of its own.
        flat = np.ravel_multi_index(self._nearest(window.rows, window.cols, patch), shape).ravel()
        hits = np.bincount(flat, minlength=shape[0] * shape[1])
        total = np.bincount(flat, weights=share.ravel(), minlength=hits.size)
        self._survival[patch] *= np.where(hits, total / np.maximum(hits, 1), 1).reshape(shape)

    def fade(self, share: float) -> None:
        """Leave this share of all molecules alive, wherever they are."""
        self._survival *= share

    def survival(self, window: Window) -> NDArray[np.float64]:
        """Ground truth: fraction of the molecules still alive at each pixel of a window."""
        patch, corner = self._patch(window.rows, window.cols)
        alive: NDArray[np.float64] = map_coordinates(
            self._survival[patch], (window.rows - corner[0], window.cols - corner[1]), order=1
        )
        return alive

    @staticmethod
    def _nearest(
        rows: NDArray[np.float64], cols: NDArray[np.float64], patch: tuple[slice, slice]
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Indices within a patch of the material pixel nearest to each coordinate."""
        row, col = (
            # Halves go up: rounding them to even would leave every other row out.
            np.clip(np.floor(at + 0.5).astype(np.intp) - part.start, 0, part.stop - part.start - 1)
            for at, part in zip((rows, cols), patch, strict=True)
        )
        return row, col

    def _patch(
        self, rows: NDArray[np.float64], cols: NDArray[np.float64]
    ) -> tuple[tuple[slice, slice], tuple[int, int]]:
        """The part of the canvas that surrounds these material coordinates, and its corner."""
        n = len(self._density)
        parts = []
        for at in (rows, cols):
            low = max(0, min(n - 2, int(np.floor(at.min()))))
            parts.append(slice(low, max(low + 2, min(n, int(np.ceil(at.max())) + 2))))
        return (parts[0], parts[1]), (parts[0].start, parts[1].start)
