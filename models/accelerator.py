"""What the engines ask of a GPU, in a handful of operations; what is CUDA's own is in `cuda`.

Work is put in line and done later: frames go up, are computed and come down on three streams, so
that one frame is copied while another is computed. Nothing that is on its way can be overwritten:
every frame has page-locked memory and buffers of its own, which torch's allocators use again
only when the streams that used them are through with them.

Not yet run on a GPU. `emulated.Emulated` computes the same on the CPU, for tests and for machines
without one: what it cannot show is the streams' order and the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from numpy.typing import NDArray
from torch import Tensor

Outputs = tuple[Tensor, ...]
Arrived = Callable[[], list[NDArray[Any]]]
"""Waits for a result on its way down, and returns it."""


class Accelerator(Protocol):
    """Where work is put in line; not for several threads at once.

    Attributes
    ----------
    name
        As it is told: `cuda:0`.
    place
        Torch's device.
    notes
        Errors that were got around, until they are taken.
    """

    name: str
    place: str
    notes: list[str]

    @property
    def narrow(self) -> torch.dtype:
        """What convolutions are computed in: half-size numbers, where it has units for them."""

    def working(self) -> AbstractContextManager[None]:
        """Work submitted within follows the work in line; nothing can be differentiated."""

    def up(self, array: NDArray[Any]) -> Tensor:
        """An array on its way up; it may be changed at once. To be called while `working`."""

    def down(self, tensors: Sequence[Tensor]) -> Arrived:
        """Tensors on their way down, as they are at this point of the line."""

    def capture(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        """A function that does the work again in one launch, and where its results will be.

        What the work reads must stay where it is. Results are overwritten by the next launch,
        and their memory may serve other captured work in between.
        """

    def settle(self) -> None:
        """Wait until nothing is in line."""

    def free(self) -> int:
        """Bytes of memory that can be had."""

    def peak(self, work: Callable[[], object]) -> int:
        """Bytes that some work takes at its most, beyond those held anyway."""

    def release(self) -> None:
        """Give back all memory that is not in use any more."""


def eagerly(work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
    """As `Accelerator.capture`, launch by launch."""
    outputs = work()

    def again() -> None:
        for kept, new in zip(outputs, work(), strict=True):
            kept.copy_(new)

    return again, outputs
