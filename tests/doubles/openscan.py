"""A home-built scanner as OpenScan drives it: one camera whose frame time follows from settings.

Names, limits and spellings are those of its Micro-Manager adapter; the sample is noise.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus import DeviceType
from pymmcore_plus.experimental.unicore import Device, SimpleCameraDevice

RATES = ("50000.0000", "100000.0000", "200000.0000", "400000.0000", "500000.0000", "1000000.0000")
RATES += ("1250000.0000",)
RESOLUTIONS = ("256", "512", "1024", "2048")

made: list[Lsm] = []


class Lsm(SimpleCameraDevice):
    """`OSc-LSM`: takes no exposure time but 0, and resolution² / pixel rate for a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.rate, self.resolution, self.zoom = "500000.0000", "512", 1.0
        self.took: list[tuple[str, str, float]] = []
        """Pixel rate, resolution and zoom of each frame."""
        self.register_property(
            "LSM-PixelRateHz",
            allowed_values=RATES,
            property_type=str,
            getter=lambda lsm: lsm.rate,
            setter=lambda lsm, value: setattr(lsm, "rate", value),
        )
        self.register_property(
            "LSM-Resolution",
            allowed_values=RESOLUTIONS,
            property_type=str,
            getter=lambda lsm: lsm.resolution,
            setter=lambda lsm, value: setattr(lsm, "resolution", value),
        )
        self.register_property(
            "LSM-ZoomFactor",
            limits=(0.2, 20.0),
            property_type=float,
            getter=lambda lsm: lsm.zoom,
            setter=lambda lsm, value: setattr(lsm, "zoom", value),
        )
        made.append(self)

    def sensor_shape(self) -> tuple[int, int]:
        return (int(self.resolution), int(self.resolution))

    def dtype(self) -> np.dtype[np.uint16]:
        return np.dtype(np.uint16)

    def get_exposure(self) -> float:
        return 0.0

    def set_exposure(self, exposure: float) -> None:
        if exposure != 0.0:
            raise ValueError("Exposure accepts 0.0000 only")

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        time.sleep(int(self.resolution) ** 2 / float(self.rate))
        buffer[:] = np.random.default_rng(len(self.took)).integers(0, 4096, buffer.shape)
        self.took.append((self.rate, self.resolution, self.zoom))
        return {}


class Magnifier(Device):
    """`OSc-Magnifier`: what zoom and resolution of the scanner make of a pixel."""

    _TYPE = DeviceType.Magnifier

    def __init__(self) -> None:
        super().__init__()
        self.register_property(
            "Magnification",
            property_type=float,
            getter=lambda _: made[-1].zoom * int(made[-1].resolution) / 512,
            is_read_only=True,
        )
