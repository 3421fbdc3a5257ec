"""A GPU that does nothing before it must: queued work is done when its result is waited for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from models.accelerator import Arrived, Outputs
from models.emulated import Emulated


class Late(Emulated):
    """Copies down as late as the contract allows; fails where it is told to.

    Parameters
    ----------
    spoils
        Captured work of more pixels than this is short of memory, and says so as CUDA does.
    """

    def __init__(self, *, spoils: int | None = None, **emulated: Any) -> None:
        super().__init__(tries=False, **emulated)
        self.spoils = spoils
        self.captured = 0
        self.released = 0
        self._line: deque[Callable[[], None]] = deque()

    def down(self, tensors: Sequence[Tensor]) -> Arrived:
        found: list[NDArray[Any]] = []
        # On a GPU the copy reads the tensors when its turn comes, which may be any time later.
        self._line.append(lambda: found.extend(one.clone().numpy() for one in tensors))

        def arrived() -> list[NDArray[Any]]:
            while not found:  # what comes after it in the line stays there
                self._line.popleft()()
            return found

        return arrived

    def capture(self, work: Callable[[], Outputs]) -> tuple[Callable[[], None], Outputs]:
        launch, outputs = super().capture(work)
        self.captured += 1
        if self.spoils is not None and max(one.numel() for one in outputs) > self.spoils:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
            finally:
                # What the end of a spoiled capture raises instead.
                raise RuntimeError(
                    "CUDA error: operation failed due to a previous error during capture"
                )
        return launch, outputs

    def settle(self) -> None:
        while self._line:
            self._line.popleft()()

    def release(self) -> None:
        self.released += 1
