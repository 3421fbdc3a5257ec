"""The autofocus device as it searches: within a time limit, in the dark, and never believed unseen.

While it looks for the focus every laser is at its safe value and the shutter is closed: one that
needs our light finds nothing. One that switches light on itself ends the run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from devices.autofocus import Autofocus, Focused
from devices.config import MicroscopeConfig
from devices.continuous_focus import BEYOND_S, ContinuousFocus, NoFocus
from devices.errors import GateClosed, Hangs, StaysLit
from devices.opening import OpenCore
from devices.safety import Step, make_safe
from devices.sending import Sender
from devices.shot import Field
from devices.values import same

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


def autofocus_devices(core: UniMMCore) -> list[str]:
    """Labels of all autofocus devices."""
    from pymmcore_plus import DeviceType

    return [str(label) for label in core.getLoadedDevicesOfType(DeviceType.AutoFocus)]


class FocusFinder:
    """Looks for the focus with the autofocus device of an open core.

    Parameters
    ----------
    opened, config
        The core, and its devices' config.
    sender
        What the stages were sent to.
    darken
        Sets all light to its safe value; raises `StaysLit` where it stays.
    lock
        The continuous focus of the same device.
    """

    def __init__(
        self,
        opened: OpenCore,
        config: MicroscopeConfig,
        sender: Sender,
        darken: Callable[[], None],
        lock: ContinuousFocus,
    ) -> None:
        self._open, self._core, self._gate = opened, opened.core, opened.gate
        self._config, self._sender, self._darken = config, sender, darken
        self._lock = lock

    def find(self, search: Autofocus) -> Focused:
        """Look for the focus; whatever the device does wrong is the answer, and no exception.

        Where nothing is found the lock is released, and the next shot is to say where to go.

        Raises
        ------
        GateClosed
            The microscope was made safe, or is to stop.
        StaysLit
            Light could not be switched off, or the device switched it on.
        """
        self._lock.timeout_s = search.timeout_s
        if not self._lock.device:
            return Focused(why="there is no autofocus device")
        over = threading.Event()
        try:
            return self._found_in_time(search, over)
        except (GateClosed, StaysLit):
            raise
        except Exception as error:
            over.set()
            if not isinstance(error, Hangs):
                self._refuse_light()
            self._lock.give_up(error)
            return Focused(why=str(error) or type(error).__name__)
        finally:
            self._sender.forget_focus()

    def _found_in_time(self, search: Autofocus, over: threading.Event) -> Focused:
        self._gate.check()
        self._darken()
        # With the lock on, a move along x and y is followed; one along z would release it.
        z_um = search.begins_um
        if search.using == "continuous" and self._lock.locked:
            z_um = None
        self._open.limited(self._config.timeout_s + BEYOND_S, lambda: self._go(search.field, z_um))
        found = self._open.limited(search.timeout_s + BEYOND_S, lambda: self._found(search, over))
        self._refuse_light()
        return found

    def _go(self, field: Field | None, z_um: float | None) -> None:
        """Move to where the search begins."""
        sender, core = self._sender, self._core
        if field is None:
            sender.move(None, None, z_um)
        else:
            sender.move(field.x_um, field.y_um, z_um, dict(field.stages))
        sender.wait()
        sender.verify_position()
        core.waitForDevice(core.getFocusDevice())

    def _found(self, search: Autofocus, over: threading.Event) -> Focused:
        before = self._lock.stands_um()
        end = time.monotonic() + search.timeout_s
        for left in range(search.tries - 1, -1, -1):
            try:
                if search.using == "continuous":
                    self._hold(search, over, end)
                else:
                    self._once(search)
                return Focused(self._believed(search, before), before)
            except GateClosed:
                raise
            except Exception:
                # A hanging call that comes back late begins nothing new.
                if left == 0 or over.is_set() or time.monotonic() > end:
                    raise
        raise NoFocus("no try is left")

    def _once(self, search: Autofocus) -> None:
        core, lock = self._core, self._lock
        if core.isContinuousFocusEnabled():
            lock.switch(on=False)
        lock.on = False
        self._set_offset(search)
        with self._gate.passing():
            if search.using == "full":
                core.fullFocus()
            else:
                core.incrementalFocus()
        core.waitForDevice(lock.device)
        core.waitForDevice(core.getFocusDevice())
        if lock.found_on:  # as pymmcore-plus: locked again where it was
            lock.switch(on=True)
            lock.on = True

    def _hold(self, search: Autofocus, over: threading.Event, end: float) -> None:
        if not self._core.isContinuousFocusEnabled():
            self._set_offset(search)
            self._lock.take()
        self._lock.await_lock(end, over.is_set)

    def _set_offset(self, search: Autofocus) -> None:
        offset, stage, core = search.offset, search.offset_device, self._core
        if offset is None:
            return
        with self._gate.passing():
            if stage is None:
                core.setAutoFocusOffset(offset)
            else:
                core.setPosition(stage, offset)
        core.waitForDevice(self._lock.device if stage is None else stage)

    def _believed(self, search: Autofocus, before: float) -> float:
        """Where the focus is; `NoFocus` where it cannot be."""
        z_um = self._lock.stands_um()
        begun = before if search.begins_um is None else search.begins_um
        if search.farthest_um is not None and abs(z_um - begun) > search.farthest_um:
            raise NoFocus(
                f"{z_um:g} µm is {abs(z_um - begun):.3g} µm from where the focus is expected, "
                f"{begun:.4g} µm; accepted: up to {search.farthest_um:g} µm"
            )
        return z_um

    def _refuse_light(self) -> None:
        """Whatever shines is switched off; nothing but the device can have switched it on."""
        lit = [step.name for step in self._open.lights.steps() if _differs(step)]
        if lit:
            state = make_safe(self._open.lights.steps(), "autofocus")
            stays = "" if state.ok else f", and {state.wrong}"
            raise StaysLit(
                f"autofocus device {self._lock.device!r} switched light on "
                f"({', '.join(lit)}){stays}; accepted: one with light of its own"
            )


def _differs(step: Step) -> bool:
    """Whether what is to be dark is not; one that does not answer counts as dark no more."""
    try:
        return not same(step.read(), step.expected)
    except Exception:
        return True
