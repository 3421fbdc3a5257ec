"""Devices that are lit when they are loaded and stay so when they are let go, as hardware does.

Each writes every command that reaches it into one file, with the time, so that another process
can say what the sample got. They stand in for lasers and shutters whose drivers remember.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import (
    GenericDevice,
    ShutterDevice,
    SimpleCameraDevice,
    XYStageDevice,
)

SIDE = 32


@dataclass(frozen=True, slots=True)
class Command:
    """One line of the devices' log: when (monotonic s), to which device, and what."""

    at: float
    device: str
    value: str


def commands(log: Path) -> list[Command]:
    """Every command that reached the devices, the first one first."""
    if not log.exists():
        return []
    lines = log.read_text(encoding="utf-8").splitlines()
    return [Command(float(at), *rest) for at, *rest in (line.split(" ", 2) for line in lines)]


def left_lit(log: Path) -> dict[str, str]:
    """Devices whose last word is light, or that were never told otherwise, and that word."""
    last = {each.device: each.value for each in commands(log)}
    return {device: value for device, value in last.items() if value not in ("0", "closed", "at")}


def switched_on(log: Path, after: float = 0.0) -> list[Command]:
    """Commands that switched light on, or moved, after a moment; to come up lit is none."""
    found, up = [], set()
    for each in commands(log):
        if each.at > after and each.device in up and each.value not in ("0", "closed"):
            found.append(each)
        up.add(each.device)
    return found


class _Logged:
    def __init__(self, log: str, name: str) -> None:
        self._log = Path(log)
        self._name = name

    def __call__(self, value: str) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(f"{time.monotonic():.6f} {self._name} {value}\n")


class LitLaser(GenericDevice):
    """A laser at `power` (mW) when it is loaded, with a switch of its own that is on."""

    def __init__(self, log: str, name: str, power: float = 100.0) -> None:
        super().__init__()
        self._say = _Logged(log, name)
        self._power = power
        self._emission = "On"
        self.register_property(
            "Power_mW",
            limits=(0.0, 500.0),
            property_type=float,
            getter=lambda _: self._read(),
            setter=lambda _, value: self._set(float(value)),
        )
        self.register_property(
            "Emission",
            allowed_values=("On", "Off"),
            property_type=str,
            getter=lambda _: self._emission,
            setter=lambda _, value: setattr(self, "_emission", str(value)),
        )

    def initialize(self) -> None:
        """Come up, at the power that it has."""
        self._say(f"{self._power:g}")

    def _read(self) -> float:
        return self._power

    def _set(self, power: float) -> None:
        self._power = power
        self._say(f"{self._power:g}")


class LitShutter(ShutterDevice):
    """A shutter that is open when it is loaded."""

    def __init__(self, log: str, name: str = "shutter") -> None:
        super().__init__()
        self._say = _Logged(log, name)
        self._open = True

    def initialize(self) -> None:
        """Come up, open as it is."""
        self._say("open")

    def get_open(self) -> bool:
        """Whether light can pass."""
        return self._open

    def set_open(self, open: bool) -> None:
        """Let light pass, or not."""
        self._open = bool(open)
        self._say("open" if open else "closed")


class Stage(XYStageDevice):
    """A stage that is anywhere at once."""

    def __init__(self, log: str) -> None:
        super().__init__()
        self._say = _Logged(log, "stage")
        self._at = (0.0, 0.0)

    def get_position_um(self) -> tuple[float, float]:
        """Where it is (µm)."""
        return self._at

    def set_position_um(self, x: float, y: float) -> None:
        """Go there (µm)."""
        self._at = (x, y)
        self._say("at")

    def home(self) -> None:
        """Go to the origin."""
        self._at = (0.0, 0.0)

    def stop(self) -> None:
        """It never moves for long."""

    def set_origin_x(self) -> None:
        """The origin is not moved."""

    def set_origin_y(self) -> None:
        """The origin is not moved."""


class Camera(SimpleCameraDevice):
    """A camera that takes as long as its exposure; `serial` tells it from others."""

    def __init__(self, serial: str = "") -> None:
        super().__init__()
        self._exposure_ms = 10.0
        self._taken = 0

    def sensor_shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (SIDE, SIDE)

    def dtype(self) -> np.dtype[np.uint16]:
        """Of a pixel."""
        return np.dtype(np.uint16)

    def get_exposure(self) -> float:
        """Exposure time (ms)."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Exposure time (ms)."""
        self._exposure_ms = exposure

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        """Noise, another one each time."""
        time.sleep(self._exposure_ms * 1e-3)
        buffer[:] = np.random.default_rng(self._taken).integers(0, 4096, buffer.shape)
        self._taken += 1
        return {}


def config(log: Path, *, frames: int = 3, interval_s: float = 0.0, **microscope: Any) -> Any:
    """A config for these devices: `live`, two lasers behind a shutter, and a stage.

    Parameters
    ----------
    log
        What the devices write.
    frames, interval_s
        Of `live`.
    microscope
        Keys of its `microscope` section to replace or add.
    """

    def python(kind: str, **options: Any) -> dict[str, Any]:
        return {"class": f"agent.bench.lit:{kind}", "options": options}

    def power(device: str, start: float) -> dict[str, Any]:
        return {
            "device": device,
            "property": "Power_mW",
            "unit": "mW",
            "range": [0, 300],
            "start": start,
            "safe": 0,
            "laser": device.lower(),
        }

    to = str(log)
    return {
        "plan": "live",
        "live": {"frames": frames, "interval_s": interval_s},
        "microscope": {
            "python_devices": {
                "Excitation": python("LitLaser", log=to, name="excitation"),
                "Shutter": python("LitShutter", log=to),
                "Depletion": python("LitLaser", log=to, name="depletion"),
                "Camera": python("Camera", serial=to),
                "Stage": python("Stage", log=to),
            },
            "pixel_size_nm": 20,
            "exposure": {"camera_ms": 10},
            "guard": False,
            "settings": {
                "excitation_power": power("Excitation", 5),
                "depletion_power": power("Depletion", 100),
            },
            **microscope,
        },
    }
