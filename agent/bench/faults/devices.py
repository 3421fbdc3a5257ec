"""Devices that stay lit, write down every command, and fail while a file says so."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.bench.lit import Camera, LitLaser

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


class FailingLaser(LitLaser):
    """A laser that says another power than it has while its `fault` file says `lying`."""

    def __init__(self, log: str, name: str, fault: str) -> None:
        super().__init__(log, name)
        self._fault = fault

    def _read(self) -> float:
        power = super()._read()
        return power + _LIES if power and failing(self._fault, "lying") else power
