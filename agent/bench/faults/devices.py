"""Devices that stay lit, write down every command, and fail while a file says so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import GenericDevice

from agent.bench.lit import SIDE, Camera, LitLaser

_HANGS_S = 600.0
_LIES = 7.0
"""What a lying laser adds to its power (mW)."""


def failing(file: str, how: str) -> bool:
    """Whether devices are to fail in this way."""
    try:
        return Path(file).read_text(encoding="utf-8") == how
    except OSError:
        return False


class FailingCamera(Camera):
    """A camera that never comes back from a frame while its `fault` file says `hung`, or fails."""

    def __init__(self, serial: str, fault: str) -> None:
        super().__init__(serial)
        self._fault = fault

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        """A frame, or none."""
        if failing(self._fault, "dead"):
            raise RuntimeError("the camera does not answer")
        end = time.monotonic() + _HANGS_S
        while failing(self._fault, "hung") and time.monotonic() < end:
            time.sleep(0.05)
        return super().snap(buffer)


class SpotsCamera(FailingCamera):
    """One on a simulated sample that does not move: spots, and the noise of their photons."""

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        """A frame of it."""
        super().snap(buffer)
        y, x = np.mgrid[:SIDE, :SIDE]
        spots = np.random.default_rng(7).uniform(4, SIDE - 4, (9, 2))
        counts = 4 + sum(80 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 8) for r, c in spots)
        buffer[:] = np.random.default_rng(self._taken).poisson(counts)
        return {}


class Clock(GenericDevice):
    """The clock of a simulated sample; `serial` tells it from others."""

    def __init__(self, serial: str) -> None:
        super().__init__()
        self._seconds = 0.0
        self.register_property(
            "Clock_s",
            property_type=float,
            getter=lambda _: self._seconds,
            setter=lambda _, seconds: setattr(self, "_seconds", float(seconds)),
        )


class FailingLaser(LitLaser):
    """A laser that says another power than it has while its `fault` file says `lying`."""

    def __init__(self, log: str, name: str, fault: str) -> None:
        super().__init__(log, name)
        self._fault = fault

    def _read(self) -> float:
        power = super()._read()
        return power + _LIES if power and failing(self._fault, "lying") else power
