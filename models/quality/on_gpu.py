"""A frame's tiles, what the network says of them, and what flags need, in one graph on a GPU.

On the CPU, cutting and scaling tiles and looking for flags takes longer than a GPU takes for the
rest.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.accelerator import Accelerator
from models.devices import exact
from models.program import Outputs, Programs
from models.quality.hot import FAR
from models.quality.network import RatingNet
from models.quality.preparing import INPUT
from models.quality.raster import raster_flags
from models.quality.resampling import PIXEL_SIZE_NM
from models.quality.scope import BLOCK, at_the_limit, without_structure
from models.quality.score import Flag
from models.quality.tiles import PERCENTILES, corners
from models.raw_frames import percentiles, raw_bits, single

_AT_ONCE = 16
"""Tiles that go through the network at once; chosen."""


class FrameProperties(NamedTuple):
    """Properties of a frame.

    Parameters
    ----------
    predicted
        Value, standard deviation and distance of every tile.
    weights
        Of the tiles, as `preparing.prepare` gives them.
    flags
        Found in its pixels.
    """

    predicted: tuple[NDArray[np.float64], ...]
    weights: NDArray[np.float64]
    flags: list[Flag]


class OnGpu:
    """Looks at frames of 20 nm a pixel, which need not be resampled.

    Parameters
    ----------
    network
        On the GPU already.
    accelerator
        The GPU.
    """

    def __init__(self, network: RatingNet, accelerator: Accelerator) -> None:
        self._network, self._accelerator = network, accelerator
        self._programs = Programs(accelerator)

    def look(self, frame: NDArray[Any]) -> FrameProperties | None:
        """Properties of a frame; None where only the CPU can tell.

        That is of frames that may have hot pixels or are not finite, and of types with more digits
        than single precision.
        """
        if frame.dtype.kind != "f" and frame.dtype.itemsize > 2:
            return None
        with self._accelerator.working():
            raw = self._accelerator.up(raw_bits(frame))
            key = (frame.shape, frame.dtype.str)
            outputs = self._programs(key, lambda: partial(self._work, dtype=frame.dtype), raw)
            arrived = self._accelerator.down(outputs)
        # Meanwhile, on the host: what of a frame is looked at for these is small.
        raster = raster_flags(frame, PIXEL_SIZE_NM)
        found, numbers = arrived()
        told = dict(zip(_NUMBERS, numbers.tolist(), strict=True))
        if not np.isfinite(numbers).all() or 0 < told["far"] < told["top"] - told["low"]:
            return None
        value, sd, distance, contrast = found.astype(np.float64)
        total = contrast.sum()
        weights = contrast / total if total > 0 else contrast
        return FrameProperties((value, sd, distance), weights, _flags(told, frame, raster))

    def _work(self, raw: Tensor, dtype: np.dtype[Any]) -> Outputs:
        pixels = single(raw, dtype)
        tiles = _cover(pixels)
        contrast = tiles.double().flatten(1).std(1, unbiased=False)
        normalized = torch.stack([_normalized(tile) for tile in tiles])
        with exact():
            parts = [self._network(part[:, None]) for part in torch.split(normalized, _AT_ONCE)]
        predicted = [torch.cat(column).double() for column in zip(*parts, strict=True)]
        return torch.stack([*predicted, contrast]), _numbers(pixels)


_NUMBERS = ("low", "far", "top", "next", "least", "at_top", "at_next", "ratio", "variance")


def _cover(pixels: Tensor) -> Tensor:
    """As `tiles.cover`: tiles × rows × columns."""
    for axis, length in enumerate(pixels.shape):
        if (gap := max(0, INPUT - length)) > 0:
            places = np.pad(np.arange(length), (gap // 2, gap - gap // 2), mode="reflect")
            # Slices, as places from the host could not be copied while a graph is captured.
            parts = [pixels.narrow(axis, int(place), 1) for place in places]
            pixels = torch.cat(parts, axis)
    starts = corners(tuple(pixels.shape), INPUT)
    return torch.stack([pixels[y : y + INPUT, x : x + INPUT] for y, x in starts])


def _normalized(tile: Tensor) -> Tensor:
    """As `tiles.normalize`; a tile that is constant becomes zero here, too."""
    low, high, least, most = percentiles(tile, *PERCENTILES)
    alike = high <= low
    low, high = torch.where(alike, least, low), torch.where(alike, most, high)
    scale = torch.where(high > low, high - low, torch.ones_like(high))
    return (tile - low.float()) / scale.float()


def _numbers(pixels: Tensor) -> Tensor:
    """What `hot` and `scope` ask of a frame, by `_NUMBERS`."""
    low, high, least, top = percentiles(pixels, *PERCENTILES)
    below = torch.where(pixels < pixels.amax(), pixels, pixels.amin())
    next_ = torch.where(top > least, below.amax().double(), top)
    at_top = (pixels == pixels.amax()).sum().double()
    at_next = (pixels == next_.float()).sum().double()
    rows, columns = (length // BLOCK for length in pixels.shape)
    cut = pixels[: rows * BLOCK, : columns * BLOCK].double()
    variance = cut.var(unbiased=False)
    blocks = cut.reshape(rows, BLOCK, columns, BLOCK).mean((1, 3))
    expected = torch.where(variance > 0, variance, torch.ones_like(variance)) / BLOCK**2
    ratio = blocks.var(unbiased=False) / expected
    far = FAR * (high - low)
    return torch.stack([low, far, top, next_, least, at_top, at_next, ratio, variance])


def _flags(told: dict[str, float], frame: NDArray[Any], raster: list[Flag]) -> list[Flag]:
    """As `scope.flags`, with what its lines and noise show."""
    found: list[Flag] = []
    rows, columns = (length // BLOCK for length in frame.shape)
    alike = told["top"] == told["least"] if min(rows, columns) < 2 else told["variance"] == 0
    if alike or (min(rows, columns) >= 2 and without_structure(told["ratio"], rows * columns)):
        found.append("blank")
    counts = frame.size, int(told["at_top"]), int(told["at_next"])
    if at_the_limit(counts, (told["top"], told["next"], told["least"]), frame.dtype):
        found.append("saturated")
    if "blank" not in found:
        found += raster
    return found
