"""Sends a plane through a network of the zoo, whole or in tiles, in lengths that it takes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.restoration.tiles import cut
from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.planes import Lengths

Plane = NDArray[Any]
_OVERLAP = 32
"""Pixels to each side that tiles of a model without a described halo overlap by; chosen."""
_SHARE = 8
"""Of tiles of one fixed length, they are this part of it; chosen."""


def smallest_tile(geometry: Geometry) -> int:
    """Side (pixels) of the smallest tile that is worth its overlap.

    Examples
    --------
    >>> from models.restoration.zoo.planes import PlaneTensor
    >>> plane = PlaneTensor("raw", ("y", "x"))
    >>> smallest_tile(Geometry(plane, plane, Lengths(16, 8), Lengths(16, 8), halo=8))
    80
    """
    least = max(geometry.rows.least, geometry.columns.least)
    if not (geometry.rows.step and geometry.columns.step):
        return least
    return max(least, 2 * _reach(geometry) + 2 * _OVERLAP)


def run_in_tiles(
    plane: Plane, geometry: Geometry, side: int, network: Callable[[Plane], Plane]
) -> Plane:
    """What the network makes of a plane.

    Parameters
    ----------
    plane
        Rows × columns.
    geometry
        Of the model. Its halo is cropped from every tile.
    side
        Longest side (pixels) of a tile, where the model takes several.
    network
        Called with planes of lengths that it takes; gives planes of the same.

    Raises
    ------
    ValueError
        What comes out is of another size.
    """
    halo = geometry.halo
    lengths = geometry.rows, geometry.columns
    multiples = [one.step or 1 for one in lengths]
    multiple = math.lcm(*multiples)
    beyond = [(halo, halo + -(length + 2 * halo) % multiple) for length in plane.shape]
    whole = _continued(plane, beyond, geometry)
    limit = _side(lengths, side, multiple)
    windows = cut((whole.shape[0], whole.shape[1]), limit, _reach(geometry), multiple)
    made: Plane | None = None
    for tile in windows:
        part = whole[tile.window]
        missing = [
            (0, axis.fitting(length) - length)
            for axis, length in zip(lengths, part.shape, strict=True)
        ]
        given = _continued(part, missing, geometry)
        found = network(given)
        if found.shape != given.shape:
            sizes = " and ".join(f"{one.shape[0]} × {one.shape[1]}" for one in (given, found))
            raise ValueError(f"took and gave planes of {sizes} pixels; accepted: of one size")
        if made is None:
            made = np.empty(whole.shape, found.dtype)
        made[tile.core] = found[: part.shape[0], : part.shape[1]][tile.inner]
    assert made is not None
    rows, columns = plane.shape
    return made[halo : halo + rows, halo : halo + columns]


def _reach(geometry: Geometry) -> int:
    """How far tiles overlap to each side (pixels)."""
    if geometry.halo:
        return geometry.halo
    fixed = [one.least for one in (geometry.rows, geometry.columns) if not one.step]
    return min([_OVERLAP, *(length // _SHARE for length in fixed)])


def _side(lengths: tuple[Lengths, Lengths], side: int, multiple: int) -> int:
    """Longest side of a tile: as asked, or what the model takes at all."""
    fixed = [one.least for one in lengths if not one.step]
    if fixed:
        return min(fixed)
    least = max(-(-one.least // multiple) * multiple for one in lengths)
    return max(side, least)


def _continued(plane: Plane, beyond: list[tuple[int, int]], geometry: Geometry) -> Plane:
    """A plane and what lies beyond its edges, as the model wants it."""
    if not any(sum(edge) for edge in beyond):
        return plane
    if geometry.padding == "constant":
        return np.pad(plane, beyond, constant_values=geometry.fill)
    mode: Any = geometry.padding
    return np.pad(plane, beyond, mode=mode)
