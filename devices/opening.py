"""The one owner of an open core, whose only way out is: made safe, read back, let go.

Devices are loaded and asked in a thread of its own, so that the others can be made safe while one
hangs in a driver.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from devices.cfg import written_presets
from devices.config import MicroscopeConfig
from devices.errors import BindingError, DeviceFault, Hangs, Interrupted
from devices.lights import Lights, halt
from devices.loading import cfg_file, load_devices, new_core
from devices.occupied import occupy
from devices.safety import LightGate, Never, Readback, SafeState, Step, Stop, make_safe
from devices.system_presets import shut_down, start_up

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_LOADING_S = 300.0
"""How long devices have to come up, a stage's homing included (s)."""
_ASKED_S = 5.0
"""How long a device that is being loaded is waited for once it is to end (s)."""
_LET_GO_S = 2.0
"""How long a device that hangs is waited for at the end (s)."""
_SHUTDOWN_S = 10.0
"""How long the devices have for the Shutdown preset of a `.cfg` (s)."""
_TICK_S = 0.05
"""Time between two looks at whether opening is to end (s)."""

T = TypeVar("T")


class OpenCore:
    """Devices that are loaded, and the duty to make them safe.

    Use `open_core`.

    Attributes
    ----------
    core
        Micro-Manager's core with C++ and Python devices in it.
    gate
        Every call that moves or lights something passes it.
    lights
        What can put light on the sample.
    let_go
        It was made safe and let go of; False while it is open, and where a device hangs in that.
    releasing
        How to stop what moves by itself, when it is made safe: a continuous focus.
    """

    def __init__(self, config: MicroscopeConfig, stop: Stop, taken: ExitStack) -> None:
        self._taken = taken
        self.gate = LightGate(stop)
        self.core: UniMMCore = new_core(self._before_unloading, config.cfg, self._start_up)
        self.lights = Lights(self.core, config)
        self.let_go = False
        self.releasing: Callable[[], list[Step]] = list
        self._config = config
        self._closing = False
        self._shut = False
        self._worker: threading.Thread | None = None
        self._unloaded: tuple[Readback, ...] = ()
        self._safe: SafeState | None = None

    def load(self, base: Path, seed: int) -> None:
        """Load all devices; each is made safe as soon as it is there.

        Raises
        ------
        BindingError
            A device cannot be loaded, or not made safe.
        Interrupted
            It is to end.
        """
        self.within(_LOADING_S, lambda: self._load(base, seed))

    def _load(self, base: Path, seed: int) -> None:
        if self._config.cfg is not None:
            self.lights.written = written_presets(cfg_file(self._config.cfg, base))
        loading = load_devices(self.core, self._config, self.gate.check, base=base, seed=seed)
        unsafe: BindingError | None = None
        for _ in loading:
            try:
                self.darken("opened")
            except BindingError as error:  # the others behind it are made dark still
                unsafe = unsafe or error
            self.gate.check()
        if unsafe is not None:
            raise unsafe

    def darken(self, reason: str) -> SafeState:
        """Close every shutter and put every laser at its safe value; nothing else stops.

        Raises
        ------
        BindingError
            Something does not read back as it should.
        """
        self.lights.look()
        state = make_safe(self.lights.steps(), reason)
        if not state.ok:
            raise BindingError((), f"cannot be made safe: {state.wrong}")
        return state

    def within(self, seconds: float, work: Callable[[], T]) -> T:
        """Let something work on the devices, and wait for it no longer than that.

        Raises
        ------
        DeviceFault
            A device hangs, or does not answer.
        Interrupted
            It is to end.
        """
        worker = self._worker = _Worker(work)
        worker.start()
        end, stop = time.monotonic() + seconds, self.gate.stop
        asked = False
        while worker.is_alive() and time.monotonic() < end and not stop.now:
            worker.join(_TICK_S)
            if stop.asked and not asked:
                asked, end = True, min(end, time.monotonic() + _ASKED_S)
        if stop.asked:
            raise Interrupted("interrupted before the microscope was open")
        if worker.is_alive():
            raise DeviceFault(f"a device hangs: the microscope is not open after {seconds:g} s")
        try:
            return worker.result()
        except (BindingError, DeviceFault):
            raise
        # Anything that a driver raises, an exit included: no signal reaches its thread.
        except BaseException as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # a file's, not a device's
            what = str(error) if isinstance(error, Exception) else type(error).__name__
            raise DeviceFault(f"a device does not answer: {what}") from error

    def limited(self, seconds: float, work: Callable[[], T]) -> T:
        """Let a run use a device that may hang, and wait for it no longer than that.

        One that hangs is left to itself, and others pass the gate beside it.

        Raises
        ------
        Hangs
            It is not done by then, or another one still hangs.
        GateClosed
            It is to end; the work may not be over.
        Exception
            Whatever the work raised.
        """
        if threading.current_thread() is self._worker:
            return work()  # it is limited already
        if self.hangs:
            raise Hangs("still hangs")
        worker = self._worker = _Worker(work)
        worker.start()
        end = time.monotonic() + seconds
        while worker.is_alive():
            worker.join(_TICK_S)
            self.gate.check()
            if worker.is_alive() and time.monotonic() > end:
                self.gate.abandon()
                raise Hangs(f"hangs: no answer in {seconds:g} s")
        return worker.result()

    @property
    def hangs(self) -> bool:
        """Whether a device that was used within a time limit has not come back yet."""
        return self._worker is not None and self._worker.is_alive()

    def arm(self) -> None:
        """Let devices be moved and lit."""
        self._safe = None
        self.gate.open()

    def make_safe(self, reason: str) -> SafeState:
        """Shutters closed, lasers at their safe values, all motion stopped, each read back.

        Never raises, and never waits long for a device that hangs. From here on nothing passes
        the gate, until `arm`. Once the devices are let go of, their last answers.
        """
        self.gate.close()
        if self._closing and self._safe is not None:
            return self._safe
        steps = self.lights.steps()
        if self.gate.used:
            steps += [*self.releasing(), *halt(self.core)]
        state = make_safe(steps, reason)
        self._safe = replace(state, readback=(*self._unloaded, *state.readback))
        return self._safe

    def shut_down(self, reason: str = "closed") -> str | None:
        """Set the `.cfg`'s Shutdown preset, once; it is made safe before and after it.

        Returns
        -------
        str | None
            Why it could not be set; None if it was, or if there is none.
        """
        before = self._safe or self.make_safe(reason)
        alive = self._worker is not None and self._worker.is_alive()
        if self._shut or alive or not before.ok or self.gate.stop.now:
            return None
        self._shut = True
        worker = self._worker = _Worker(lambda: shut_down(self.core, self.lights))
        worker.start()
        self._wait(worker, _SHUTDOWN_S)
        self.make_safe(reason)  # whatever it did, it is dark
        if worker.is_alive():
            if self.gate.stop.now:
                return "it is not waited for any longer, as all is to stop now"
            return f"a device hangs: it is not set after {_SHUTDOWN_S:g} s"
        try:
            worker.result()
        except Exception as error:
            return str(error)
        return None

    def close(self, reason: str = "closed", *, hung: bool = False) -> SafeState:
        """Make safe, read back and let go; a second call does nothing more.

        What the `.cfg` has for its end, its Shutdown preset, is set in between.

        Parameters
        ----------
        reason
            Why.
        hung
            A thread hangs in a device: letting go is not waited for.
        """
        safe = self._safe
        if self._closing and safe is not None:
            return safe
        if safe is None or not safe.ok:
            self._look_again()
            safe = self.make_safe(reason)
        if not hung:
            self.shut_down(reason)
            safe = self._safe or safe
        if self._worker is not None and self._worker.is_alive():
            self._worker.join(_LET_GO_S)
            self._look_again()
            safe = self.make_safe(reason)  # the thread may have lit something in between
            hung = hung or self._worker.is_alive()
        self._closing = True
        if self._worker is not None and self._worker.is_alive():
            # Unloading devices while they are being loaded would crash the process.
            _hanging.append(self._worker)
            return safe
        thread = threading.Thread(target=self._release, name="close", daemon=True)
        thread.start()
        self._wait(thread, _LOADING_S if safe.ok and not hung else _LET_GO_S)
        self.let_go = not thread.is_alive()
        if not self.let_go:
            _hanging.append(thread)
        return safe

    def _wait(self, thread: threading.Thread, seconds: float) -> None:
        """Wait for a thread; not long once it is to stop now."""
        end = time.monotonic() + seconds
        while thread.is_alive() and time.monotonic() < end:
            thread.join(_TICK_S)
            if self.gate.stop.now:
                end = min(end, time.monotonic() + _LET_GO_S)

    def _look_again(self) -> None:
        """Which devices there are, where opening ended before it had looked; one may hang."""
        worker = _Worker(self.lights.look)
        worker.start()
        worker.join(_LET_GO_S)

    def _release(self) -> None:
        from pymmcore import CMMCore

        with suppress(Exception):
            self.core.unloadAllDevices()
        # Without this the process aborts on every other exit, when a late callback finds no
        # Python: the core's threads may outlive the interpreter.
        CMMCore.registerCallback(self.core, None)
        self._taken.close()

    def _start_up(self) -> None:
        """All devices of a `.cfg` are up: dark first, then its Startup preset."""
        self.lights.look()
        # Some shutters have none of their own before that preset; all are asked again after it.
        make_safe(self.lights.steps(), "opened")
        start_up(self.core, self.lights, self.gate)

    def _before_unloading(self) -> None:
        """Micro-Manager itself unloads all devices where a line of a `.cfg` fails."""
        if not self._closing:
            with suppress(Exception):
                self.lights.look()
            self._unloaded += make_safe(self.lights.steps(), "unloaded").readback
            self.lights.forget()


_hanging: list[threading.Thread] = []


def hanging() -> bool:
    """Whether a device hangs in its driver: the end of this process must not wait for it."""
    return any(thread.is_alive() for thread in _hanging)


class _Worker(threading.Thread, Generic[T]):
    """A thread that keeps what its work returned or raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        super().__init__(name="opening", daemon=True)
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the work."""
        try:
            self._result.append(self._work())
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        """Its result."""
        if self._error is not None:
            raise self._error
        return self._result[0]


@contextmanager
def open_core(
    config: MicroscopeConfig, *, base: Path = Path(), seed: int = 0, stop: Stop | None = None
) -> Iterator[OpenCore]:
    """Load a config's devices, dark; leaving the context makes them safe and lets go of them.

    Parameters
    ----------
    config
        The `microscope` section.
    base
        Folder that relative paths in it start from.
    seed
        Of a simulated sample that has none of its own.
    stop
        Whether it is to end.

    Raises
    ------
    BindingError
        Another session has them open, or a device cannot be loaded, or not made safe.
    Interrupted
        It is to end.
    """
    taken = occupy(config, base)
    try:
        held = OpenCore(config, stop or Never(), taken)
    except BaseException:
        taken.close()
        raise
    try:
        held.load(base, seed)
        yield held
    except BaseException as error:
        safe = held.close()
        if not safe.ok:
            error.add_note(f"THE MICROSCOPE MAY NOT BE SAFE: {safe.wrong}")
        raise
    held.close()
