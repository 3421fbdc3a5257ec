"""Devices that misbehave, as Micro-Manager devices that a config can ask for.

    python_devices:
      Camera: {class: "tests.faulty:FlakyCamera", options: {fail_at: 8, armed: FLAG}}

A fault that is `armed` by a file happens only while that file exists: the test that deletes it
has repaired the device, for this process and for others. Paths in options are absolute, since a
device does not know where its config stood.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import (
    GenericDevice,
    ShutterDevice,
    SimpleCameraDevice,
    StageDevice,
    XYStageDevice,
)

from agent.cli import command

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32

LONG_S = 1.0
LONG = {"exposure": {"camera_ms": LONG_S * 1e3}}
"""An exposure time that no frame of a camera that is immediate takes on the busiest machine."""

made: dict[str, list[Any]] = {}
"""Devices of this process by class name, in the order they were made."""


class _Fault:
    """Which of the calls of a device go wrong."""

    def __init__(self, at: int | None, times: int | None, armed: str) -> None:
        self._at = at
        self._left = times
        self._armed = Path(armed) if armed else None

    def strikes(self, call: int) -> bool:
        if self._at is None or call < self._at or self._left == 0:
            return False
        if self._armed is not None and not self._armed.exists():
            return False
        if self._left is not None:
            self._left -= 1
        return True


class FlakyCamera(SimpleCameraDevice):
    """A camera that raises from frame `fail_at` on, `times` times or for ever.

    Parameters
    ----------
    fail_at
        Frame of this camera (counted from 0) that is the first to fail; None: works.
    times
        How often it fails; None: always from then on.
    armed
        File without which it works.
    frame_s
        How long a frame takes (s).
    slow_from, slow_to
        Frames of which each takes that long, from the one to before the other; all others are
        immediate.
    honest
        A frame takes its exposure time, too.
    """

    def __init__(
        self,
        fail_at: int | None = None,
        times: int | None = None,
        armed: str = "",
        frame_s: float = 0.0,
        slow_from: int = 0,
        slow_to: int = sys.maxsize,
        honest: bool = False,
    ) -> None:
        super().__init__()
        self._honest = honest
        self._fault = _Fault(fail_at, times, armed)
        self._frame_s = frame_s
        self._slow = range(slow_from, slow_to)
        self.count = -1  # before a frame in the dark, on opening
        """Frames that were begun after that one."""
        self._exposure = 10.0
        made.setdefault(type(self).__name__, []).append(self)

    def sensor_shape(self) -> tuple[int, int]:
        return (SIDE, SIDE)

    def dtype(self) -> np.dtype[np.uint16]:
        return np.dtype(np.uint16)

    def get_exposure(self) -> float:
        return self._exposure

    def set_exposure(self, exposure: float) -> None:
        self._exposure = exposure

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        count, self.count = self.count, self.count + 1
        if count < 0:
            buffer[:] = 0
            return {}
        if self._fault.strikes(count):
            self.fail()
        if count in self._slow:
            time.sleep(self._frame_s + self._exposure * 1e-3 * self._honest)
        # No two frames of a camera are alike, so that none can pass for another.
        buffer[:] = np.random.default_rng(count).integers(0, 4096, buffer.shape)
        return {}

    def fail(self) -> None:
        raise RuntimeError("the camera's cable is out")


class HangingCamera(FlakyCamera):
    """A camera that never comes back from frame `fail_at`, until the last one is `released`."""

    released = threading.Event()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        type(self).released = threading.Event()

    def fail(self) -> None:
        type(self).released.wait(600)
        raise RuntimeError("the camera came back much too late")


class StillCamera(FlakyCamera):
    """A camera on a sample that does not move: spots, and the noise of their photons."""

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        super().snap(buffer)
        y, x = np.mgrid[:SIDE, :SIDE]
        spots = np.random.default_rng(7).uniform(4, SIDE - 4, (9, 2))
        counts = 4 + sum(80 * np.exp(-((y - r) ** 2 + (x - c) ** 2) / 8) for r, c in spots)
        buffer[:] = np.random.default_rng(self.count).poisson(counts)
        return {}


class Laser(GenericDevice):
    """A laser that remembers every power it was given, and when.

    Parameters
    ----------
    sticks
        Refuses to be switched off once it is on.
    hangs
        Never answers when it is switched off once it is on, until `released`.
    armed
        File without which it does as it is told.
    clamp
        Highest power that it really gives.
    """

    released = threading.Event()

    def __init__(
        self,
        sticks: bool = False,
        hangs: bool = False,
        armed: str = "",
        clamp: float = float("inf"),
    ) -> None:
        super().__init__()
        self._clamp = clamp
        self._fault = _Fault(0 if sticks or hangs else None, None, armed)
        self._hangs = hangs
        self.power = 0.0
        self.given: list[tuple[float, float]] = []
        """(monotonic time in s, power) of every value that reached the device."""
        self.gave: list[tuple[float, float]] = [(time.monotonic(), 0.0)]
        """(monotonic time in s, power) of what it gave from then on."""
        self.register_property(
            "Power_mW",
            limits=(0.0, 500.0),
            property_type=float,
            getter=lambda laser: laser.power,
            setter=lambda laser, value: laser.accept(value),
        )
        self.register_property("Model", default_value="faulty", is_read_only=True)
        made.setdefault(type(self).__name__, []).append(self)

    def accept(self, value: float) -> None:
        self.given.append((time.monotonic(), float(value)))
        if value < self.power and self._fault.strikes(0):
            if self._hangs:
                type(self).released.wait(600)
            raise RuntimeError("the interlock is stuck")
        self.power = min(float(value), self._clamp)
        self.gave.append((time.monotonic(), self.power))


class Choosy(Laser):
    """A laser that takes a power above 0 only when it was asked `needs` times."""

    def __init__(self, needs: int = 2) -> None:
        super().__init__()
        self.needs = needs
        self._asked = 0

    def accept(self, value: float) -> None:
        self._asked += 1
        if value > 0 and self._asked < self.needs:
            raise RuntimeError("not yet")
        self._asked = 0
        super().accept(value)


class DeadLaser(Laser):
    """A laser that cannot be initialized."""

    def initialize(self) -> None:
        raise OSError("laser not connected")


class StuckLaser(Laser):
    """A laser that never answers: on initialization, or else when it is set, until `released`.

    One that hung stays occupied in its process; by another `name` it is another laser.
    """

    released = threading.Event()

    def __init__(self, comes_up: bool = True, name: str = "") -> None:
        super().__init__()
        self._comes_up = comes_up
        if type(self).released.is_set():  # by an earlier test
            type(self).released = threading.Event()

    def initialize(self) -> None:
        if not self._comes_up:
            type(self).released.wait(600)

    def accept(self, value: float) -> None:
        type(self).released.wait(600)


class SlowLaser(Laser):
    """A laser that takes `seconds` to accept a power above 0, as over a serial line."""

    def __init__(self, seconds: float = 0.5) -> None:
        super().__init__()
        self._seconds = seconds
        self.setting = threading.Event()

    def accept(self, value: float) -> None:
        if value > 0:
            self.setting.set()
            time.sleep(self._seconds)
        super().accept(value)


class Shutter(ShutterDevice):
    """A shutter that remembers every command."""

    def __init__(self) -> None:
        super().__init__()
        self.open = False
        self.given: list[tuple[float, bool]] = []
        made.setdefault(type(self).__name__, []).append(self)

    def get_open(self) -> bool:
        return self.open

    def set_open(self, open: bool) -> None:
        self.given.append((time.monotonic(), bool(open)))
        self.open = bool(open)


class Controller(GenericDevice):
    """What switches lasers off, for good, if its `Alive` is not written in time while it counts.

    Parameters
    ----------
    trips_s
        How long it waits (s).
    hangs_at, fails_at
        Writing, counted from 0, that never comes back until `released`, or from which on all fail.
    """

    released = threading.Event()

    def __init__(
        self, trips_s: float = 1.0, hangs_at: int | None = None, fails_at: int | None = None
    ) -> None:
        super().__init__()
        self._trips_s, self._hangs_at, self._fails_at = trips_s, hangs_at, fails_at
        type(self).released = threading.Event()
        self.fed: list[tuple[float, int]] = []
        """(monotonic time in s, value) of all that was written."""
        self._tripped = False
        self.register_property(
            "Alive",
            property_type=int,
            limits=(0, 9),
            getter=lambda controller: controller.fed[-1][1] if controller.fed else 0,
            setter=lambda controller, value: controller.take(int(value)),
        )
        self.register_property("Serial", default_value="7", is_read_only=True)
        made.setdefault(type(self).__name__, []).append(self)

    def take(self, value: int) -> None:
        number = len(self.fed)
        if number == self._hangs_at:
            type(self).released.wait(600)
        if self._fails_at is not None and number >= self._fails_at:
            raise RuntimeError("the controller's cable is out")
        self._tripped = self.tripped
        self.fed.append((time.monotonic(), value))

    @property
    def tripped(self) -> bool:
        """Whether it has switched all off; a value of 0 has it count no further."""
        late = bool(self.fed) and time.monotonic() - self.fed[-1][0] > self._trips_s
        return self._tripped or (late and self.fed[-1][1] != 0)


def energy_j(laser: Laser, shutter: Shutter | None) -> float:
    """Light (J) that left a laser of mW through a shutter, or through none, by their own logs."""
    powers = laser.gave
    opened = [(0.0, True)] if shutter is None else [(0.0, False), *shutter.given]
    times = sorted({at for at, _ in [*powers, *opened]})
    joules = 0.0
    for begin, end in itertools.pairwise(times):
        power = next((value for at, value in reversed(powers) if at <= begin), 0.0)
        is_open = next(value for at, value in reversed(opened) if at <= begin)
        joules += power * 1e-3 * is_open * (end - begin)
    return joules


class Stage(XYStageDevice):
    """A stage that goes anywhere at once, or takes its time.

    Parameters
    ----------
    x_um, y_um
        Where it is when it is switched on (µm).
    busy_s
        How long it is on its way (s), ...
    times
        ... as often as this; None: always.
    wall_um
        It goes no further than this in x, and does not say so.
    """

    released = threading.Event()

    def __init__(
        self,
        x_um: float = 0.0,
        y_um: float = 0.0,
        busy_s: float = 0.0,
        times: int | None = None,
        wall_um: float = float("inf"),
    ) -> None:
        super().__init__()
        self._wall_um = wall_um
        self._position = (x_um, y_um)
        self._fault = _Fault(0 if busy_s else None, times, "")
        self._busy_s, self._until = busy_s, 0.0
        self.hangs = False
        """It does not say where it is, until the last stage is `released`."""
        self.went: list[tuple[float, float]] = []
        """Everywhere that it was sent."""
        type(self).released = threading.Event()
        made.setdefault(type(self).__name__, []).append(self)

    def get_position_um(self) -> tuple[float, float]:
        if self.hangs:
            type(self).released.wait(600)
        return self._position

    def set_position_um(self, x: float, y: float) -> None:
        self.went.append((x, y))
        self._position = (min(x, self._wall_um), y)
        if self._fault.strikes(0):
            self._until = time.monotonic() + self._busy_s

    def busy(self) -> bool:
        return time.monotonic() < self._until

    def home(self) -> None:
        self._position = (0.0, 0.0)

    def stop(self) -> None:
        pass

    def set_origin_x(self) -> None:
        raise NotImplementedError("the runs never move the origin")

    def set_origin_y(self) -> None:
        raise NotImplementedError("the runs never move the origin")


class Wheel(GenericDevice):
    """A filter wheel that is asked whether it is there yet.

    Parameters
    ----------
    asked
        How often it is busy when it was turned.
    stuck
        Turns, counted from 0, after which it is busy until it is turned again.
    """

    def __init__(self, asked: int = 0, stuck: Sequence[int] = ()) -> None:
        super().__init__()
        self._asked, self._left, self._stuck = asked, 0, set(stuck)
        self.label = "red"
        self.register_property(
            "Label",
            allowed_values=("red", "green", "blue"),
            property_type=str,
            getter=lambda wheel: wheel.label,
            setter=lambda wheel, label: wheel.turn(label),
        )
        self.turned = 0
        self.there = time.monotonic()
        """When it last came to where it was sent (monotonic s)."""
        made.setdefault(type(self).__name__, []).append(self)

    def turn(self, label: str) -> None:
        self.label, self._left = label, self._asked
        self.turned += 1

    def busy(self) -> bool:
        if self.turned - 1 in self._stuck:
            return True
        if self._left == 0:
            return False
        self._left -= 1
        self.there = time.monotonic()
        return True


class Focus(StageDevice):
    """A focus drive that goes anywhere at once.

    Parameters
    ----------
    z_um
        Where it is when it is switched on (µm).
    wall_um
        It goes no further than this, and does not say so.
    hangs_at
        Move, counted from 0, that it does not come back from until the last drive is `released`.
    """

    released = threading.Event()

    def __init__(
        self, z_um: float = 0.0, wall_um: float = float("inf"), hangs_at: int | None = None
    ) -> None:
        super().__init__()
        self._z_um, self._wall_um, self._hangs_at = z_um, wall_um, hangs_at
        type(self).released = threading.Event()
        self.sent: list[float] = []
        """Where it was sent (µm)."""
        made.setdefault(type(self).__name__, []).append(self)

    def get_position_um(self) -> float:
        return self._z_um

    def set_position_um(self, val: float) -> None:
        if len(self.sent) == self._hangs_at:
            type(self).released.wait(600)
        self._z_um = min(val, self._wall_um)
        self.sent.append(val)

    def home(self) -> None:
        self._z_um = 0.0

    def stop(self) -> None:
        pass

    def set_origin(self) -> None:
        raise NotImplementedError("the runs never move the origin")


def config(**parts: Any) -> dict[str, Any]:
    """A config for these devices: `live`, 20 frames, two lasers and a shutter.

    Parameters
    ----------
    parts
        Top-level sections to replace or add; `camera`, `laser` and `microscope` instead set
        the devices' classes and options, and keys of the microscope.
    """
    camera: dict[str, Any] = parts.pop("camera", {})
    laser: dict[str, Any] = parts.pop("laser", {})
    microscope: dict[str, Any] = parts.pop("microscope", {})

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

    data: dict[str, Any] = {
        "plan": "live",
        "live": {"frames": 20},
        "microscope": {
            "python_devices": {
                "Camera": device("FlakyCamera") | camera,
                "Excitation": device("Laser") | laser,
                "Depletion": device("Laser"),
                "Shutter": device("Shutter"),
                "Stage": device("Stage"),
            },
            "pixel_size_nm": 20,
            "exposure": {"camera_ms": 10},
            "timeout_s": 20,
            "guard": False,  # a process more for each of hundreds of runs
            "fields": {"rows": 2, "columns": 2},
            "settings": {
                "excitation_power": power("Excitation", 5),
                "depletion_power": power("Depletion", 100),
            },
            **microscope,
        },
    }
    return data | parts


def device(name: str, **options: Any) -> dict[str, Any]:
    """The config of one of these devices."""
    return {"class": f"tests.faulty:{name}", "options": options}


def write(file: Path, data: Mapping[str, Any]) -> Path:
    """Write a config as YAML."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(dict(data), Dumper=dumper, sort_keys=False)
    file.write_text(text, encoding="utf-8")
    return file


def cli(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    """The command line in this process: exit code, stdout, stderr."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["stedfast", *map(str, args)])
        with pytest.raises(SystemExit) as left:
            command()
    written = capsys.readouterr()
    code = left.value.code
    return (code if isinstance(code, int) else 0), written.out, written.err
