"""A GPU's place taken by the CPU: the same contract, kept at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.accelerator import Arrived, Outputs, eagerly


class Emulated:
    """The same on the CPU, at once.

    Parameters
    ----------
    memory
        Bytes that it says are free.
    peak_bytes
        That it says any work takes.
    tries
        Whether it does the work that it says this of.

    Examples
    --------
    >>> Emulated(memory=1 << 20).free()
    1048576
    """

    def __init__(
        self, memory: int = 8 << 30, peak_bytes: int = 1 << 22, *, tries: bool = True
    ) -> None:
        self.name, self.place = "emulated", "cpu"
        self.notes: list[str] = []
        self.memory, self.peak_bytes, self.tries = memory, peak_bytes, tries
        self.narrow = torch.bfloat16

    def working(self) -> AbstractContextManager[None]:
        """See `Accelerator`."""
        return torch.inference_mode()

    def up(self, array: NDArray[Any]) -> Tensor:
        """See `Accelerator`."""
        return torch.from_numpy(np.array(array))

    def down(self, tensors: Sequence[Tensor]) -> Arrived:
        """See `Accelerator`."""
        found = [one.clone().numpy() for one in tensors]
        return lambda: found

    def capture(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        """See `Accelerator`."""
        return eagerly(work)

    def settle(self) -> None:
        """Nothing is ever in line."""

    def free(self) -> int:
        """See `Accelerator`."""
        return self.memory

    def peak(self, work: Callable[[], object]) -> int:
        """See `Accelerator`."""
        if self.tries:
            with self.working():
                work()
        return self.peak_bytes

    def release(self) -> None:
        """Nothing is held."""
