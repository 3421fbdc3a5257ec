"""Patches of frames, drawn where there is something to see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.restoration.normalization import Image

_BLOCK = 4
"""Side of the blocks that are compared (pixels); chosen."""
_LEVEL = 0.4
"""How far from the median to the brightest blocks structure begins, as in CARE."""
_SHIFT = 0.25
"""How far from a patch's middle that structure may be (share of its side); chosen."""


class Patches:
    """Draws patches from frames.

    Most have structure in their middle, as in CARE: a block of 4 × 4 pixels is structure where
    it is brighter than 0.4 of the way from the frame's median to its brightest blocks. Each is
    turned by quarters and mirrored at random.

    Parameters
    ----------
    stacks
        Frames, each images × rows × columns; a patch drawn from one frame is the same patch of
        all its images.
    guides
        For each of `stacks` the image (rows × columns) that says where structure is.
    side
        Pixels on a side of a patch.
    anywhere
        Share of the patches drawn anywhere.

    Examples
    --------
    >>> frame = np.random.default_rng(0).random((1, 64, 64), dtype=np.float32)
    >>> patches = Patches([frame], [frame[0]], side=16, anywhere=0.25)
    >>> tuple(patches.draw(np.random.default_rng(0), 3).shape)
    (3, 1, 16, 16)
    """

    def __init__(
        self,
        stacks: Sequence[NDArray[np.float32]],
        guides: Sequence[Image],
        side: int,
        anywhere: float,
    ) -> None:
        self._stacks = list(stacks)
        self._centres = [_structured(guide) for guide in guides]
        self._side, self._anywhere = side, anywhere

    def draw(self, rng: np.random.Generator, count: int) -> Tensor:
        """`count` patches, count × images × side × side."""
        return torch.from_numpy(np.stack([self._one(rng) for _ in range(count)]))

    def _one(self, rng: np.random.Generator) -> NDArray[np.float32]:
        index = int(rng.integers(len(self._stacks)))
        stack, centres, side = self._stacks[index], self._centres[index], self._side
        free = np.array(stack.shape[1:]) - side
        corner = rng.integers(0, free + 1)
        if len(centres) and rng.random() >= self._anywhere:
            centre = centres[rng.integers(len(centres))]
            away = rng.uniform(-_SHIFT, _SHIFT, 2) * side
            corner = np.clip((centre + away).astype(int) - side // 2, 0, free)
        row, column = (int(value) for value in corner)
        return turned(stack[:, row : row + side, column : column + side], rng)


def turned(stack: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """All images of a stack turned by the same quarters and mirrored alike, at random.

    Examples
    --------
    >>> turned(np.zeros((2, 8, 8), np.float32), np.random.default_rng(0)).shape
    (2, 8, 8)
    """
    quarters = np.rot90(stack, int(rng.integers(4)), axes=(1, 2))
    return np.ascontiguousarray(quarters[:, :, ::-1] if rng.random() < 0.5 else quarters)


def _structured(guide: Image) -> NDArray[np.int64]:
    """Row and column of the middle of every block with structure (blocks × 2)."""
    rows, columns = (size // _BLOCK * _BLOCK for size in guide.shape)
    blocks = guide[:rows, :columns].reshape(rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
    bright = blocks.mean((1, 3))
    dark, top = np.percentile(bright, (50, 99.9))
    found: NDArray[np.int64] = np.argwhere(bright > dark + _LEVEL * (top - dark))
    return found * _BLOCK + _BLOCK // 2
