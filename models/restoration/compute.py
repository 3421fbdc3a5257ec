"""Where frames are restored: on the CPU, or on a GPU.

Both take a frame in its own type, and give it back in its own units with its uncertainty. How a
frame is scaled, restored and scaled back is the same; what differs is where each step is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.accelerator import Accelerator
from models.program import (
    Outputs,
    Programs,
    affordable,
    mirrored,
    raw_bits,
    single,
    sorted_levels,
)
from models.restoration.folded import Folded
from models.restoration.network import RestorationNet
from models.restoration.normalization import Normalization
from models.restoration.tiles import cut, smallest

Image = NDArray[np.float32]

# Share of the pixels beyond the upper percentile of the normalization.
_EMPTY = 2e-3


class Answer(NamedTuple):
    """A frame as `engine.Restored` has it.

    Parameters
    ----------
    image, sd
        Rows × columns, in the frame's units.
    uncertainty
        Mean `sd` over the mean of |image − background|.
    """

    image: Image
    sd: NDArray[Any]
    uncertainty: float


Wait = Callable[[], Answer]
"""Waits for a result and returns it."""


class Compute(Protocol):
    """Runs all members on one frame at a time."""

    @property
    def device(self) -> str:
        """As it is told: `cpu`, `cuda:0`."""

    @property
    def largest(self) -> int:
        """Side (pixels) above which a frame goes through in tiles."""

    @property
    def ahead(self) -> int:
        """Results that may be waited for while the next frame is submitted."""

    def submit(self, frame: NDArray[Any], side: int) -> Wait:
        """Start on a frame, in tiles of at most so many pixels.

        Raises, at once or when it is waited for, `ValueError` for a frame that is not finite.
        """

    def notes(self) -> list[str]:
        """Errors that were got around since the last call."""

    def release(self) -> None:
        """Give back all memory that can be had again later."""


def planes(members: Sequence[Folded], calibration: float, image: Tensor) -> Tensor:
    """Location and standard deviation (2 × rows × columns) of an image (1 × 1 × rows × columns).

    A Laplace distribution's standard deviation is √2 times its scale. Of members that disagree
    each may be right: the variance of their locations adds to their mean variance (law of
    total variance).
    """
    found = [member(image) for member in members]
    location = torch.cat([one.location for one in found])
    scale = torch.cat([one.scale for one in found])
    variance = (math.sqrt(2) * calibration * scale).square().mean(0)
    if len(found) > 1:
        variance = variance + location.var(0, unbiased=False)
    return torch.cat([location.mean(0), variance.sqrt()])


class OnCpu:
    """Single precision, with the members' convolutions folded (see `folded`).

    Parameters
    ----------
    members, calibration, normalization
        Of the weights file.
    """

    device = "cpu"
    # 2048² pixels through 32 filters of the first level take about 2 GiB.
    largest = 2048
    ahead = 0

    def __init__(
        self,
        members: Sequence[RestorationNet],
        calibration: float,
        normalization: Normalization,
    ) -> None:
        self._reach, self._multiple = members[0].reach, members[0].multiple
        self._members = [Folded(member).eval() for member in members]
        self._calibration, self._normalization = calibration, normalization

    def submit(self, frame: NDArray[Any], side: int) -> Wait:
        """Computed when it is waited for: there is nothing beside which it could run."""
        with np.errstate(over="ignore"):
            checked = frame.astype(np.float32)
        finite = np.isfinite(checked)
        refuse(0 if finite.all() else int((~finite).sum()))

        def wait() -> Answer:
            if empty(int(np.count_nonzero(frame != frame.min())), frame.size):
                return as_it_is(frame)
            offset, scale = self._normalization.of(checked)
            image = Normalization.apply(checked, offset, scale)
            gaps = [(0, -length % self._multiple) for length in checked.shape]
            if any(gap for _, gap in gaps):
                image = np.pad(image, gaps, mode="reflect")
            rows, columns = checked.shape
            location, sd = self._tiled(image, side)[:, :rows, :columns]
            signal = float(np.abs(location).mean(dtype=np.float64))
            return Answer(
                Normalization.undo(location, offset, scale),
                (sd * np.float32(scale)).astype(np.float32, copy=False),
                uncertainty(signal, float(sd.mean(dtype=np.float64))),
            )

        return wait

    def _tiled(self, image: Image, side: int) -> Image:
        """Location and standard deviation, both normalized."""
        rows, columns = image.shape
        tiles = cut((rows, columns), side, self._reach, self._multiple)
        if len(tiles) == 1:
            return self._planes(image)
        whole = np.empty((2, rows, columns), np.float32)
        for tile in tiles:
            found = self._planes(image[tile.window])
            whole[(slice(None), *tile.core)] = found[(slice(None), *tile.inner)]
        return whole

    def _planes(self, image: Image) -> Image:
        ready = torch.from_numpy(np.ascontiguousarray(image))[None, None]
        with torch.inference_mode():
            found: Image = planes(self._members, self._calibration, ready).numpy()
        return found

    def notes(self) -> list[str]:
        """Nothing is got around here."""
        return []

    def release(self) -> None:
        """Nothing is held between two frames."""


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


def uncertainty(signal: float, mean_sd: float) -> float:
    """One number for a frame, of two that are normalized.

    Examples
    --------
    >>> uncertainty(signal=2.0, mean_sd=0.5)
    0.25
    """
    return mean_sd / max(signal, 1e-6)


def empty(varied: int, size: int) -> bool:
    """Whether so few pixels differ from the background that there is nothing to scale a frame by.

    The two percentiles then coincide, a single count would be a whole signal, and a network's
    output for the background, a few hundredths of that, would be haze that was not measured.

    Parameters
    ----------
    varied
        Pixels that are not the darkest.
    size
        Of all.

    Examples
    --------
    >>> empty(varied=0, size=4096), empty(varied=4000, size=4096)
    (True, False)
    """
    return varied <= _EMPTY * size


def as_it_is(frame: NDArray[Any]) -> Answer:
    """The frame itself, in which each pixel may be wrong by as much as all of them vary.

    Examples
    --------
    >>> answer = as_it_is(np.array([[0, 2]], np.uint16))
    >>> answer.image.tolist(), answer.sd.tolist(), answer.uncertainty
    ([[0.0, 2.0]], [[1.0, 1.0]], 1.0)
    """
    image = frame.astype(np.float32)
    sd = np.full_like(image, image.std(dtype=np.float64))
    signal = float(np.abs(image - image.min()).mean(dtype=np.float64))
    return Answer(image, sd, uncertainty(signal, float(sd.mean(dtype=np.float64))))


def refuse(missing: int) -> None:
    """Refuse a frame with values that are not finite.

    Raises
    ------
    ValueError
        There are some.
    """
    if missing:
        raise ValueError(f"frame with {missing} values not finite; accepted: finite ones")


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
