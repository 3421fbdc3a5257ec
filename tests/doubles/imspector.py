"""A double of Imspector's server: an application over a tree of values, as specpy shows one.

It keeps what it has *accepted*, scans at that, and can misbehave in the ways that real systems do.
Its light is logged by itself, so that a test can ask what was on, and when.
"""

from __future__ import annotations

import copy
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

_FIRST = 3
"""Scans before anything that happens once: opening has one of them, in the dark."""
_KEPT = 20
"""Of the latest scans."""
specpy = pytest.importorskip("specpy")
"""Real stacks, and the real numbers of signals, trees and flags."""

LASERS = ("Exc_640", "STED_775", "Exc_561")
_STATUS = "Measurement/timing/progress"
BEHAVIOURS = (
    "greyed",  # a value is ignored the first time it is set
    "late",  # a configuration becomes active a little later
    "dropped",  # one of several settings in quick succession is lost
    "untold",  # the end of a scan is not told
    "bad_lines",  # the first two lines of a frame are wrong
    "res_used",  # pixels that are used differ from those that were asked for
    "raw",  # the power that was set moves a little, as the table of its calibration has it
    "growing",  # each scan leaves a stack behind
    "disconnected",  # a call fails, once
    "hung",  # a call hangs, once
    "stopped",  # a person presses Stop in the middle of a scan, once
    "changed",  # a person changes a power in the middle of a scan, once
    "closed",  # a person closes the measurement, and opens it again a little later
    "interlocked",  # the depletion laser's head does not emit
    "runs_on",  # the scan does not end by itself, once
)
_ONCE = ("disconnected", "hung", "stopped", "changed", "closed", "runs_on")


def tree(pixels: int = 32, channels: Iterable[str] = ("STED 640",)) -> dict[str, Any]:
    """Values of one measurement, at the paths of Imspector 16.3, as far as they are used."""

    def lasers() -> list[dict[str, Any]]:
        return [
            {
                "active": True,
                "id": f"LAS{number}",
                "power": {"calibrated": 10.0, "raw": 1.2, "calibration_used": name},
            }
            for number, name in enumerate(LASERS)
        ]

    axis = {"psz": 2e-8, "len": 2e-8 * pixels, "res": pixels, "res_used": pixels, "g_off": 0.0}
    coarse = {"g_off": 1e-3, "off": 0.0}
    return {
        "ExpControl": {
            "measurement": {
                "channels": [
                    {
                        "name": name,
                        "dwelltime": 1e-5,
                        "lasers": lasers(),
                        "detsel": {"gain": {"calibrated": 50.0}},
                        "gating": {"active": True, "delay": 7.5e-10, "width": 8e-9},
                        "steps": {"linestep_active": [1, 0, 0, 0, 1, 1, 1, 1]},
                    }
                    for name in channels
                ],
                "line_steps": {"step_duration": [1, 2, 3, 1, 1, 1, 1, 1]},
            },
            "scan": {
                "range": {
                    **{letter: dict(axis) for letter in "xyz"},
                    **{f"coarse_{letter}": dict(coarse) for letter in "xyz"},
                }
            },
        },
        "Measurement": {"axes": {"num_synced": 2}},
        "STED_775": {"laser_on": True, "power": 1.25},
    }


@dataclass
class Scanned:
    """One scan: what was accepted when it began, and how long there was light (s)."""

    values: dict[str, Any]
    seconds: float


@dataclass
class FakeImspector:
    """The server.

    Parameters
    ----------
    values
        The tree of the measurement.
    behaviours
        Some of `BEHAVIOURS`.
    chance
        Of each of them that may happen at any call or scan.
    seed
        Of chance.
    call_s
        How long each call takes (s).
    old
        Without `value_at`, as specpy 1.2.
    pixels
        Makes a frame from the values of a channel; a pattern that depends on its lasers if absent.
    """

    values: dict[str, Any] = field(default_factory=tree)
    behaviours: tuple[str, ...] = ()
    chance: float = 1.0
    seed: int = 0
    call_s: float = 0.0
    old: bool = False
    pixels: Callable[[Mapping[str, Any], tuple[int, int]], NDArray[Any]] | None = None

    def __post_init__(self) -> None:
        assert set(self.behaviours) <= set(BEHAVIOURS)
        self._random = random.Random(self.seed)
        self._left = set(_ONCE)
        self._grey: dict[str, int] = {}
        self._last_set = 0.0
        self.scans = 0
        self.scanned: deque[Scanned] = deque(maxlen=_KEPT)
        self.scanning = False
        self.locked = False
        self.open = True
        self.calls = 0
        self.connections = 0
        self.stacks: list[Any] = []
        self.on_end: list[Any] = []
        if "interlocked" in self.behaviours:
            self.values["STED_775"]["laser_on"] = False
        self._halt = threading.Event()
        self.free = threading.Event()
        """Lets go of calls that hang."""

    def get_application(self, host: str = "") -> Application:
        """As specpy's."""
        self.connections += 1
        if host == "nobody":
            raise RuntimeError("connect: Connection refused")
        return _Old(self) if self.old else Application(self)

    def does(self, behaviour: str) -> bool:
        """Whether it happens now; what happens once does not again."""
        if behaviour not in self.behaviours or self._random.random() >= self.chance:
            return False
        if behaviour in _ONCE:
            if behaviour not in self._left or self.scans < _FIRST:
                return False
            self._left.remove(behaviour)
        return True

    def called(self) -> None:
        """Each call of a client."""
        self.calls += 1
        if self.call_s:
            time.sleep(self.call_s)
        if self.does("disconnected"):
            raise RuntimeError("the connection was closed by the server")
        if self.does("hung"):
            self.free.wait(60)

    def at(self, path: str) -> Any:
        """What a path has."""
        found: Any = self.values
        for part in filter(None, path.split("/")):
            try:
                found = found[int(part)] if isinstance(found, list) else found[part]
            except (KeyError, IndexError, ValueError, TypeError):
                raise RuntimeError(f"No parameter '{path}'") from None
        return found

    def set(self, path: str, value: Any) -> None:
        """What a client asks for; taken or not."""
        before = self.at(path)
        if isinstance(before, dict):
            raise RuntimeError(f"cannot set {path}: not all of its values may be set")
        now = time.monotonic()
        if "greyed" in self.behaviours and self._grey.setdefault(path, 0) == 0:
            self._grey[path] = 1
            return
        soon, self._last_set = now - self._last_set < 0.01, now
        if soon and self.does("dropped"):
            return
        if path.endswith("num_synced"):
            return
        self.put(path, value)

    def put(self, path: str, value: Any) -> None:
        """A value that was taken, and what goes with it."""
        above, _, last = path.rpartition("/")
        group = self.at(above)
        group[int(last) if isinstance(group, list) else last] = value
        if last == "calibrated" and "raw" in group:
            group["raw"] = value * 0.12
        if last in ("len", "psz") and "res" in group:
            group["res"] = round(group["len"] / group["psz"])
            group["res_used"] = group["res"] - (1 if self.does("res_used") else 0)

    def start(self) -> None:
        """Begin a scan in a thread."""
        if not self.open:
            raise RuntimeError("the measurement is closed")
        if self.scanning:
            raise RuntimeError("a measurement is running")
        if self.does("closed"):
            self.open = False
            threading.Timer(0.2, lambda: setattr(self, "open", True)).start()
            raise RuntimeError("the measurement is closed")
        self.scanning = True
        self._halt.clear()
        threading.Thread(target=self._scan, daemon=True).start()

    def _scan(self) -> None:
        accepted = copy.deepcopy(self.values)
        measurement = accepted["ExpControl"]["measurement"]
        scan = accepted["ExpControl"]["scan"]["range"]
        shape = scan["y"]["res"], scan["x"]["res"]
        seconds = 0.0
        for channel in measurement["channels"]:
            step = channel["steps"]["linestep_active"].index(1)
            lines = measurement["line_steps"]["step_duration"][step]
            seconds += channel["dwelltime"] * shape[0] * shape[1] * lines
        begun = time.monotonic()
        stopped = self.does("stopped")
        for_ever = self.does("runs_on")
        self._halt.wait(60 if for_ever else seconds / 2 if stopped else seconds)
        if self.does("changed"):
            self.put("ExpControl/measurement/channels/0/lasers/1/power/calibrated", 77.0)
        make = self.pixels or _pattern
        frames = [make(channel, shape) for channel in measurement["channels"]]
        if "bad_lines" in self.behaviours:
            for frame in frames:
                frame[:2] = 30000
        if stopped or for_ever:
            for frame in frames:
                frame[shape[0] // 2 :] = 0
        found = [specpy.Stack(frame.astype(np.int16)[None, None]) for frame in frames]
        self.stacks = self.stacks + found if "growing" in self.behaviours else found
        self.scans += 1
        self.scanned.append(Scanned(accepted, time.monotonic() - begun))
        self.scanning = False
        if not self.does("untold"):
            for told in list(self.on_end):
                told()

    def pause(self) -> None:
        """Stop the scan."""
        self._halt.set()

    @property
    def dark(self) -> bool:
        """No light falls on the sample, and none would if somebody pressed Start."""
        channels = self.values["ExpControl"]["measurement"]["channels"]
        lit = [
            laser
            for channel in channels
            for laser in channel["lasers"]
            if laser["active"] and laser["power"]["calibrated"] > 0
        ]
        return not self.scanning and not lit


def _pattern(channel: Mapping[str, Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Counts that tell the powers that were accepted."""
    power = sum(
        laser["power"]["calibrated"] * laser["active"] * 10**number
        for number, laser in enumerate(channel["lasers"][:2])
    )
    rows, columns = np.indices(shape)
    return np.asarray(power + rows % 3 + columns % 2)


class _Called:
    """Whose methods are calls to the server."""

    def __init__(self, server: FakeImspector) -> None:
        self._server = server
        self._connection = server.connections

    def _call(self) -> FakeImspector:
        self._server.called()
        return self._server


class Value(_Called):
    def __init__(self, server: FakeImspector, path: str, status: bool) -> None:
        super().__init__(server)
        self._path, self._status = path, status

    def get(self) -> Any:
        server = self._call()
        if self._status:
            if self._path != _STATUS:
                raise RuntimeError(f"Unknown device or parameter '{self._path}'")
            return {"active": server.scanning}
        return copy.deepcopy(server.at(self._path))

    def set(self, value: Any) -> None:
        self._call().set(self._path, value)

    def mode(self) -> int:
        server = self._call()
        grey = "greyed" in server.behaviours and server._grey.get(self._path, 0) == 0
        return int(specpy.ValueMode.ReadOnly) if grey else 0

    def traits(self) -> Any:
        self._call()
        return {"min": 0.0, "max": 100.0} if self._path.endswith("power/calibrated") else {}


class Lock(_Called):
    def unlock(self) -> None:
        self._call().locked = False


class Configuration(_Called):
    def name(self) -> str:
        self._call()
        return "stedfast"

    def stack(self, number: int) -> Any:
        server = self._call()
        return server.stacks[number - len(server.values["ExpControl"]["measurement"]["channels"])]


class Measurement(_Called):
    def name(self) -> str:
        self._call()
        return "meas01"

    def configuration_names(self) -> list[str]:
        self._call()
        return ["stedfast"]

    def configuration(self, _which: str | int) -> Configuration:
        return Configuration(self._call())

    def active_configuration(self) -> Configuration:
        return Configuration(self._call())

    def activate(self, _which: Configuration) -> None:
        self._call().values["Measurement"]["axes"]["num_synced"] = 2

    def parameters(self, path: str) -> Any:
        return copy.deepcopy(self._call().at(path))

    def set_parameters(self, path: str, value: Any) -> None:
        self._call().set(path, value)


class _Old(_Called):
    """An application of specpy 1.2."""

    def version(self) -> str:
        self._call()
        return "16.3.13800"

    def device_drivers(self) -> dict[str, str]:
        self._call()
        return {"ExpControl": "AIFpgaV3 Driver"}

    def active_measurement(self) -> Measurement:
        server = self._call()
        if not server.open:
            raise RuntimeError("there is no active measurement")
        return Measurement(server)

    def measurement_names(self) -> list[str]:
        return ["meas01"] if self._call().open else []

    def measurement(self, _name: str) -> Measurement:
        return Measurement(self._call())

    def activate(self, _measurement: Measurement) -> None:
        self._call()

    def start(self, _measurement: Measurement) -> None:
        self._call().start()

    def pause(self, _measurement: Measurement) -> None:
        self._call().pause()

    def state(self, path: str) -> Any:
        return Value(self._server, path, True).get()

    def connect_measurement_cb(self, told: Any, _signal: int) -> bool:
        self._call().on_end.append(told)
        return True

    def disconnect_measurement_cb(self, told: Any, _signal: int) -> bool:
        self._call().on_end.remove(told)
        return True


class Application(_Old):
    """An application of specpy 2026."""

    def value_at(self, path: str, tree: int = 0) -> Value:
        return Value(self._call(), path, tree == specpy.ValueTree.Status)

    def acquire_measurement_gui_lock(self, _flags: int) -> Lock:
        self._call().locked = True
        return Lock(self._server)
