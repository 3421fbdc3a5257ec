"""The autofocus device at work: within a time limit, in the dark, and never believed unseen.

While it looks for the focus every laser is at its safe value and the shutter is closed: one that
needs our light finds nothing. One that switches light on itself ends the run.

A continuous focus keeps a lock. Moves of the focus drive release it, as in Micro-Manager, unless
the drive takes positions while it is locked.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from devices.autofocus import Autofocus, Focused, Held
from devices.config import MicroscopeConfig
from devices.errors import GateClosed, Hangs, StaysLit
from devices.opening import OpenCore
from devices.safety import Step, make_safe
from devices.sending import Sender
from devices.shot import Field
from devices.values import same

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_BEYOND_S = 0.5
"""How much longer than its time limit a search is waited for before its device hangs (s)."""
_POLL_S = 0.01
"""Time between two questions whether the lock holds (s)."""


def autofocus_devices(core: UniMMCore) -> list[str]:
    """Labels of all autofocus devices."""
    from pymmcore_plus import DeviceType

    return [str(label) for label in core.getLoadedDevicesOfType(DeviceType.AutoFocus)]


class NoFocus(Exception):
    """The device found none, or nothing that can be believed."""


class FocusFinder:
    """The autofocus device of an open core.

    Parameters
    ----------
    held, config
        The core, and its devices' config.
    sender
        What the stages were sent to.
    darken
        Sets all light to its safe value; raises `StaysLit` where it stays.

    Attributes
    ----------
    device
        Label of the device; empty where there is none.
    held
        What became of the lock while the last shot was set up; None where it needed none.
    """

    def __init__(
        self,
        held: OpenCore,
        config: MicroscopeConfig,
        sender: Sender,
        darken: Callable[[], None],
    ) -> None:
        self._open, self._core, self._gate = held, held.core, held.gate
        self._config, self._sender, self._darken = config, sender, darken
        self.device = ""
        self.held: Held | None = None
        self._on = self._found_on = self._taken = False
        self._timeout_s = 10.0
        held.releasing = self._releasing
        sender.before_focus = self.release

    def use(self, label: str) -> None:
        """Work with a device from now on.

        Raises
        ------
        Exception
            Whatever it raises when it is asked for its state.
        """
        self._core.setAutoFocusDevice(label)
        self.device = label
        if label:
            self._on = self._found_on = bool(self._core.isContinuousFocusEnabled())

    @property
    def state(self) -> str:
        """What the device says of itself, in words."""
        if not self._core.isContinuousFocusEnabled():
            return "continuous focus off"
        locked = "locked" if self._core.isContinuousFocusLocked() else "not locked"
        return f"continuous focus on, {locked}"

    # ------------------------------------------------------------------ searches

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
        self._timeout_s = search.timeout_s
        if not self.device:
            return Focused(why="there is no autofocus device")
        over = threading.Event()
        limit_s = search.timeout_s + _BEYOND_S
        try:
            self._dark()
            # With the lock on, a move along x and y is followed; one along z would release it.
            z_um = search.begins_um
            if search.using == "continuous" and self._locked():
                z_um = None
            self._open.limited(
                self._config.timeout_s + _BEYOND_S, lambda: self._go(search.field, z_um)
            )
            found = self._open.limited(limit_s, lambda: self._found(search, over))
            self._refuse_light()
            return found
        except (GateClosed, StaysLit):
            raise
        except Exception as error:
            over.set()
            if isinstance(error, Hangs):
                self._lost()
            why = str(error) or type(error).__name__
            self._give_up()
            return Focused(why=why)
        finally:
            self._sender.forget_focus()

    def _dark(self) -> None:
        self._gate.check()
        self._darken()

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
        before = self._stands()
        end = time.monotonic() + search.timeout_s
        for left in range(search.tries - 1, -1, -1):
            try:
                if search.using == "continuous":
                    self._lock(search, over, end)
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
        core = self._core
        if core.isContinuousFocusEnabled():
            self._pass(lambda: core.enableContinuousFocus(False))
        self._on = False
        self._set_offset(search)
        self._pass(core.fullFocus if search.using == "full" else core.incrementalFocus)
        core.waitForDevice(self.device)
        core.waitForDevice(core.getFocusDevice())
        if self._found_on:  # as pymmcore-plus: locked again where it was
            self._pass(lambda: core.enableContinuousFocus(True))
            self._on = True

    def _lock(self, search: Autofocus, over: threading.Event, end: float) -> None:
        core = self._core
        if not core.isContinuousFocusEnabled():
            self._set_offset(search)
            self._taken = self._on = True
            self._pass(lambda: core.enableContinuousFocus(True))
        self._await_lock(end, over.is_set)

    def _await_lock(self, end: float, over: Callable[[], bool] = lambda: False) -> None:
        core = self._core
        while not core.isContinuousFocusLocked():
            if over() or time.monotonic() > end:
                raise NoFocus("the continuous focus does not lock")
            self._gate.check()
            time.sleep(_POLL_S)
        if not core.isContinuousFocusEnabled():
            raise NoFocus("the continuous focus says that it is locked, and that it is off")

    def _set_offset(self, search: Autofocus) -> None:
        offset, stage, core = search.offset, search.offset_device, self._core
        if offset is None:
            return
        if stage is not None:
            self._pass(lambda: core.setPosition(stage, offset))
            core.waitForDevice(stage)
        else:
            self._pass(lambda: core.setAutoFocusOffset(offset))
            core.waitForDevice(self.device)

    def _believed(self, search: Autofocus, before: float) -> float:
        """Where the focus is; `NoFocus` where it cannot be."""
        z_um = self._stands()
        begun = before if search.begins_um is None else search.begins_um
        if search.farthest_um is not None and abs(z_um - begun) > search.farthest_um:
            raise NoFocus(
                f"{z_um:g} µm is {abs(z_um - begun):.3g} µm from where the focus is expected, "
                f"{begun:.4g} µm; accepted: up to {search.farthest_um:g} µm"
            )
        return z_um

    def _stands(self) -> float:
        """Where the focus drive is (µm), within its limits."""
        z_um = float(self._core.getPosition(self._core.getFocusDevice()))
        if not math.isfinite(z_um):
            raise NoFocus(f"the focus drive says that it is at {z_um}")
        if why := self._config.stage_limits.refusal(None, None, z_um):
            raise NoFocus(why)
        return z_um

    def _refuse_light(self) -> None:
        """Whatever shines is switched off; nothing but the device can have switched it on."""
        lit = [step.name for step in self._open.lights.steps() if _differs(step)]
        if lit:
            state = make_safe(self._open.lights.steps(), "autofocus")
            stays = "" if state.ok else f", and {state.wrong}"
            raise StaysLit(
                f"autofocus device {self.device!r} switched light on ({', '.join(lit)}){stays}; "
                "accepted: one with light of its own"
            )

    # ------------------------------------------------------------------ the lock

    def keep(self, z_um: float | None) -> float | None:
        """Have the lock hold for the next shot.

        Parameters
        ----------
        z_um
            Where the focus was found last (µm).

        Returns
        -------
        float | None
            Where the focus drive is to be sent; None: nowhere, since the lock holds.

        Raises
        ------
        GateClosed
            The microscope was made safe, or is to stop.
        StaysLit
            Light could not be switched off.
        """
        try:
            if not self.device:
                raise NoFocus("there is no autofocus device")
            self.held = Held(
                self._open.limited(self._timeout_s + _BEYOND_S, lambda: self._kept(z_um))
            )
            return None
        except (GateClosed, StaysLit):
            raise
        except Exception as error:
            if isinstance(error, Hangs):
                self._lost()
            self._give_up()
            self.held = Held(z_um, str(error) or type(error).__name__)
            return z_um
        finally:
            self._sender.forget_focus()

    def _kept(self, z_um: float | None) -> float:
        core = self._core
        if not core.isContinuousFocusEnabled():
            # It was released: for a pause, for a stack, or by an earlier session.
            self._darken()
            self._sender.move(None, None, z_um)
            core.waitForDevice(core.getFocusDevice())
            self._taken = self._on = True
            self._pass(lambda: core.enableContinuousFocus(True))
        self._await_lock(time.monotonic() + self._timeout_s)
        return self._stands()

    def seen(self) -> Held | None:
        """What became of the focus while the last frame was taken; None where nobody held it."""
        if (stray := self._sender.strayed()) is not None:
            z_um, why = stray
            return Held(z_um if math.isfinite(z_um) else None, why)
        return self.held

    def release(self) -> None:
        """Let the focus drive go, before it is sent somewhere."""
        core = self._core
        if not self._on or core.isContinuousFocusDrive(core.getFocusDevice()):
            return
        self._on = False

        def off() -> None:
            if core.isContinuousFocusEnabled():
                self._pass(lambda: core.enableContinuousFocus(False))

        try:
            self._open.limited(self._timeout_s + _BEYOND_S, off)
        except Hangs:
            self._lost()  # whether the drive goes where it is sent is asked next

    def _lost(self) -> None:
        """The device hangs: nothing waits for it any more."""
        self._sender.doubt(self.device)
        self._on = self._taken = False

    def put_back(self) -> str | None:
        """At the end of a run that is complete, lock again what was locked when it began.

        Returns
        -------
        str | None
            Why it could not be; None where it was, or nothing was locked.

        Raises
        ------
        GateClosed
            The microscope was made safe, or is to stop.
        """
        if not self._found_on:
            return None
        core = self._core
        try:
            self._open.limited(
                self._timeout_s + _BEYOND_S,
                lambda: self._pass(lambda: core.enableContinuousFocus(True)),
            )
        except GateClosed:
            raise
        except Exception as error:
            return f"autofocus device {self.device!r}: {error}"
        return None

    def _locked(self) -> bool:
        core = self._core
        return self._on and bool(
            self._open.limited(
                self._timeout_s + _BEYOND_S,
                lambda: core.isContinuousFocusEnabled() and core.isContinuousFocusLocked(),
            )
        )

    def _give_up(self) -> None:
        """Switch a lock off that is none, so that it takes the focus nowhere."""
        core = self._core
        if self._on and not self._open.hangs:
            self._on = False
            try:
                self._open.limited(
                    self._timeout_s + _BEYOND_S,
                    lambda: self._pass(lambda: core.enableContinuousFocus(False)),
                )
            except GateClosed:
                raise
            except Hangs:
                self._lost()
            except Exception:
                return  # the next shot asks the drive whether it is where it was sent

    def _releasing(self) -> list[Step]:
        """How to switch a lock off that we took; whoever had one before keeps it."""
        core = self._core
        if not self._taken or self._found_on or self._open.hangs:
            return []
        return [
            Step(
                "continuous focus",
                lambda: core.enableContinuousFocus(False),
                core.isContinuousFocusEnabled,
                False,
            )
        ]

    def _pass(self, call: Callable[[], object]) -> None:
        with self._gate.passing():
            call()


def _differs(step: Step) -> bool:
    """Whether what is to be dark is not; one that does not answer counts as dark no more."""
    try:
        return not same(step.read(), step.expected)
    except Exception:
        return True
