"""Rebuilds frames on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.accelerator import Accelerator
from models.interpolation.calibration import rebuilt
from models.interpolation.compute import LEAST, MARGIN, Made, factor_of_sd, refuse
from models.interpolation.interface import Interpolator
from models.interpolation.weights import Loaded
from models.layout import placed
from models.program import Outputs, Programs, affordable
from models.raw_frames import raw_bits, single, sorted_levels
from models.restoration.tiles import cut


class OnGpu:
    """Convolutions in bfloat16 with channels last, one captured graph a shape.

    As in `models.restoration.on_gpu.OnGpu` frames go up once, in their own type, and all from
    the percentiles to the way back to their units is one graph, with the time as a number on the
    GPU. Coordinates, warps and all that follows the network are single precision.

    Parameters
    ----------
    loaded
        Weights, normalization and calibration.
    accelerator
        The GPU. Nothing is put on it before the first frame.
    both_ways
        Ask the network twice, the second time with time running backwards.
    dtype
        Of convolutions; by default the one that the GPU has units for.
    """

    most = 2048
    """Largest side of a tile (pixels)."""

    def __init__(
        self,
        loaded: Loaded,
        accelerator: Accelerator,
        *,
        both_ways: bool,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._accelerator, self._dtype = accelerator, dtype
        self._weights = loaded.network
        self._normalization = loaded.normalization
        self._both_ways, self._blend = both_ways, loaded.calibration.blend
        self._factor = factor_of_sd(loaded, both_ways)
        self._multiple = loaded.network.multiple
        self._network: Interpolator | None = None
        self._programs = Programs(accelerator)
        self._largest: int | None = None

    @property
    def device(self) -> str:
        """The GPU."""
        return self._accelerator.name

    @property
    def largest(self) -> int:
        """What the memory that was free at the first frame is enough for."""
        if self._largest is None:

            def work(side: int) -> Outputs:
                pair = torch.zeros(2, side, side, device=self._accelerator.place)
                return (self._planes(pair, pair.new_full((), 0.5)),)

            self._largest = affordable(self._accelerator, work, LEAST, self.most, self._multiple)
        return self._largest

    def rebuild(self, before: NDArray[Any], after: NDArray[Any], t: float, side: int) -> Made:
        """See `Compute`."""
        types = before.dtype, after.dtype
        with self._accelerator.working():
            first = self._accelerator.up(raw_bits(before))
            second = self._accelerator.up(raw_bits(after))
            time = self._accelerator.up(np.array(t, np.float32))
            if max(before.shape) <= side:
                key = ("whole", before.shape, *(dtype.str for dtype in types))
                outputs = self._programs(key, lambda: self._whole(*types), first, second, time)
            else:
                outputs = self._in_tiles(first, second, time, types, side)
            arrived = self._accelerator.down(outputs)
        image, sd, numbers = arrived()
        signal, mean_sd, *missing = numbers.tolist()
        for name, count in zip(("before", "after"), missing, strict=True):
            refuse(name, int(count))
        return Made(image, sd, mean_sd / max(signal, 1e-6))

    def notes(self) -> list[str]:
        """See `Compute`."""
        found = list(self._accelerator.notes)
        self._accelerator.notes.clear()
        return found

    def release(self) -> None:
        """Drop graphs and weights; the next frame brings them back."""
        self._network, self._largest = None, None
        self._programs.clear()
        self._accelerator.release()

    def _whole(self, *types: np.dtype[Any]) -> Callable[..., Outputs]:
        """The captured work for frames of one shape and type."""

        def work(before: Tensor, after: Tensor, t: Tensor) -> Outputs:
            pair, offset, scale = self._normalized(before, after, types)
            found = self._planes((pair - offset.float()) / scale.float(), t)
            return _finished(pair, found, offset, scale, types)

        return work

    def _in_tiles(
        self,
        before: Tensor,
        after: Tensor,
        t: Tensor,
        types: tuple[np.dtype[Any], ...],
        side: int,
    ) -> Outputs:
        pair, offset, scale = self._normalized(before, after, types)
        images = (pair - offset.float()) / scale.float()
        for axis, length in ((1, before.shape[0]), (2, before.shape[1])):
            # Continued with the value at the edge.
            padded = torch.arange(length + -length % self._multiple, device=pair.device)
            images = images.index_select(axis, padded.clamp(max=length - 1))
        _, rows, columns = images.shape
        whole = torch.empty_like(images)
        for tile in cut((rows, columns), side, MARGIN, self._multiple):
            window = images[(slice(None), *tile.window)]
            (found,) = self._programs(
                ("window", tuple(window.shape)),
                lambda: self._window,
                window,
                t,
            )
            whole[(slice(None), *tile.core)] = found[(slice(None), *tile.inner)]
        return _finished(pair, whole, offset, scale, types)

    def _window(self, images: Tensor, t: Tensor) -> Outputs:
        return (self._planes(images, t),)

    def _normalized(
        self, before: Tensor, after: Tensor, types: tuple[np.dtype[Any], ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Both frames in single precision, and the offset and scale that they share."""
        frames = [single(raw, dtype) for raw, dtype in zip((before, after), types, strict=True)]
        pair = torch.stack(frames)
        low, high = self._normalization.low, self._normalization.high
        return pair, *sorted_levels(pair, low, high)

    def _planes(self, images: Tensor, t: Tensor) -> Tensor:
        """Location and standard deviation of normalized frames (2 × rows × columns)."""
        before, after = images[:, None, None]
        # A cast that is kept from one launch to the next would not be a part of the graph.
        narrow = torch.autocast(
            torch.device(self._accelerator.place).type,
            self._narrow,
            enabled=self._narrow != torch.float32,
            cache_enabled=False,
        )
        with narrow:
            location, sd = rebuilt(
                self._ready(), before, after, t, both_ways=self._both_ways, blend=self._blend
            )
        return torch.cat([location, self._factor * sd])[:, 0]

    @property
    def _narrow(self) -> torch.dtype:
        return self._dtype or self._accelerator.narrow

    def _ready(self) -> Interpolator:
        """The network on the GPU."""
        if self._network is None:
            network = placed(copy.deepcopy(self._weights).eval(), self._accelerator.place)
            for part in network.modules():
                if isinstance(part, nn.Conv2d):
                    part.to(self._narrow)
            self._network = network
        return self._network


def _finished(
    pair: Tensor,
    found: Tensor,
    offset: Tensor,
    scale: Tensor,
    types: tuple[np.dtype[Any], ...],
) -> Outputs:
    """Image and deviation in the frames' units, and the frame's figures."""
    _, rows, columns = pair.shape
    location, sd = found[0, :rows, :columns], found[1, :rows, :columns]
    missing = (~torch.isfinite(pair)).sum((1, 2)).double()
    means = location.abs().mean(dtype=torch.float64), sd.mean(dtype=torch.float64)
    deviation = sd * scale.float()
    small = all(dtype.kind in "ui" and dtype.itemsize <= 2 for dtype in types)
    return (
        location * scale.float() + offset.float(),
        deviation.half() if small else deviation,
        torch.cat([torch.stack(means), missing]),
    )
