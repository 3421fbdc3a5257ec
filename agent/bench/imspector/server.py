"""A double of Imspector's server: it keeps what it has *accepted*, and scans at that.

It can misbehave in each way that real systems are reported to, alone or by chance. What was lit,
and when, it logs by itself, so that it can be asked what fell on the sample.
"""

from __future__ import annotations

import copy
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.imspector import accepted
from agent.bench.imspector.behaviours import BEHAVIOURS, ONCE
from agent.bench.imspector.names import ANOTHER, BEGIN, CALLS, DRIVERS, END, MEASUREMENT, STATUS
from agent.bench.imspector.scans import lasers_of, pattern, scan_of
from agent.bench.imspector.tree import UNITS, tree

FIRST = 3
"""Scans before anything that happens once: opening has one of them, in the dark."""
_KEPT = 20
"""Of the latest scans."""
_LATE = 0.95
"""Share of a scan that is over when it is stopped late."""
_LATE_S = 0.15
"""How long a configuration takes to become active."""
_QUICK_S = 0.01
"""Between settings that come in quick succession, at most."""
_HANGS_S = _ENDLESS_S = 60.0

Pixels = Callable[[Mapping[str, Any], int, tuple[int, int]], NDArray[Any]]


@dataclass
class Scanned:
    """One scan: what was accepted when it began, when (monotonic s), and how long it took (s)."""

    values: dict[str, Any]
    began: float
    seconds: float


@dataclass
class FakeImspector:
    """The server.

    Parameters
    ----------
    values
        The tree of the configuration `stedfast`.
    others
        Those of further configurations, by name.
    active
        The configuration that is active.
    behaviours
        Some of `BEHAVIOURS`.
    chance
        Of each of them that may happen at any call or scan.
    seed
        Of chance.
    call_s
        How long each call takes (s).
    late_s
        When a scan begins whose start was not answered (s).
    old
        Without `value_at`, as specpy 1.2.
    pixels
        Makes a frame of the values, a channel's number and a shape; a pattern that depends on the
        lasers if absent.
    """

    values: dict[str, Any] = field(default_factory=tree)
    others: dict[str, dict[str, Any]] = field(default_factory=dict)
    active: str = "stedfast"
    behaviours: tuple[str, ...] = ()
    chance: float = 1.0
    seed: int = 0
    call_s: float = 0.0
    late_s: float = 0.02
    old: bool = False
    pixels: Pixels | None = None

    def __post_init__(self) -> None:
        assert set(self.behaviours) <= set(BEHAVIOURS)
        self._random = random.Random(self.seed)
        self._left = set(ONCE)
        self._grey: set[str] = set()
        self._last_set = 0.0
        self._becoming: tuple[str, float] | None = None
        self._guard = threading.RLock()
        self._halt = threading.Event()
        self.trees = {"stedfast": self.values, **self.others}
        if "reconfigured" in self.behaviours:
            self.trees.setdefault("overview", tree())
        self.in_front = MEASUREMENT
        self._another = tree()
        """Values of the other measurement, which no client uses."""
        self._cancelled: deque[int] = deque(maxlen=_KEPT)
        self.scans = 0
        self.scanned: deque[Scanned] = deque(maxlen=_KEPT)
        self.between: list[float] = []
        """Time (s) from the end of each scan to the begin of the next."""
        self._over = math.nan
        self.scanning = self.locked = False
        self.open = True
        self.untouched = False  # since a person has opened it again
        self.calls = self.connections = 0
        self.dead: set[int] = set()
        self.frames: list[tuple[str, NDArray[Any]]] = []
        self.listeners: dict[tuple[int, str], Callable[[], object]] = {}
        self.free = threading.Event()
        """Lets go of calls that hang."""
        if "interlocked" in self.behaviours:
            self.values["STED_775"]["laser_on"] = False

    # ------------------------------------------------------------------ clients

    def connect(self, host: str = "") -> int:
        """Connect; returns the connection's number.

        Raises
        ------
        RuntimeError
            There is no server at that host.
        """
        if host == "nobody":
            raise RuntimeError("connect: Connection refused [system:111 at connect.hpp:5]")
        self.connections += 1
        return self.connections

    def ask(self, connection: int, name: str, *arguments: Any) -> Any:
        """A call of a client.

        Raises
        ------
        RuntimeError
            It is refused, or the connection is lost.
        """
        if name not in CALLS:
            raise RuntimeError(f"unknown call {name!r}")
        self.calls += 1
        time.sleep(self.call_s)
        if self.open and name in ("names", "active_measurement", "get", "put"):
            self.untouched = False
        if connection not in self.dead and self.does("disconnected"):
            self._lose(connection)
        if connection in self.dead:
            raise RuntimeError("the connection was closed by the server")
        if self.does("hung"):
            self.free.wait(_HANGS_S)
        if name in ("start", "start_active") and self.does("late_start"):
            threading.Timer(self.late_s, self._begin_late).start()
            self._lose(connection)
            raise RuntimeError("the connection was closed by the server")
        if not self.scanning and self.does("started"):
            self._begin_if_idle()
        if name in ("listen", "deafen"):
            arguments = (connection, *arguments)
        return getattr(self, name)(*arguments)

    def _lose(self, connection: int) -> None:
        self.dead.add(connection)
        self.listeners = {key: one for key, one in self.listeners.items() if key[0] != connection}

    def does(self, behaviour: str) -> bool:
        """Whether it happens now; what happens once does not again."""
        if behaviour not in self.behaviours or self._random.random() >= self.chance:
            return False
        if behaviour in ONCE:
            if behaviour not in self._left or self.scans < FIRST:
                return False
            self._left.remove(behaviour)
        return True

    def listen(self, connection: int, signal: str, told: Callable[[], object]) -> None:
        """Be told of begin or end of a scan."""
        self.listeners[connection, signal] = told

    def deafen(self, connection: int, signal: str) -> None:
        """Be told no more."""
        self.listeners.pop((connection, signal), None)

    def _tell(self, signal: str) -> None:
        if "untold" in self.behaviours:
            return
        for (_, wanted), told in list(self.listeners.items()):
            if wanted == signal:
                told()

    def version(self) -> str:
        """Of Imspector."""
        return "16.3.13800"

    def drivers(self) -> dict[str, str]:
        """Of its devices."""
        return dict(DRIVERS)

    def lock(self) -> None:
        """Keep the people at the PC from changing anything; a client that dies leaves it so."""
        self.locked = True

    def unlock(self) -> None:
        """Let them."""
        self.locked = False

    # ------------------------------------------------------------------ measurements

    def names(self) -> list[str]:
        """Measurements that are open."""
        return [MEASUREMENT] * self.open + [ANOTHER] * ("other" in self.behaviours)

    def active_measurement(self) -> str:
        """The one whose values are those of no other path.

        Raises
        ------
        RuntimeError
            There is none.
        """
        if not (self.open or self.in_front == ANOTHER):
            raise RuntimeError("there is no active measurement")
        return self.in_front

    def activate_measurement(self, name: str) -> None:
        """Make one the active one."""
        self.in_front = name

    def configurations(self) -> list[str]:
        """Of the measurement."""
        return list(self.trees)

    def active_configuration(self) -> str:
        """The one that is active; it may become so a little later than it was asked for."""
        if self._becoming is not None and time.monotonic() >= self._becoming[1]:
            self.active, self._becoming = self._becoming[0], None
        return self.active

    def activate(self, name: str) -> None:
        """Make a configuration the active one."""
        self.trees[name].get("Measurement", {}).get("axes", {})["num_synced"] = 2
        when = time.monotonic() + (_LATE_S if "late" in self.behaviours else 0.0)
        self._becoming = (name, when)

    def _tree(self, of: str | None = None) -> dict[str, Any]:
        if (of or self.in_front) == ANOTHER:
            return self._another
        if not self.open:
            raise RuntimeError("there is no active measurement")
        return self.trees[self.active_configuration()]

    def at(self, path: str, of: str | None = None) -> Any:
        """What a path has in the active configuration of a measurement; the active one if absent.

        Raises
        ------
        RuntimeError
            There is no such path.
        """
        return accepted.at(self._tree(of), path)

    def get(self, path: str, of: str | None = None) -> Any:
        """The same, for a client to keep."""
        return copy.deepcopy(self.at(path, of))

    def state(self, path: str) -> Any:
        """Of the tree of the status."""
        if path != STATUS:
            raise RuntimeError(f"Unknown device or parameter '{path}'")
        return {"active": self.scanning}

    def mode(self, path: str) -> int:
        """Bits of a value's mode: 1 where it is read-only."""
        return int("greyed" in self.behaviours and path not in self._grey)

    def traits(self, path: str) -> dict[str, float]:
        """Limits of a value."""
        if not path.endswith("power/calibrated"):
            return {}
        unit = self.at(path.removesuffix("calibrated")).get("units_used") or "%"
        return {"min": 0.0, "max": UNITS[unit]}

    def put(self, path: str, value: Any, of: str | None = None) -> None:
        """What a client asks for; taken or not.

        Raises
        ------
        RuntimeError
            There is no such path, or it is a whole dictionary.
        """
        before = self.at(path, of)
        if isinstance(before, dict):
            if set(value) <= {"num_synced"} or path != "Measurement/axes":
                raise RuntimeError(f"cannot set {path}: not all of its values may be set")
            before.update({key: one for key, one in value.items() if key != "num_synced"})
            return
        now = time.monotonic()
        if "greyed" in self.behaviours and path not in self._grey:
            self._grey.add(path)
            return
        soon, self._last_set = now - self._last_set < _QUICK_S, now
        if soon and self.does("dropped"):
            return
        if isinstance(before, list) and len(value) != len(before):
            raise RuntimeError(f"cannot set {path}: {len(before)} values")
        self.take(path, value, of)

    def take(self, path: str, value: Any, of: str | None = None) -> None:
        """Take a value, and change what goes with it."""
        accepted.take(self._tree(of), path, value, self.behaviours)

    # ------------------------------------------------------------------ scans

    def run(self) -> None:
        """Scan, and return at its end; some versions raise at once."""
        self.start()
        if "bad_cast" in self.behaviours:
            raise RuntimeError("bad cast")
        while self.scanning:
            time.sleep(0.005)

    def start(self, of: str = MEASUREMENT) -> None:
        """Begin a scan, and return at once.

        Raises
        ------
        RuntimeError
            There is no measurement, or it scans.
        """
        if self.does("closed"):
            self.open = False
            threading.Timer(0.2, lambda: vars(self).update(open=True, untouched=True)).start()
        if not self.open:
            raise RuntimeError("the measurement is closed")
        with self._guard:
            if self.scanning:
                raise RuntimeError("a measurement is running")
            self._begin()

    def start_active(self) -> int:
        """Begin a scan of the active measurement; returns its number, by which its result is known.

        Raises
        ------
        RuntimeError
            As `start`; or this server has no results.
        """
        number = self.scans + 1  # it may be over before this returns
        self.start(self.in_front)
        if "bad_cast" in self.behaviours:
            raise RuntimeError("bad cast")
        return number

    def result(self, scan: int) -> int:
        """What a scan ended with, once it has: 1 if it was cancelled."""
        while self.scans < scan:
            time.sleep(0.002)
        return int(scan in self._cancelled)

    def _begin_if_idle(self) -> None:
        with self._guard:
            if self.open and not self.scanning:
                self._begin()

    def _begin_late(self) -> None:
        while self.scanning:
            time.sleep(0.002)
        self._begin_if_idle()

    def _begin(self) -> None:
        self.scanning = True
        self._halt.clear()
        threading.Thread(target=self._scan, daemon=True).start()

    def pause(self) -> None:
        """Stop the scan."""
        self._halt.set()

    def _scan(self) -> None:
        began, values = time.monotonic(), copy.deepcopy(self._tree())
        if not math.isnan(self._over):
            self.between.append(began - self._over)
        self._tell(BEGIN)
        channels, shape, seconds = scan_of(values)
        late = self.does("stopped_late")
        stopped, for_ever = self.does("stopped") or late, self.does("runs_on")
        make = self.pixels or pattern
        frames = [make(values, number, shape) for number in range(len(channels))]
        share = _LATE if late else 0.5 if stopped else 1.0
        if self.does("other"):
            self.in_front = ANOTHER
        if self.does("reconfigured"):
            self.activate(next(name for name in self.trees if name != self.active))
        lasts = _ENDLESS_S if for_ever else seconds * share
        self._halt.wait(max(0.0, began + lasts - time.monotonic()))
        if self.does("changed"):
            self.take("ExpControl/measurement/channels/0/lasers/1/power/calibrated", 77.0)
        for frame in frames:
            if "bad_lines" in self.behaviours:
                frame[:2] = 30000
            if stopped or for_ever or self._halt.is_set():
                frame[int(shape[0] * (share if stopped else 0.5)) :] = 0
        found = [
            (f"{name} {{0}}", frame.astype(np.int16)[None, None])
            for name, frame in zip(channels, frames, strict=True)
        ]
        self.frames = self.frames + found if "growing" in self.behaviours else found
        if stopped or self._halt.is_set():
            self._cancelled.append(self.scans + 1)
        self.scans += 1
        self._over = time.monotonic()
        self.scanned.append(Scanned(values, began, self._over - began))
        self.scanning = False
        self._tell(END)

    def stacks(self) -> list[str]:
        """Names of what the active configuration has scanned."""
        return [name for name, _ in self.frames]

    def stack(self, which: int | str) -> NDArray[Any]:
        """One of them, by its number or name.

        Raises
        ------
        RuntimeError
            There is none.
        """
        for number, (name, data) in enumerate(self.frames):
            if which in (number, name):
                return data
        raise RuntimeError(f"there is no stack {which!r}")

    @property
    def left_alone(self) -> bool:
        """Nobody could set it: a person closed it, or opened it again as the last thing."""
        return not self.open or self.untouched

    @property
    def dark(self) -> bool:
        """No light falls on the sample, and none would in a scan of what is driven."""
        lit = [one for one in lasers_of(self.values) if one["active"] and one["power"] > 0]
        return not self.scanning and not lit
