"""One connection to Imspector: the measurement that is driven, and values that are read back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from devices.imspector.calls import Calls, NoReply, said
from devices.imspector.errors import NotOpen, NotTaken
from devices.imspector.layouts import Layout, layout_of
from devices.imspector.locks import Locks
from devices.imspector.scanning import Scanning, Unasked
from devices.imspector.stacks import frame_of, stacks_of
from devices.imspector.starts import Starts
from devices.imspector.target import Target, until
from devices.imspector.values import Parameters, Values, ValueTree, plain, rounded, same

if TYPE_CHECKING:
    from devices.sources import ImspectorConfig

_AGAIN_S = 0.25
"""How long a value has to be taken before it is set once more (s): a value that was greyed out is
ignored the first time, and one of several in quick succession may be."""
_POLL_S = 0.02
"""Between two readings of a value that is not there yet (s)."""
_WATCH_S = 0.1
"""Between two looks whether a scan begins late (s)."""
_ACTIVE = "Measurement/timing/progress"


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
        self._application: Any = None
        self._locks = Locks(self.calls)
        self._hands_off = False
        self._target = Target(self.calls, config, clock)
        self._lost, self._adrift = False, False
        self._lost_at = -math.inf
        self._scans = Scanning(self.calls, clock, config.reply_s, self._ask_scanning)
        self._starts = Starts(self.calls, module, self._ask_scanning)
        self._reach()
        self.values = self._way()
        try:
            self._find()
            self.layout: Layout = layout_of(self.values)
        except BaseException:
            self._scans.deafen()
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
        self._starts.application = self._application
        self._scans.listen(self._application, self._module)

    def _find(self) -> None:
        """Find what is driven."""
        self._target.find(self._application)
        self._starts.measurement = self._target.measurement

    def _way(self) -> Values:
        if hasattr(self._application, "value_at"):
            return ValueTree(lambda: self._application, self.calls)
        return Parameters(lambda: self._target.measurement, self.calls)

    def hands_off(self) -> None:
        """Keep the people at the PC from changing what a run controls, where Imspector can."""
        self._hands_off = True
        self._locks.take(self._application, self._module)

    def close(self) -> None:
        """Stop scanning, let people do as they like, and be told of nothing any more.

        A start that was not answered is waited for as long as it may come: `reply_s`.
        """
        with suppress(Exception):
            self.stop()
        while left := self._scans.may_begin_s:
            time.sleep(min(left, _WATCH_S))
            with suppress(Exception):
                self.stop()
        if self._hands_off and self._adrift:
            # The lock of a connection that was lost may last; one that is released ends it.
            with suppress(Exception):
                self.hands_off()
        self._locks.release()
        self._scans.deafen()

    def connected(self) -> None:
        """Connect again after a call was lost.

        Raises
        ------
        RuntimeError
            There is no connection.
        """
        if self._lost:
            self.values.forget()
            self._reach_again()
            self._lost, self._adrift = False, True

    def _reach_again(self) -> None:
        """Connect; a server that starts again is waited for, once."""
        end = self._lost_at + self._config.reply_s
        while True:
            try:
                return self._reach()
            except RuntimeError:
                if self._clock() >= end:
                    raise
            time.sleep(_WATCH_S)

    def check(self) -> None:
        """Connect again, and find the measurement again, after a call was lost.

        Raises
        ------
        NotOpen
            It is closed.
        Unasked
            It scanned though it was not asked to; it was stopped.
        RuntimeError
            There is no connection.
        """
        self.connected()
        if self._adrift:
            self._find()
            if self._hands_off:
                self.hands_off()
            self._adrift = False
        if self._scans.unasked():
            self.stop()
            raise Unasked("Imspector scanned though it was not asked to; it is stopped")

    def claim(self) -> bool:
        """Make what is driven the active one again, if a person has activated something else.

        Returns
        -------
        bool
            Somebody had.

        Raises
        ------
        NotOpen
            It is closed.
        RuntimeError
            There is no connection.
        """
        self.check()
        try:
            self._scanned()
        except NoReply:
            raise
        except RuntimeError:
            self._guarded(self._find)
            return True
        return False

    def lose(self) -> None:
        """Take nothing for granted any more: connect again before the next call."""
        if not self._lost:
            self._lost_at = self._clock()
        self._lost = True

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
        return self._twice(lambda: self._confirm(path, value))

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
                if rounded(found, value):
                    break
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
        return self._twice(lambda: self.values.get(path))

    def find(self, path: str) -> Any:
        """Read a value that not every version has; None where there is none.

        Raises
        ------
        NoReply
            There is no answer.
        """
        try:
            return self.values.get(path)
        except NoReply:
            raise
        except RuntimeError:
            return None

    def _twice(self, work: Callable[[], Any]) -> Any:
        """Once more, over a new connection, what does no harm twice: a connection may be lost."""
        try:
            self.check()
            return self._guarded(work)
        except (NotOpen, NotTaken, Unasked):
            raise
        except RuntimeError:
            self.check()
            return self._guarded(work)

    def _guarded(self, work: Callable[[], Any]) -> Any:
        try:
            return work()
        except NotTaken:
            raise
        except Exception:
            self.lose()
            raise

    # ------------------------------------------------------------------ scanning

    @property
    def scanning(self) -> bool:
        """Whether Imspector says that it scans; asked once more where a connection was lost.

        Raises
        ------
        RuntimeError
            It does not say.
        """
        try:
            return self._says_scanning()
        except RuntimeError:
            return self._says_scanning()

    def _says_scanning(self) -> bool:
        self.connected()
        return bool(self._guarded(self._ask_scanning))

    def _ask_scanning(self) -> bool:
        return bool(self.says()["active"])

    def says(self) -> Any:
        """All that Imspector says of the scan that goes on, or went."""
        application, tree = self._application, self._module.ValueTree

        def ask() -> Any:
            if hasattr(application, "value_at"):
                return application.value_at(_ACTIVE, tree.Status).get()
            return application.state(_ACTIVE)

        return plain(self.calls(f"get {_ACTIVE}", ask))

    def stop(self) -> None:
        """Stop scanning, if it does.

        Raises
        ------
        RuntimeError
            It still scans, or does not say.
        """
        scanned = self.scanning
        if scanned:
            self._guarded(self._pause)
            until(lambda: self.scanning, False, "the scan", self._config.confirm_s, self._clock)
        self._scans.stopped(scanned)

    def _pause(self) -> None:
        if not self.values.of_active:
            self._pause_driven()
            return
        with suppress(RuntimeError):
            self._pause_driven()
        # Whichever measurement it is: a person may have closed the driven one, or begun another.
        self.calls("pause", lambda: self._application.pause())

    def _pause_driven(self) -> None:
        found = self._target.measurement
        if self._adrift:  # a measurement of a connection that was lost is none of this one
            try:
                found = self.calls("measurement", self._application.active_measurement)
            except NoReply:
                raise
            except RuntimeError as error:
                raise NotOpen(f"no measurement is open in Imspector: {said(error)}") from None
        self.calls("pause", lambda: self._application.pause(found))

    def scan(
        self, least_s: float, channels: Sequence[str], names: Sequence[str]
    ) -> list[NDArray[Any]]:
        """Run the measurement once.

        Parameters
        ----------
        least_s
            How long it takes at least (s).
        channels
            Names of all channels that it scans.
        names
            Those whose frames are asked for.

        Returns
        -------
        list of ndarray
            Rows × columns, for each name.

        Raises
        ------
        RuntimeError
            It did not begin, did not end in time, or was stopped in the middle.
        """
        self.check()
        return list(self._guarded(lambda: self._scan(least_s, channels, names)))

    def _scan(
        self, least_s: float, channels: Sequence[str], names: Sequence[str]
    ) -> list[NDArray[Any]]:
        scanned: list[Any] = []
        self._scans.run(
            self._starts.begin,
            lambda: scanned.append(self._scanned()),
            least_s,
            least_s + self._config.scan_s,
            self.stop,
        )
        (configuration,) = scanned
        numbers = self.calls("stacks", lambda: stacks_of(configuration, channels, names))
        return [
            self.calls(f"stack {number}", partial(frame_of, configuration, number))
            for number in numbers
        ]

    def _scanned(self) -> Any:
        return self._target.look(self._application, measurements=self.values.of_active)
