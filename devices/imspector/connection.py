"""One connection to Imspector: the measurement that is driven, and values that are read back."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from devices.imspector.calls import Calls
from devices.imspector.layouts import Layout, layout_of
from devices.imspector.values import Parameters, Values, ValueTree

if TYPE_CHECKING:
    from devices.config import ImspectorConfig

_AGAIN_S = 0.25
"""How long a value has to be taken before it is set once more (s): a value that was greyed out is
ignored the first time, and one of several in quick succession may be."""
_POLL_S = 0.02
"""Between two readings of a value that is not there yet (s)."""
_STATUS_S = 0.1
"""Between two questions whether it still scans, where the end was not told (s)."""
_SAME = 1e-4
"""Relative difference below which a value is the one that was set: Imspector rounds to what its
hardware can do, and keeps some as 32 bits."""
_EARLY = 0.9
"""Share of its exposure that a whole scan takes at least."""
_ACTIVE = "Measurement/timing/progress"


class NotOpen(RuntimeError):
    """The measurement is not open in Imspector, so that nothing of it can be scanned."""


class NotTaken(RuntimeError):
    """A value was set, and something else was read back."""


class Imspector:
    """A connection.

    Parameters
    ----------
    config
        Host, measurement and time limits.
    connect
        Gives the application of a host: `specpy.get_application`.
    module
        specpy itself, which has the numbers of its signals, trees and flags.
    clock
        Monotonic time (s).

    Attributes
    ----------
    values, layout
        How values are reached, and where they are.
    """

    def __init__(
        self,
        config: ImspectorConfig,
        connect: Callable[..., Any],
        module: Any,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._connect, self._module, self._clock = config, connect, module, clock
        self.calls = Calls(config.reply_s)
        self._ended = threading.Event()
        self._application: Any = None
        self._measurement: Any = None
        self._locks: list[Any] = []
        self._hands_off, self._closed = False, False
        self._name = config.measurement
        self._lost, self._adrift = False, False
        self._reach()
        self.values = self._way()
        try:
            self._find()
            self.layout: Layout = layout_of(self.values)
        except BaseException:
            self._part()
            raise

    # ------------------------------------------------------------------ opening and closing

    def _reach(self) -> None:
        """Connect."""
        host = self._config.host
        where = (host,) if host else ()
        try:
            self._application = self.calls("connect", lambda: self._connect(*where))
        except RuntimeError as error:
            raise RuntimeError(
                f"no server answers on {host or 'this computer'} ({said(error)}); accepted:"
                " Imspector with its server on (Tools, Run Server)"
            ) from None
        end = self._module.MeasurementSignal.end_measurement
        self.calls(
            "be told of the end",
            lambda: self._application.connect_measurement_cb(self._on_end, end),
        )

    def _find(self) -> None:
        """Find the measurement that is driven."""
        if self._name is None:
            self._measurement = self.calls("measurement", self._application.active_measurement)
            self._name = str(self.calls("its name", self._measurement.name))
        else:
            self._measurement = self._named(self._name)
        if (wanted := self._config.configuration) is not None:
            self._activate(wanted)

    def _named(self, name: str) -> Any:
        names = list(self.calls("measurements", self._application.measurement_names))
        if name not in names:
            there = ", ".join(map(str, names)) or "none"
            raise NotOpen(f"measurement {name!r} is not open in Imspector; there is {there}")
        found = self.calls("measurement", lambda: self._application.measurement(name))
        self.calls("activate", lambda: self._application.activate(found))
        return found

    def _activate(self, wanted: str) -> None:
        """Activate a configuration, and wait until it is: that takes effect late."""
        measurement = self._measurement
        names = list(self.calls("configurations", measurement.configuration_names))
        if wanted not in names:
            raise RuntimeError(f"no configuration {wanted!r}; there is {', '.join(names)}")
        self.calls("activate", lambda: measurement.activate(measurement.configuration(wanted)))
        self._until(
            lambda: self.calls("active", lambda: measurement.active_configuration().name()),
            lambda name: name == wanted,
            f"configuration {wanted!r}",
        )

    def _way(self) -> Values:
        if hasattr(self._application, "value_at"):
            return ValueTree(lambda: self._application, self.calls)
        return Parameters(lambda: self._measurement, self.calls)

    def hands_off(self) -> None:
        """Keep the people at the PC from changing what a run controls, where Imspector can."""
        self._hands_off = True
        acquire = getattr(self._application, "acquire_measurement_gui_lock", None)
        if acquire is None:
            return
        flags = self._module.MeasurementGuiLockFlags
        wanted = flags.LockActivation | flags.LockRunPauseStop | flags.SetMeasurementValuesReadonly

        def lock() -> None:
            taken = acquire(wanted)
            self._locks.append(taken)
            if self._closed:  # the answer came late
                taken.unlock()

        self.calls("lock", lock)

    def close(self) -> None:
        """Stop scanning, let people do as they like, and be told of nothing any more."""
        with suppress(Exception):
            self.stop()
        self._closed = True
        # Those of connections that were lost as well: it is not known what became of them.
        for lock in self._locks:
            with suppress(Exception):
                self.calls("unlock", lock.unlock)
        self._part()

    def _part(self) -> None:
        end = self._module.MeasurementSignal.end_measurement
        with suppress(Exception):
            self.calls(
                "be told no more",
                lambda: self._application.disconnect_measurement_cb(self._on_end, end),
            )

    def connected(self) -> None:
        """Connect again after a call was lost.

        Raises
        ------
        RuntimeError
            There is no connection.
        """
        if self._lost:
            self.values.forget()
            self._reach()
            self._lost, self._adrift = False, True

    def check(self) -> None:
        """Connect again, and find the measurement again, after a call was lost.

        Raises
        ------
        NotOpen
            It is closed.
        RuntimeError
            There is no connection.
        """
        self.connected()
        if self._adrift:
            self._find()
            if self._hands_off:
                self.hands_off()
            self._adrift = False

    def lose(self) -> None:
        """Take nothing for granted any more: connect again before the next call."""
        self._lost = True

    def _on_end(self, *_told: Any) -> None:
        self._ended.set()

    @property
    def version(self) -> str:
        """Of Imspector."""
        return str(self.calls("version", self._application.version))

    @property
    def drivers(self) -> Any:
        """Its devices and their drivers."""
        return self.calls("drivers", self._application.device_drivers)

    # ------------------------------------------------------------------ values

    def confirm(self, path: str, value: Any) -> Any:
        """Set a value, and read it back until it is that.

        Returns
        -------
        Any
            As it was read back.

        Raises
        ------
        NotTaken
            It is another one after `confirm_s`, although it was set again.
        """
        self.check()
        return self._guarded(lambda: self._confirm(path, value))

    def _confirm(self, path: str, value: Any) -> Any:
        self.values.set(path, value)
        end = self._clock() + self._config.confirm_s
        again = self._clock() + _AGAIN_S
        while not same(found := self.values.get(path), value):
            now = self._clock()
            if now >= end:
                grey = "" if self._settable(path) else "; it is greyed out in Imspector"
                raise NotTaken(f"{path}: is {found!r}, not {value!r} as it was set to{grey}")
            if now >= again:
                self.values.set(path, value)
                again = now + _AGAIN_S
            time.sleep(_POLL_S)
        return found

    def _settable(self, path: str) -> bool:
        try:
            return self.values.settable(path)
        except Exception:  # it is only a hint
            return True

    def read(self, path: str) -> Any:
        """Read a value.

        Raises
        ------
        RuntimeError
            There is none, or no connection.
        """
        self.check()
        return self._guarded(lambda: self.values.get(path))

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except NotTaken:
            raise
        except Exception:
            self.lose()
            raise

    def _until(self, ask: Callable[[], Any], fits: Callable[[Any], bool], what: str) -> None:
        end = self._clock() + self._config.confirm_s
        while not fits(found := ask()):
            if self._clock() >= end:
                raise NotTaken(f"{what}: is {found!r}")
            time.sleep(_POLL_S)

    # ------------------------------------------------------------------ scanning

    @property
    def scanning(self) -> bool:
        """Whether Imspector says that it scans.

        Raises
        ------
        RuntimeError
            It does not say.
        """
        self.connected()
        return bool(self._guarded(self._ask_scanning))

    def _ask_scanning(self) -> bool:
        application, tree = self._application, self._module.ValueTree
        if hasattr(application, "value_at"):
            found = self.calls(
                f"get {_ACTIVE}", lambda: application.value_at(_ACTIVE, tree.Status).get()
            )
        else:
            found = self.calls(f"get {_ACTIVE}", lambda: application.state(_ACTIVE))
        return bool(found["active"])

    def stop(self) -> None:
        """Stop scanning, if it does.

        Raises
        ------
        RuntimeError
            It still scans, or does not say.
        """
        if self.scanning:
            self.calls("pause", lambda: self._application.pause(self._measurement))
            self._until(lambda: self.scanning, lambda active: not active, "the scan")

    def scan(self, exposure_s: float, channels: int) -> list[NDArray[Any]]:
        """Run the measurement once.

        Parameters
        ----------
        exposure_s
            How long light falls on the sample (s); a scan takes at least that.
        channels
            How many frames there are to be.

        Returns
        -------
        list of ndarray
            Rows × columns, for each channel.

        Raises
        ------
        RuntimeError
            It did not begin, did not end in time, or was stopped in the middle.
        """
        self.check()
        return list(self._guarded(lambda: self._scan(exposure_s, channels)))

    def _scan(self, exposure_s: float, channels: int) -> list[NDArray[Any]]:
        self._ended.clear()
        begun = self._clock()
        self.calls("start", lambda: self._application.start(self._measurement))
        end = begun + exposure_s + self._config.scan_s
        while not self._ended.wait(_STATUS_S):
            if self._clock() >= end:
                with suppress(Exception):
                    self.stop()
                raise RuntimeError(
                    f"the scan did not end within {exposure_s:.3g} + {self._config.scan_s:g} s"
                )
            # The end is not told where the connection was cut for a moment.
            if self._clock() >= begun + exposure_s + _STATUS_S and not self._ask_scanning():
                break
        took = self._clock() - begun
        if took < _EARLY * exposure_s:
            raise RuntimeError(
                f"the scan ended after {took:.3g} of {exposure_s:.3g} s: it was stopped in"
                " Imspector"
            )
        return [self._frame(number) for number in range(channels)]

    def _frame(self, number: int) -> NDArray[Any]:
        def pixels() -> NDArray[Any]:
            data = self._measurement.active_configuration().stack(number).data()
            # Reading is over before the next scan writes there.
            return np.array(data)

        data = self.calls(f"stack {number}", pixels)
        if math.prod(data.shape[:-2]) != 1:
            raise RuntimeError(
                f"stack {number} has the shape {data.shape}; accepted: one frame a scan (scan mode"
                " xy)"
            )
        frame: NDArray[Any] = data.reshape(data.shape[-2:])
        return frame


def said(error: BaseException) -> str:
    """What an error of specpy says, without where in its own code it came from.

    Examples
    --------
    >>> said(RuntimeError("connect: Connection refused [system:111 at /a/b.hpp:5]"))
    'connect: Connection refused'
    """
    return (str(error).splitlines() or [""])[0].partition(" [")[0] or type(error).__name__


def same(found: Any, wanted: Any) -> bool:
    """Whether a value that was read is the one that was set.

    Examples
    --------
    >>> same(9.9999997e-06, 1e-5), same(True, 1), same("xy", "xz")
    (True, True, False)
    """
    if isinstance(wanted, bool) or isinstance(found, bool):
        return bool(found) == bool(wanted)
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return math.isclose(found, wanted, rel_tol=_SAME, abs_tol=1e-15)
    return bool(found == wanted)
