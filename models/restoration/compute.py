"""Where a restoration network is computed: on the CPU, or on a GPU with CUDA.

Both give the same two planes for a normalized frame: the members' mean location, and the standard
deviation of the error, in normalized units.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.restoration.folded import Folded
from models.restoration.network import RestorationNet
from models.restoration.normalization import Normalization

Image = NDArray[np.float32]
Wait = Callable[[], Image]
"""Waits for a result (2 × rows × columns: location, standard deviation) and returns it."""

# Shapes of which a captured graph is kept: its memory is not free for others meanwhile.
_GRAPHS = 3


class Compute(Protocol):
    """Runs all members on one image at a time."""

    device: str
    largest: int
    """Side (pixels) above which a frame goes through in tiles."""
    ahead: int
    """Results that may be waited for while the next image is submitted."""

    def levels(self, frame: Image, normalization: Normalization) -> tuple[float, float]:
        """Offset and scale of a frame, as `normalization.of` gives them."""

    def submit(self, image: Image) -> Wait:
        """Start on a normalized image (rows × columns, multiples of the network's)."""

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


def sorted_levels(frame: Tensor, normalization: Normalization) -> tuple[float, float]:
    """Offset and scale as `normalization.of`, from the sorted pixels: what a GPU is good at."""
    values = frame.flatten().sort().values
    last = values.numel() - 1
    places = [percent / 100 * last for percent in (normalization.low, normalization.high)]
    index = [0, last, *(min(int(place) + step, last) for place in places for step in (0, 1))]
    least, most, *pairs = values[index].double().tolist()
    low, high = (
        pairs[2 * i] + (place - int(place)) * (pairs[2 * i + 1] - pairs[2 * i])
        for i, place in enumerate(places)
    )
    scale = high - low if high > low else most - least
    return low, scale if scale > 0 else 1.0


class OnCpu:
    """Single precision, with the members' convolutions folded (see `folded`).

    Parameters
    ----------
    members, calibration
        Of the weights file.
    """

    device = "cpu"
    # 2048² pixels through 32 filters of the first level take about 2 GiB.
    largest = 2048
    ahead = 0

    def __init__(self, members: Sequence[RestorationNet], calibration: float) -> None:
        self._members = [Folded(member).eval() for member in members]
        self._calibration = calibration

    def levels(self, frame: Image, normalization: Normalization) -> tuple[float, float]:
        """Offset and scale of a frame."""
        return normalization.of(frame)

    def submit(self, image: Image) -> Wait:
        """Computed when it is waited for: there is nothing beside which it could run."""

        def wait() -> Image:
            with torch.inference_mode():
                result = planes(
                    self._members, self._calibration, torch.from_numpy(image)[None, None]
                )
            found: Image = result.numpy()
            return found

        return wait

    def release(self) -> None:
        """Nothing is held between two images."""


class OnCuda:
    """Half-size numbers (bfloat16), one captured graph a shape, copies beside the computing.

    Weights and maps are bfloat16 with channels last, which the tensor cores take; sums within
    a convolution, the addition of the input and all that is done with the members' outputs are
    single precision. The launches of a shape's kernels are captured once and replayed. Each
    shape has two sets of buffers, pinned on the host's side, so that one image is copied in, and
    another out, on streams of their own while a third is computed.

    Not yet run on a GPU. What a CPU can show of it is tested there: bfloat16 sums, percentiles by
    sorting, and what follows a failure.

    Nothing is put on the GPU before the first image, so that a full GPU is met where `Restorer`
    can go on without.

    Parameters
    ----------
    members, calibration
        Of the weights file.
    device
        Which GPU.
    """

    largest = 4096
    ahead = 1

    def __init__(
        self, members: Sequence[RestorationNet], calibration: float, device: str = "cuda"
    ) -> None:
        self.device = device
        self._networks = members
        self._calibration = calibration
        self._members: list[Folded] = []
        self._shapes: OrderedDict[tuple[int, ...], _Shape] = OrderedDict()
        self._streams: tuple[torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream] | None = None

    def levels(self, frame: Image, normalization: Normalization) -> tuple[float, float]:
        """Offset and scale of a frame, sorted on the GPU beside what it computes."""
        into, _, _ = self._ready()
        with torch.inference_mode(), torch.cuda.stream(into):
            return sorted_levels(torch.from_numpy(frame).to(self.device), normalization)

    def submit(self, image: Image) -> Wait:
        """Copied in and begun at once; the returned function waits until it is copied out."""
        streams = self._ready()
        shape = self._shapes.get(image.shape)
        if shape is None:
            while len(self._shapes) >= _GRAPHS:
                torch.cuda.synchronize(self.device)
                self._shapes.popitem(last=False)
            with torch.inference_mode():
                shape = _Shape(image.shape, self._run, self.device, streams)
            self._shapes[image.shape] = shape
        self._shapes.move_to_end(image.shape)
        with torch.inference_mode():
            return shape.submit(image)

    def release(self) -> None:
        """Drop graphs, buffers and weights; the next image brings them back."""
        torch.cuda.synchronize(self.device)
        self._shapes.clear()
        self._members = []
        torch.cuda.empty_cache()

    def _run(self, image: Tensor) -> Tensor:
        return planes(self._members, self._calibration, image)

    def _ready(self) -> tuple[torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream]:
        """Streams to copy in, compute and copy out; weights are put on the GPU."""
        if self._streams is None:
            self._streams = (_stream(self.device), _stream(self.device), _stream(self.device))
        if not self._members:
            self._members = [
                Folded(network).to(self.device, torch.bfloat16).eval() for network in self._networks
            ]
        return self._streams


class _Shape:
    """What is kept for images of one shape: the captured graph, and two sets of buffers."""

    def __init__(
        self,
        shape: tuple[int, ...],
        run: Callable[[Tensor], Tensor],
        device: str,
        streams: tuple[torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream],
    ) -> None:
        self._streams = streams
        self._input = torch.zeros((1, 1, *shape), device=device)
        computing = streams[1]
        computing.wait_stream(torch.cuda.current_stream(device))
        # The first runs choose the convolutions' algorithms and allocate, which a capture may not.
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=True),
            torch.cuda.device(device),
        ):
            with torch.cuda.stream(computing):
                for _ in range(3):
                    run(self._input)
            computing.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=computing):
                self._output = run(self._input)
        self._slots = [_Slot(self._input, self._output) for _ in range(OnCuda.ahead + 1)]
        self._next = 0

    def submit(self, image: Image) -> Wait:
        """Start on an image; at most as many may be under way as there are slots."""
        slot = self._slots[self._next]
        self._next = (self._next + 1) % len(self._slots)
        into, computing, out = self._streams
        # Its last result is out by now, unless nobody waited for it.
        slot.done.synchronize()
        slot.host_in[0, 0].copy_(torch.from_numpy(image))
        with torch.cuda.stream(into):
            slot.device_in.copy_(slot.host_in, non_blocking=True)
        computing.wait_stream(into)
        with torch.cuda.stream(computing):
            self._input.copy_(slot.device_in)
            self._graph.replay()
            slot.device_out.copy_(self._output)
        out.wait_stream(computing)
        with torch.cuda.stream(out):
            slot.host_out.copy_(slot.device_out, non_blocking=True)
            slot.done.record(out)

        def wait() -> Image:
            slot.done.synchronize()
            found: Image = slot.host_out.numpy().copy()
            return found

        return wait


class _Slot:
    """Buffers of one image on its way, in host memory (pinned) and on the GPU."""

    def __init__(self, into: Tensor, out: Tensor) -> None:
        self.host_in = torch.empty(into.shape, dtype=into.dtype, pin_memory=True)
        self.host_out = torch.empty(out.shape, dtype=out.dtype, pin_memory=True)
        self.device_in = torch.empty_like(into)
        self.device_out = torch.empty_like(out)
        # torch declares no types for streams and events.
        self.done = torch.cuda.Event()  # type: ignore[no-untyped-call]


def _stream(device: str) -> torch.cuda.Stream:
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's
    return stream


def error_text(error: BaseException) -> str:
    """The first line of what went wrong."""
    lines: list[Any] = str(error).splitlines()
    return str(lines[0]) if lines else type(error).__name__
