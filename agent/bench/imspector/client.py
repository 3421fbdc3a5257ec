"""specpy as the driver uses it, over the double of Imspector's server.

Names and signatures are specpy's, and so are its stacks, signals, trees and flags.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

from agent.bench.imspector.names import BEGIN, END

specpy: Any = import_module("specpy")
"""Itself; it has no types."""


class Server(Protocol):
    """What a client needs of the server, wherever that is."""

    old: bool

    def connect(self, host: str) -> int:
        """Connect; returns the connection's number."""

    def ask(self, connection: int, name: str, *arguments: Any) -> Any:
        """Make a call."""


class _Called:
    """Whose methods are calls to the server."""

    def __init__(self, server: Server, connection: int) -> None:
        self._server, self._connection = server, connection

    def _ask(self, name: str, *arguments: Any) -> Any:
        return self._server.ask(self._connection, name, *arguments)


class Value(_Called):
    """A value."""

    def __init__(self, server: Server, connection: int, path: str, status: bool) -> None:
        super().__init__(server, connection)
        self._path, self._status = path, status

    def get(self) -> Any:
        """As specpy's."""
        return self._ask("state" if self._status else "get", self._path)

    def set(self, value: Any) -> None:
        """As specpy's."""
        self._ask("put", self._path, value)

    def mode(self) -> int:
        """As specpy's."""
        return int(specpy.ValueMode.ReadOnly) if self._ask("mode", self._path) else 0

    def traits(self) -> Any:
        """As specpy's."""
        return self._ask("traits", self._path)


class Lock(_Called):
    """Keeps people from changing things."""

    def unlock(self) -> None:
        """As specpy's."""
        self._ask("unlock")


class Configuration(_Called):
    """A configuration of the measurement."""

    def __init__(self, server: Server, connection: int, name: str) -> None:
        super().__init__(server, connection)
        self._name = name

    def name(self) -> str:
        """As specpy's."""
        return self._name

    def stack_names(self) -> list[str]:
        """As specpy's."""
        return list(self._ask("stacks"))

    def stack(self, which: int | str) -> Any:
        """As specpy's."""
        return specpy.Stack(self._ask("stack", which))


class Future(_Called):
    """What a scan ends with."""

    def __init__(self, server: Server, connection: int, scan: int) -> None:
        super().__init__(server, connection)
        self._scan = scan

    def get(self) -> int:
        """As specpy's."""
        return int(self._ask("result", self._scan))


class Measurement(_Called):
    """The measurement."""

    def __init__(self, server: Server, connection: int, name: str) -> None:
        super().__init__(server, connection)
        self._name = name

    def name(self) -> str:
        """As specpy's."""
        return self._name

    def configuration_names(self) -> list[str]:
        """As specpy's."""
        return list(self._ask("configurations"))

    def configuration(self, which: str) -> Configuration:
        """As specpy's."""
        return Configuration(self._server, self._connection, which)

    def active_configuration(self) -> Configuration:
        """As specpy's."""
        return self.configuration(self._ask("active_configuration"))

    def activate(self, which: Configuration) -> None:
        """As specpy's."""
        self._ask("activate", which.name())

    def parameters(self, path: str) -> Any:
        """As specpy's."""
        return self._ask("get", path, self._name)

    def set_parameters(self, path: str, value: Any) -> None:
        """As specpy's."""
        self._ask("put", path, value, self._name)


_SIGNALS = {
    int(specpy.MeasurementSignal.beg_measurement): BEGIN,
    int(specpy.MeasurementSignal.end_measurement): END,
}


class OldApplication(_Called):
    """An application of specpy 1.2."""

    def version(self) -> str:
        """As specpy's."""
        return str(self._ask("version"))

    def device_drivers(self) -> Any:
        """As specpy's."""
        return self._ask("drivers")

    def active_measurement(self) -> Measurement:
        """As specpy's."""
        return Measurement(self._server, self._connection, self._ask("active_measurement"))

    def measurement_names(self) -> list[str]:
        """As specpy's."""
        return list(self._ask("names"))

    def measurement(self, name: str) -> Measurement:
        """As specpy's."""
        if name not in self._ask("names"):
            raise RuntimeError(f"there is no measurement {name!r}")
        return Measurement(self._server, self._connection, name)

    def activate(self, that: Measurement) -> None:
        """As specpy's."""
        self._ask("activate_measurement", that.name())

    def start(self, that: Any = 0) -> Future | None:
        """As specpy's."""
        if isinstance(that, Measurement):
            self._ask("start", that.name())
            return None
        return Future(self._server, self._connection, self._ask("start_active"))

    def run(self, that: Measurement) -> None:
        """As specpy's."""
        self._ask("run")

    def pause(self, that: Measurement) -> None:
        """As specpy's."""
        self._of_this_connection(that)
        self._ask("pause")

    def _of_this_connection(self, that: Measurement) -> None:
        if that._connection != self._connection:
            raise RuntimeError("the measurement is one of a connection that was closed")

    def state(self, at: str) -> Any:
        """As specpy's."""
        return self._ask("state", at)

    def connect_measurement_cb(self, cb: Callable[..., object], to: int) -> bool:
        """As specpy's."""
        self._ask("listen", _SIGNALS[int(to)], cb)
        return True

    def disconnect_measurement_cb(self, cb: Callable[..., object], to: int) -> bool:
        """As specpy's."""
        self._ask("deafen", _SIGNALS[int(to)])
        return True


class Application(OldApplication):
    """An application of specpy 2026."""

    def value_at(self, path: str, root: int = 0) -> Value:
        """As specpy's."""
        return Value(self._server, self._connection, path, root == specpy.ValueTree.Status)

    def pause(self, that: Measurement | None = None) -> None:
        """As specpy's; whichever is scanned if none is named."""
        if that is not None:
            super().pause(that)
        else:
            self._ask("pause")

    def acquire_measurement_gui_lock(self, flags: int) -> Lock:
        """As specpy's."""
        self._ask("lock")
        return Lock(self._server, self._connection)


def application_of(server: Server, host: str = "") -> OldApplication:
    """As `specpy.get_application`, of a server."""
    kind = OldApplication if server.old else Application
    return kind(server, server.connect(host))


@contextmanager
def specpy_of(server: Server) -> Iterator[None]:
    """Code that imports specpy meanwhile gets one whose Imspector is this server."""
    double = ModuleType("specpy")
    vars(double).update(vars(specpy))
    vars(double)["get_application"] = lambda host="", port_num=0: application_of(server, host)
    before = sys.modules["specpy"]
    sys.modules["specpy"] = double
    try:
        yield
    finally:
        sys.modules["specpy"] = before
