"""A GPU with CUDA, as work is put in line on it."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.accelerator import Accelerator, Arrived, Outputs, eagerly
from models.devices import error_text, gpu, short_of_memory

_AMPERE = (8, 0)
"""Compute capability from which cards have units for bfloat16 (NVIDIA)."""
_WARM_UPS = 3
"""Runs before a graph is captured, as torch's documentation has it."""
_LENT = 16
"""Arrays in page-locked memory that may be in others' hands; chosen."""


class Cuda:
    """A GPU with CUDA.

    Nothing is put on it before the first work, so that a full GPU is met where engines can continue
    without. Captured graphs are launched on one stream, so that they share one pool of memory.
    Waiting lets the core go: spinning would take it from the acquisition.

    Parameters
    ----------
    name
        `cuda:0`.
    """

    def __init__(self, name: str) -> None:
        self.name = self.place = name
        self.notes: list[str] = []
        self._streams: tuple[torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream] | None = None
        self._pool: Any = None
        self._lent = Lent(_LENT)

    @property
    def narrow(self) -> torch.dtype:
        """See `Accelerator`; cards before Ampere have none for bfloat16."""
        modern = torch.cuda.get_device_capability(self.name) >= _AMPERE
        return torch.bfloat16 if modern else torch.float32

    def _lines(self) -> tuple[torch.cuda.Stream, torch.cuda.Stream, torch.cuda.Stream]:
        """Streams on which frames go up, are computed and come down."""
        if self._streams is None:
            self._streams = (_stream(self.name), _stream(self.name), _stream(self.name))
        return self._streams

    @contextmanager
    def working(self) -> Iterator[None]:
        """See `Accelerator`."""
        computing = self._lines()[1]
        with (
            torch.inference_mode(),
            torch.cuda.device(self.name),
            torch.cuda.stream(computing),
        ):
            yield

    def up(self, array: NDArray[Any]) -> Tensor:
        """See `Accelerator`."""
        into, computing, _ = self._lines()
        like = torch.from_numpy(np.empty(0, array.dtype))
        host = torch.empty(array.shape, dtype=like.dtype, pin_memory=True)
        host.numpy()[...] = array
        with torch.cuda.stream(into):
            tensor = host.to(self.name, non_blocking=True)
        computing.wait_stream(into)
        tensor.record_stream(computing)
        return tensor

    def down(self, tensors: Sequence[Tensor]) -> Arrived:
        """See `Accelerator`."""
        _, computing, out = self._lines()
        out.wait_stream(computing)
        hosts = [torch.empty(one.shape, dtype=one.dtype, pin_memory=True) for one in tensors]
        # torch declares no types for events.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(out):
            for host, tensor in zip(hosts, tensors, strict=True):
                host.copy_(tensor, non_blocking=True)
                tensor.record_stream(out)
            done.record(out)

        def arrived() -> list[NDArray[Any]]:
            done.synchronize()
            return [self._lent.out(host.numpy()) for host in hosts]

        return arrived

    def capture(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        """See `Accelerator`; where a graph cannot be had, the work is done without one."""
        computing = self._lines()[1]
        # The outer context puts the stream back where a capture that failed does not. The first
        # runs choose the convolutions' algorithms and allocate, which a capture may not.
        with self.working(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            for _ in range(_WARM_UPS):
                work()
            computing.synchronize()
            if self._pool is None:
                self._pool = torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            # Other threads of the process may use the GPU meanwhile.
            capturing = torch.cuda.graph(
                graph, pool=self._pool, stream=computing, capture_error_mode="thread_local"
            )
            try:
                with capturing:
                    outputs = work()
            except RuntimeError as error:
                if short_of_memory(error):
                    raise
                self.notes.append(f"{error_text(error)}; without a captured graph")
            else:
                return graph.replay, outputs
        with self.working():
            return eagerly(work)

    def settle(self) -> None:
        """See `Accelerator`."""
        torch.cuda.synchronize(self.name)

    def free(self) -> int:
        """See `Accelerator`; what torch holds without need is free, too."""
        unused, _ = torch.cuda.mem_get_info(self.name)
        held = torch.cuda.memory_reserved(self.name) - torch.cuda.memory_allocated(self.name)
        total = torch.cuda.get_device_properties(self.name).total_memory
        allowed = int(total * torch.cuda.get_per_process_memory_fraction(self.name))
        left = allowed - torch.cuda.memory_allocated(self.name)
        return max(0, min(unused + held, left))

    def peak(self, work: Callable[[], object]) -> int:
        """See `Accelerator`; of the second run, as the first tries algorithms out."""
        with self.working(), torch.backends.cudnn.flags(enabled=True, benchmark=True):
            work()
            self.settle()
            torch.cuda.reset_peak_memory_stats(self.name)
            before = torch.cuda.memory_allocated(self.name)
            work()
            self.settle()
            return torch.cuda.max_memory_allocated(self.name) - before

    def release(self) -> None:
        """See `Accelerator`."""
        self._pool = None
        torch.cuda.synchronize(self.name)
        torch.cuda.empty_cache()


def accelerator_of(device: str | Accelerator) -> Accelerator | None:
    """The GPU that is meant, if any; what takes a GPU's place passes.

    Raises
    ------
    ValueError
        There is no such device.

    Examples
    --------
    >>> accelerator_of("cpu") is None
    True
    """
    if not isinstance(device, str):
        return device
    name = gpu(device)
    return Cuda(name) if name else None


class Lent:
    """Arrays in page-locked memory that are in others' hands.

    They are handed out as they are; but as such memory is taken from all other programs, a caller
    that keeps many of them gets copies of the rest.

    Parameters
    ----------
    most
        How many may be out.

    Examples
    --------
    >>> lent = Lent(most=1)
    >>> first, second = np.zeros(2), np.zeros(2)
    >>> lent.out(first) is first, lent.out(second) is second
    (True, False)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.count = 0

    def out(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array, or a copy of it."""
        if self.count >= self._most:
            return array.copy()
        self.count += 1
        # Views of it keep it alive.
        weakref.finalize(array, self._back)
        return array

    def _back(self) -> None:
        self.count -= 1


def _stream(device: str) -> torch.cuda.Stream:
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's
    return stream
