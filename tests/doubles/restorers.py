"""Filters that dawdle, fail or die, made in the filter's process instead of a network."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Doubling:
    """Gives twice the frame; how unsure it is of it, its pixels say.

    Parameters
    ----------
    seconds
        How long a frame takes (s).
    fail_at
        Frames, counted from 0 in the order that its process sees them, that it fails at.
    die_at
        Frames at which its process ends.
    hang_at
        Frames that it never finishes.
    says
        What went wrong on the way, as it tells of each frame.
    warm_up_s
        How long it takes to warm up (s); below 0 it fails.
    """

    seconds: float = 0.0
    fail_at: tuple[int, ...] = ()
    die_at: tuple[int, ...] = ()
    hang_at: tuple[int, ...] = ()
    says: str | None = None
    warm_up_s: float = 0.0

    def __post_init__(self) -> None:
        self.seen = 0

    def __call__(self) -> Doubling:
        """Make it, as the filter's process does."""
        return self

    def weights_hash(self) -> str:
        return "0123456789abcdef" * 4

    def warm_up(self, shape: tuple[int, int]) -> None:
        assert len(shape) == 2
        if self.warm_up_s < 0:
            raise RuntimeError("CUDA error: no kernel image")
        time.sleep(self.warm_up_s)

    def restore(self, frame: NDArray[Any]) -> Any:
        number, self.seen = self.seen, self.seen + 1
        time.sleep(self.seconds)
        if number in self.fail_at:
            raise ArithmeticError("the network saw a NaN")
        if number in self.die_at:
            os._exit(9)
        if number in self.hang_at:
            time.sleep(600)
        image = 2 * frame.astype(np.float32)
        sd = np.full_like(image, 0.5)
        return SimpleNamespace(
            image=image, sd=sd, uncertainty=unsure(frame), device="cpu", fault=self.says
        )


class Counting:
    """Counts its calls; ends its process when it is told to."""

    def __init__(self, name: str) -> None:
        self.name, self.calls, self.warm = name, 0, False

    def warm_up(self) -> None:
        self.warm = True

    def count(self) -> tuple[str, int, bool]:
        self.calls += 1
        return self.name, self.calls, self.warm

    def end(self) -> None:
        os._exit(9)

    def fail(self) -> None:
        raise ArithmeticError("the network saw a NaN")


def unsure(frame: NDArray[Any]) -> float:
    return float(frame.std() / 4096)
