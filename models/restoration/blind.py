"""Noise2void: denoising learned from single frames (Krull, Buchholz, Jug, CVPR 2019).

Some pixels of every patch are overwritten with a neighbour's value, and the network must say what
was there. Of the noise in a pixel its neighbours know nothing; of the structure they do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.restoration.losses import total
from models.restoration.objective import Case
from models.restoration.supervised import Supervised

_SPACING = 8
"""One pixel of each square of so many on a side is blind: 1.6%, as in the later noise2void."""
_REACH = 2
"""How far away the value comes from, in rows and columns (pixels); chosen."""


class Blinded(NamedTuple):
    """Images with blind spots, n × 1 × rows × columns, and where they are (boolean)."""

    images: Tensor
    spots: Tensor


def blind(images: Tensor, rng: np.random.Generator) -> Blinded:
    """Overwrite scattered pixels with another one's value, at most two rows and columns away.

    The value is never the pixel's own, so that nothing of its noise is left to see. (A neighbour
    may by chance have the same number.)

    Parameters
    ----------
    images
        n × 1 × rows × columns.
    rng
        Where chance comes from.

    Examples
    --------
    >>> images = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> blinded = blind(images, np.random.default_rng(0))
    >>> torch.equal(blinded.images[~blinded.spots], images[~blinded.spots])
    True
    """
    count, _, height, width = images.shape
    at = _scattered(count, height, width, rng)
    _, rows, columns = at
    away = _steps(len(rows), rng)
    # Beyond the edge it is the pixel on the other side of this one.
    new_rows = _inside(rows, away[:, 0], height)
    new_columns = _inside(columns, away[:, 1], width)
    places = [torch.from_numpy(index).to(images.device) for index in (*at, new_rows, new_columns)]
    number_t, rows_t, columns_t, from_rows, from_columns = places
    blinded = images.clone()
    blinded[number_t, 0, rows_t, columns_t] = images[number_t, 0, from_rows, from_columns]
    spots = torch.zeros_like(images, dtype=torch.bool)
    spots[number_t, 0, rows_t, columns_t] = True
    return Blinded(blinded, spots)


def _scattered(
    count: int, height: int, width: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Image, row and column of one pixel in every square of the grid."""
    squares = np.indices((count, -(-height // _SPACING), -(-width // _SPACING))).reshape(3, -1)
    number = squares[0]
    rows, columns = squares[1:] * _SPACING + rng.integers(0, _SPACING, (2, len(number)))
    kept = (rows < height) & (columns < width)
    return number[kept], rows[kept], columns[kept]


def _steps(count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows and columns to a neighbour (count × 2), never none of both."""
    side = 2 * _REACH + 1
    middle = side * side // 2
    drawn = rng.integers(0, side * side - 1, count)
    drawn = drawn + (drawn >= middle)
    return np.stack([drawn // side - _REACH, drawn % side - _REACH], 1)


def _inside(place: NDArray[np.int64], step: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    moved = place + step
    return np.where((moved < 0) | (moved >= size), place - step, moved)


class BlindSpots(Supervised):
    """Training on single frames; stacks of one image each."""

    def loss(self, patches: Tensor, rng: np.random.Generator) -> Tensor:
        """Loss at the blind spots alone."""
        source, spots = blind(patches, rng)
        location, scale = (part.float() for part in self.network(source))
        return total(self.recipe.loss, location[spots], scale[spots], patches[spots])

    def case(self, index: int) -> Case:
        """A validation frame with blind spots of its own, the same every time."""
        target = self.image(index)
        source, spots = blind(target, np.random.default_rng((self.recipe.seed, index)))
        return Case(source, target, spots)
