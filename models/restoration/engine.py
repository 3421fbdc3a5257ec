"""Filters frames with trained weights, as they come or from a file.

On a CPU it computes in single precision what the network says, to rounding, in the rewritten
form of `folded`: the fastest that was found without a compiler. Time over that of the plain network
(eager, float32, channels first) for the same 512 × 512 frame, medians of 5 to 9 alternating runs
on two busy cores of an AMD EPYC with AVX-512, torch 2.13:

==========================  =========  =========  =========  =========
network, depth 2            3 × 3, 16 filters     5 × 5, 32 filters
threads                     1          2          1          2
==========================  =========  =========  =========  =========
folded                      0.47–0.50  0.63–0.67  0.67–0.71  0.66
channels last alone         0.59–0.60  0.62–0.65  0.80–0.82  0.80
torch.jit, frozen           0.71       0.85       0.80
the same, channels last     0.64       0.83       0.90
folded, in tiles of 256     0.75       1.56       1.10
==========================  =========  =========  =========  =========

`torch.jit` is deprecated besides. oneDNN's own blocked layout is faster than channels last for
the first of these convolutions only, by a tenth. An ensemble's convolutions as one grouped
convolution take 1.1 to 1.6 times as long as one after the other. Windows small enough for the
cache cost more in overlap than they save: tiles are for want of memory only.

What is done on a GPU is in `compute.OnCuda`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.restoration.compute import Compute, Image, OnCpu, OnCuda, Wait, error_text
from models.restoration.normalization import Normalization
from models.restoration.tiles import Tile, cut, smallest
from models.restoration.weights import read_restoration

SMALLEST = 8
"""Rows and columns (pixels) that a frame has at least."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A filtered frame, and how sure the network is of it.

    Parameters
    ----------
    image
        Rows × columns, in the frame's own units.
    sd
        Standard deviation of each pixel's error, same units: that of the calibrated Laplace
        distribution (√2 × its scale) and the members' disagreement, added in quadrature.
    uncertainty
        One number for the frame: mean `sd` over the mean of |image − background|, the background
        being the frame's lower percentile. 0.1 is an error of a tenth of the signal.
    device
        Where it was computed: `cpu`, `cuda:0`.
    fault
        What went wrong on the way and how it went on nevertheless; None if nothing did.
    """

    image: Image
    sd: Image
    uncertainty: float
    device: str
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A frame as the network takes it: normalized, continued to a multiple of its pooling."""

    image: Image
    shape: tuple[int, int]
    offset: float
    scale: float


class Restorer:
    """Filters frames of any size with one model.

    Where it is computed is tried in turn, the GPU before the CPU. A GPU out of memory gets the
    frame in tiles of half the size, then of a quarter, and so on; when that does not help, or the
    GPU fails, all frames from there on go to the CPU. The frame on which it happened says so
    (`Restored.fault`). Not for several threads at once.

    Parameters
    ----------
    model
        The name of weights that come along, or a ``.safetensors`` file with its card.
    device
        `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.
    tile
        Longest side (pixels) of what goes through the network at once, overlap included; by
        default 2048 on a CPU and 4096 on a GPU.

    Attributes
    ----------
    card
        The model card.
    computes
        Where it is computed, the first first; shorter after a failure.

    Raises
    ------
    FileNotFoundError
        If weights or card are missing.
    ValueError
        If they cannot be used, there is no such device, or the tile is too small.
    """

    def __init__(self, model: str | Path, device: str = "auto", *, tile: int | None = None) -> None:
        loaded = read_restoration(model)
        network = loaded.members[0]
        if network.channels_in != 1:
            raise ValueError(
                f"{loaded.path}: takes {network.channels_in} channels; accepted are models of one"
            )
        self._reach, self._multiple = network.reach, network.multiple
        self._least = smallest(self._reach, self._multiple)
        if tile is not None and tile < self._least:
            raise ValueError(
                f"tile: found {tile}; accepted are {self._least} pixels and more, as this network"
                f" looks {self._reach} to each side"
            )
        self.card = loaded.card
        self._normalization: Normalization = loaded.normalization
        self._asked = self._tile = tile
        self._faults: list[str] = []
        self.computes: list[Compute] = []
        if (gpu := _gpu(device)) is not None:
            self.computes.append(OnCuda(loaded.members, loaded.calibration, gpu))
        self.computes.append(OnCpu(loaded.members, loaded.calibration))

    def weights_hash(self) -> str:
        """SHA-256 of the weights file, in hexadecimal."""
        digest: str = self.card["weights_sha256"]
        return digest

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Do once, before the first frame, what only the first one of a shape (pixels) needs.

        A fault meanwhile is told with the first frame.
        """
        # A fault of this frame is kept for the next.
        self._planes(self._prepare(np.zeros(shape, np.float32)))

    def restore(self, frame: NDArray[Any]) -> Restored:
        """Filter one frame.

        Parameters
        ----------
        frame
            Rows × columns, any real number type, 8 × 8 pixels or more.

        Raises
        ------
        ValueError
            For a frame that is not 2-D, not of real numbers, not finite or too small.
        """
        prepared = self._prepare(frame)
        return self._finish(prepared, self._planes(prepared))

    def stream(self, frames: Iterable[NDArray[Any]]) -> Iterator[Restored]:
        """Filter frames one after the other, in their order.

        On a GPU a frame is copied and begun while the one before is computed, so that a
        result comes when the frame after it was handed over. Where each result is wanted before
        the next frame is there, use `restore`.
        """
        waiting: deque[tuple[_Prepared, Wait | None]] = deque()
        for frame in frames:
            prepared = self._prepare(frame)
            waiting.append((prepared, self._begin(prepared)))
            while len(waiting) > self.computes[0].ahead:
                yield self._end(*waiting.popleft())
        while waiting:
            yield self._end(*waiting.popleft())

    def _begin(self, prepared: _Prepared) -> Wait | None:
        """Submit a frame that goes through at once; None for one that does not."""
        compute = self.computes[0]
        if max(prepared.image.shape) > self._side(compute):
            return None
        with contextlib.suppress(RuntimeError, MemoryError):
            # What goes wrong here goes wrong again in `_planes`, which says so and goes on.
            return compute.submit(prepared.image)
        return None

    def _end(self, prepared: _Prepared, wait: Wait | None) -> Restored:
        if wait is not None:
            with contextlib.suppress(RuntimeError, MemoryError):
                return self._finish(prepared, wait())
        return self._finish(prepared, self._planes(prepared))

    def _prepare(self, frame: NDArray[Any]) -> _Prepared:
        """Check, normalize and pad a frame."""
        checked = check(frame)
        offset, scale = self._levels(checked)
        image = Normalization.apply(checked, offset, scale)
        gaps = [(0, -length % self._multiple) for length in checked.shape]
        if any(gap for _, gap in gaps):
            image = np.pad(image, gaps, mode="reflect")
        rows, columns = checked.shape
        return _Prepared(np.ascontiguousarray(image), (rows, columns), offset, scale)

    def _levels(self, frame: Image) -> tuple[float, float]:
        with contextlib.suppress(RuntimeError):
            return self.computes[0].levels(frame, self._normalization)
        # A failed GPU: `_planes` will meet it and say so.
        return self._normalization.of(frame)

    def _planes(self, prepared: _Prepared) -> Image:
        """Location and standard deviation, where and in as many tiles as it works."""
        while True:
            compute = self.computes[0]
            last = len(self.computes) == 1
            side = self._side(compute)
            try:
                return self._tiled(compute, prepared.image, side)
            except (RuntimeError, MemoryError) as error:
                short = _short_of_memory(error)
                if last and not short:
                    raise
                with contextlib.suppress(RuntimeError):
                    compute.release()
                half = min(side, max(prepared.image.shape)) // 2
                if short and half >= self._least:
                    self._tile = half
                    self._fault(compute, f"out of memory; in tiles of {half} pixels from here on")
                elif last:
                    raise MemoryError(
                        f"a frame of {prepared.shape[0]} × {prepared.shape[1]} pixels needs more"
                        " memory than there is, even in the smallest tiles"
                    ) from None
                else:
                    self.computes.pop(0)
                    self._tile = self._asked
                    why = "out of memory" if short else error_text(error)
                    self._fault(compute, f"{why}; on {self.computes[0].device} from here on")

    def _tiled(self, compute: Compute, image: Image, side: int) -> Image:
        rows, columns = image.shape
        tiles = cut((rows, columns), side, self._reach, self._multiple)
        if len(tiles) == 1:
            return compute.submit(image)()
        whole = np.empty((2, rows, columns), np.float32)
        waiting: deque[tuple[Tile, Wait]] = deque()

        def take(tile: Tile, wait: Wait) -> None:
            whole[(slice(None), *tile.core)] = wait()[(slice(None), *tile.inner)]

        for tile in tiles:
            waiting.append((tile, compute.submit(np.ascontiguousarray(image[tile.window]))))
            if len(waiting) > compute.ahead:
                take(*waiting.popleft())
        while waiting:
            take(*waiting.popleft())
        return whole

    def _finish(self, prepared: _Prepared, planes: Image) -> Restored:
        """Crop the padding off, and return to the frame's own units."""
        rows, columns = prepared.shape
        location, sd = planes[:, :rows, :columns]
        signal = float(np.abs(location).mean(dtype=np.float64))
        uncertainty = float(sd.mean(dtype=np.float64)) / max(signal, 1e-6)
        fault = "; ".join(self._faults) or None
        self._faults.clear()
        return Restored(
            Normalization.undo(location, prepared.offset, prepared.scale),
            (sd * np.float32(prepared.scale)).astype(np.float32, copy=False),
            uncertainty,
            self.computes[0].device,
            fault,
        )

    def _side(self, compute: Compute) -> int:
        return min(compute.largest, self._tile or compute.largest)

    def _fault(self, compute: Compute, what: str) -> None:
        self._faults.append(f"{compute.device}: {what}")


def check(frame: NDArray[Any]) -> Image:
    """A frame in single precision.

    Raises
    ------
    ValueError
        It is not 2-D, not of real numbers, not finite or too small.
    """
    frame = np.asarray(frame)
    if frame.ndim != 2:
        raise ValueError(f"frame of shape {frame.shape}; accepted is one grey image (y, x)")
    if frame.dtype.kind not in "uifb":
        raise ValueError(f"frame of type {frame.dtype}; accepted are real numbers")
    if min(frame.shape) < SMALLEST:
        raise ValueError(
            f"frame of {frame.shape[0]} × {frame.shape[1]} pixels; accepted are at least"
            f" {SMALLEST} × {SMALLEST}"
        )
    # What single precision cannot hold becomes infinite, and is refused with the rest.
    with np.errstate(over="ignore"):
        single = frame.astype(np.float32)
    if not np.isfinite(single).all():
        raise ValueError(
            f"frame with {int((~np.isfinite(single)).sum())} values not finite; accepted are"
            " finite ones"
        )
    return single


def _gpu(device: str) -> str | None:
    """The GPU that is meant, if any.

    Raises
    ------
    ValueError
        There is no such device.
    """
    if device == "cpu":
        return None
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else None
    known = ["cuda", *(f"cuda:{number}" for number in range(count))] if count else []
    if device not in known:
        raise ValueError(
            f"device: found {device!r}; accepted here are {', '.join(['auto', 'cpu', *known])}"
        )
    return "cuda:0" if device == "cuda" else device


def _short_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU's allocator and the libraries on a GPU say so in words only.
    words = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    return any(word in str(error) for word in words)
