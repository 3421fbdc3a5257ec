"""Rebuilds frames on the CPU."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.interpolation.calibration import rebuilt
from models.interpolation.compute import LEAST, MARGIN, Made, factor_of_sd, finite
from models.interpolation.normalization import Image, Normalization, levels
from models.interpolation.weights import Loaded
from models.memory import free_memory
from models.restoration.tiles import cut

# Of the free memory, the rest being for what else runs here.
_SHARE = 0.5


class OnCpu:
    """Single precision.

    Parameters
    ----------
    loaded
        Weights, normalization and calibration.
    both_ways
        Ask the network twice, the second time with time running backwards.
    """

    device = "cpu"
    most = 1024
    """Largest side of a tile (pixels)."""

    def __init__(self, loaded: Loaded, *, both_ways: bool) -> None:
        self._network = loaded.network.eval()
        self._normalization = loaded.normalization
        self._both_ways, self._blend = both_ways, loaded.calibration.blend
        self._factor = factor_of_sd(loaded, both_ways)
        self._largest: int | None = None

    @property
    def largest(self) -> int:
        """What half of the memory that was free at the first frame is enough for."""
        if self._largest is None:
            free, self._largest = free_memory(), self.most
            if free is not None:
                multiple = self._network.multiple
                side = math.isqrt(int(_SHARE * free / self._needed(1)))
                self._largest = min(max(side // multiple * multiple, LEAST), self.most)
        return self._largest

    def _needed(self, pixels: int) -> int:
        """Bytes for a window of so many pixels."""
        return (2 if self._both_ways else 1) * self._network.bytes_a_pixel * pixels

    def rebuild(self, before: NDArray[Any], after: NDArray[Any], t: float, side: int) -> Made:
        """See `Compute`."""
        first, second = finite(before, "before"), finite(after, "after")
        offset, scale = levels(self._normalization, first, second)
        images = Normalization.apply(np.stack([first, second]), offset, scale)
        location, sd = self._planes(images, t, side)
        uncertainty = float(sd.mean()) / max(float(np.abs(location).mean()), 1e-6)
        image = Normalization.undo(location, offset, scale)
        return Made(image, sd * np.float32(scale), uncertainty)

    def _planes(self, images: Image, t: float, side: int) -> tuple[Image, Image]:
        """Location and standard deviation of normalized frames (2 × rows × columns)."""
        _, rows, columns = images.shape
        needed, free = self._needed(min(rows, side) * min(columns, side)), free_memory()
        if free is not None and needed > free:
            # To ask for it would be to be killed.
            raise MemoryError(f"{needed / 2**30:.1f} GB needed, {free / 2**30:.1f} GB free")
        multiple = self._network.multiple
        if max(rows, columns) <= side:
            return self._window(images, t)
        gaps = ((0, 0), (0, -rows % multiple), (0, -columns % multiple))
        padded = np.pad(images, gaps, mode="edge")
        whole = np.empty((2, *padded.shape[1:]), np.float32)
        shape = (padded.shape[1], padded.shape[2])
        for tile in cut(shape, side, MARGIN, multiple):
            found = np.stack(self._window(padded[(slice(None), *tile.window)], t))
            whole[(slice(None), *tile.core)] = found[(slice(None), *tile.inner)]
        location, sd = whole[:, :rows, :columns]
        return location, sd

    def _window(self, images: Image, t: float) -> tuple[Image, Image]:
        before, after = torch.from_numpy(np.ascontiguousarray(images))[:, None, None]
        with torch.inference_mode():
            location, sd = rebuilt(
                self._network, before, after, t, both_ways=self._both_ways, blend=self._blend
            )
            found = torch.cat([location, self._factor * sd])[:, 0].numpy()
        return found[0], found[1]

    def notes(self) -> list[str]:
        """Nothing is got around here."""
        return []

    def release(self) -> None:
        """Nothing is held between two frames; what is free is looked up again."""
        self._largest = None
