"""A GPU that fails when it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.accelerator import Accelerator, Arrived, Outputs


class Faulty:
    """An accelerator with faults in it.

    Parameters
    ----------
    of
        What does the work.
    launches
        Numbers of the launches of captured work, counted from 0, that fail.
    lost_from
        Number of the launch from which on nothing works any more.
    """

    def __init__(
        self, of: Accelerator, *, launches: Sequence[int] = (), lost_from: int | None = None
    ) -> None:
        self._of = of
        self.name, self.place, self.notes = of.name, of.place, of.notes
        self._fails, self._lost_from = set(launches), lost_from
        self._count = 0

    @property
    def narrow(self) -> torch.dtype:
        """See `Accelerator`."""
        return self._of.narrow

    @property
    def _lost(self) -> bool:
        return self._lost_from is not None and self._count >= self._lost_from

    def _still_there(self) -> None:
        if self._lost:
            raise RuntimeError("CUDA error: the device was taken away")

    def working(self) -> AbstractContextManager[None]:
        """See `Accelerator`."""
        return self._of.working()

    def up(self, array: NDArray[Any]) -> Tensor:
        """See `Accelerator`."""
        self._still_there()
        return self._of.up(array)

    def down(self, tensors: Sequence[Tensor]) -> Arrived:
        """See `Accelerator`."""
        arrived = self._of.down(tensors)

        def or_lost() -> list[NDArray[Any]]:
            self._still_there()
            return arrived()

        return or_lost

    def capture(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        """See `Accelerator`."""
        self._still_there()
        launch, outputs = self._of.capture(work)

        def faulty() -> None:
            number, self._count = self._count, self._count + 1
            self._still_there()
            if number in self._fails:
                raise RuntimeError("CUDA error: an illegal instruction was encountered")
            launch()

        return faulty, outputs

    def settle(self) -> None:
        """See `Accelerator`."""
        self._still_there()
        self._of.settle()

    def free(self) -> int:
        """See `Accelerator`."""
        self._still_there()
        return self._of.free()

    def peak(self, work: Callable[[], object]) -> int:
        """See `Accelerator`."""
        self._still_there()
        return self._of.peak(work)

    def release(self) -> None:
        """See `Accelerator`."""
        self._still_there()
        self._of.release()


class Short(Faulty):
    """An accelerator whose memory is enough for small work only.

    Parameters
    ----------
    of
        What does the work.
    numbers
        Results of more numbers than this do not fit.
    """

    def __init__(self, of: Accelerator, numbers: int) -> None:
        super().__init__(of)
        self._numbers = numbers

    def capture(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        """See `Accelerator`."""
        launch, outputs = super().capture(work)
        if max(one.numel() for one in outputs) > self._numbers:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return launch, outputs
