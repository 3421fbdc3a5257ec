"""Filters frames on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.accelerator import Accelerator
from models.program import Outputs, Programs, affordable
from models.raw_frames import mirrored, raw_bits, single, sorted_levels
from models.restoration.compute import (
    Answer,
    Wait,
    as_it_is,
    empty,
    planes,
    refuse,
    uncertainty,
)
from models.restoration.folded import Folded
from models.restoration.network import RestorationNet
from models.restoration.normalization import Normalization
from models.restoration.tiles import cut, smallest


class OnGpu:
    """Half-size numbers (bfloat16), one captured graph a shape, copies beside the computing.

    Cards that have no units for bfloat16 compute in single precision.

    The frame goes up once, in its own type. Percentiles, normalization, the network, the way back
    to the frame's units and the mean signal and deviation are one graph, with offset and scale
    as numbers that stay on the GPU. The frame comes down in single precision with its deviation,
    which for frames of at most 16 bits has half the digits.

    Weights and maps are bfloat16 with channels last, which the tensor cores take; sums within
    a convolution, the head and all that follows are single precision. A frame in tiles goes up
    and down as a whole, too: tiles are cut and joined on the GPU.

    Parameters
    ----------
    members, calibration, normalization
        Of the weights file.
    accelerator
        The GPU. Nothing is put on it before the first frame, so that a full one is met where
        `Restorer` can continue without.
    dtype
        Of convolutions; by default the one that the GPU has units for.
    """

    ahead = 1
    most = 4096
    """Largest side of a tile (pixels): beyond it there is nothing to gain."""

    def __init__(
        self,
        members: Sequence[RestorationNet],
        calibration: float,
        normalization: Normalization,
        accelerator: Accelerator,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._accelerator, self._dtype = accelerator, dtype
        self._networks = members
        self._calibration, self._normalization = calibration, normalization
        self._reach, self._multiple = members[0].reach, members[0].multiple
        self._members: list[Folded] = []
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
            self._ready()
            place = self._accelerator.place
            least = smallest(self._reach, self._multiple)
            self._largest = affordable(
                self._accelerator,
                lambda side: self._planes(torch.zeros(side, side, device=place)),
                least,
                self.most,
                self._multiple,
            )
        return self._largest

    def submit(self, frame: NDArray[Any], side: int) -> Wait:
        """Begun at once; the returned function waits until it has come down."""
        self._ready()
        with self._accelerator.working():
            raw = self._accelerator.up(raw_bits(frame))
            padded = [length + -length % self._multiple for length in frame.shape]
            if max(padded) <= side:
                key = ("whole", frame.shape, frame.dtype.str)
                outputs = self._programs(key, lambda: self._whole(frame), raw)
            else:
                outputs = self._in_tiles(raw, frame, side)
            arrived = self._accelerator.down(outputs)

        def wait() -> Answer:
            image, sd, numbers = arrived()
            signal, mean_sd, missing, varied = numbers.tolist()
            refuse(int(missing))
            if empty(int(varied), frame.size):
                return as_it_is(frame)
            return Answer(image, sd, uncertainty(signal, mean_sd))

        return wait

    def notes(self) -> list[str]:
        """See `Compute`."""
        found = list(self._accelerator.notes)
        self._accelerator.notes.clear()
        return found

    def release(self) -> None:
        """Drop graphs and weights; the next frame brings them back."""
        self._members, self._largest = [], None
        self._programs.clear()
        self._accelerator.release()

    def _ready(self) -> None:
        """Put the weights on the GPU."""
        if not self._members:
            narrow = self._dtype or self._accelerator.narrow
            with self._accelerator.working():
                self._members = [
                    Folded(network).to(self._accelerator.place).narrowed(narrow).eval()
                    for network in self._networks
                ]

    def _whole(self, frame: NDArray[Any]) -> Callable[[Tensor], Outputs]:
        """The captured work for frames of one shape and type."""
        continued, dtype = self._continued(frame), frame.dtype

        def work(raw: Tensor) -> Outputs:
            pixels = single(raw, dtype)
            offset, scale = self._levels(pixels)
            image = continued((pixels - offset.float()) / scale.float())
            return _finished(pixels, self._planes(image), offset, scale, dtype)

        return work

    def _in_tiles(self, raw: Tensor, frame: NDArray[Any], side: int) -> Outputs:
        pixels = single(raw, frame.dtype)
        offset, scale = self._levels(pixels)
        image = self._continued(frame)((pixels - offset.float()) / scale.float())
        whole = image.new_empty((2, *image.shape))
        rows, columns = image.shape
        for tile in cut((rows, columns), side, self._reach, self._multiple):
            window = image[tile.window]
            (found,) = self._programs(("window", tuple(window.shape)), lambda: self._window, window)
            whole[(slice(None), *tile.core)] = found[(slice(None), *tile.inner)]
        return _finished(pixels, whole, offset, scale, frame.dtype)

    def _window(self, image: Tensor) -> Outputs:
        return (self._planes(image),)

    def _levels(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return sorted_levels(pixels, self._normalization.low, self._normalization.high)

    def _planes(self, image: Tensor) -> Tensor:
        return planes(self._members, self._calibration, image[None, None])

    def _continued(self, frame: NDArray[Any]) -> Callable[[Tensor], Tensor]:
        """Continues a frame to what the network's pooling takes."""
        rows, columns = frame.shape
        places = mirrored((rows, columns), self._multiple)
        if places is None:
            return lambda image: image
        down, across = (torch.from_numpy(one).to(self._accelerator.place) for one in places)
        return lambda image: image.index_select(0, down).index_select(1, across)


def _finished(
    pixels: Tensor, found: Tensor, offset: Tensor, scale: Tensor, dtype: np.dtype[Any]
) -> Outputs:
    """Image and deviation in the frame's units, and the frame's figures."""
    rows, columns = pixels.shape
    location, sd = found[0, :rows, :columns], found[1, :rows, :columns]
    numbers = torch.stack(
        [
            location.abs().mean(dtype=torch.float64),
            sd.mean(dtype=torch.float64),
            (~torch.isfinite(pixels)).sum().double(),
            (pixels != pixels.min()).sum().double(),
        ]
    )
    small = dtype.kind in "uib" and dtype.itemsize <= 2
    deviation = sd * scale.float()
    return (
        location * scale.float() + offset.float(),
        deviation.half() if small else deviation,
        numbers,
    )
