"""The lock of a continuous focus: who took it, whether it holds, and how it is released.

Moves of the focus drive release it, as in Micro-Manager, unless the drive takes positions while it
is locked. What the run took is released at every end; what was there before is left, or put back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TypeVar

from devices.autofocus import Held
from devices.config import MicroscopeConfig
from devices.errors import GateClosed, Hangs, StaysLit
from devices.opening import OpenCore
from devices.safety import Step
from devices.sending import Sender

_T = TypeVar("_T")

BEYOND_S = 0.5
"""How much longer than its time limit a device is waited for before it hangs (s)."""
_POLL_S = 0.01
"""Time between two questions whether the lock holds (s)."""


class NoFocus(Exception):
    """The device found none, or nothing that can be believed."""


class ContinuousFocus:
    """The continuous focus of an open core.

    Parameters
    ----------
    opened, config
        The core, and its devices' config.
    sender
        What the stages were sent to.
    darken
        Sets all light to its safe value; raises `StaysLit` where it stays.

    Attributes
    ----------
    device
        Label of the autofocus device; empty where there is none.
    timeout_s
        How long the device may take (s).
    on, found_on
        Whether it is switched on, as far as we know, and whether it was before us.
    held
        What became of the lock while the last shot was set up; None where it needed none.
    """

    def __init__(
        self,
        opened: OpenCore,
        config: MicroscopeConfig,
        sender: Sender,
        darken: Callable[[], None],
    ) -> None:
        self._open, self._core, self._gate = opened, opened.core, opened.gate
        self._config, self._sender, self._darken = config, sender, darken
        self.device = ""
        self.timeout_s = 10.0
        self.on = self.found_on = self._taken = False
        self.held: Held | None = None
        opened.releasing = self._releasing
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
        self.on = self.found_on = bool(self._core.isContinuousFocusEnabled())

    @property
    def state(self) -> str:
        """What the device says of it, in words."""
        if not self._core.isContinuousFocusEnabled():
            return "continuous focus off"
        locked = "locked" if self._core.isContinuousFocusLocked() else "not locked"
        return f"continuous focus on, {locked}"

    @property
    def locked(self) -> bool:
        """Whether it holds the focus, by its own word."""
        core = self._core
        return self.on and bool(
            self._limited(
                lambda: core.isContinuousFocusEnabled() and core.isContinuousFocusLocked()
            )
        )

    # ------------------------------------------------------------------ taking it, within a limit

    def take(self) -> None:
        """Switch it on; `await_lock` waits for the lock."""
        self._taken = self.on = True
        self.switch(on=True)

    def switch(self, *, on: bool) -> None:
        """Switch it on or off."""
        with self._gate.passing():
            self._core.enableContinuousFocus(on)

    def await_lock(self, end: float, over: Callable[[], bool] = lambda: False) -> None:
        """Wait until it is locked, or until `end` (monotonic s), or until it is `over`.

        Raises
        ------
        NoFocus
            It is not, or says so of a lock that it does not have.
        GateClosed
            The microscope was made safe, or is to stop.
        """
        core = self._core
        while not core.isContinuousFocusLocked():
            if over() or time.monotonic() > end:
                raise NoFocus("the continuous focus does not lock")
            self._gate.check()
            time.sleep(_POLL_S)
        if not core.isContinuousFocusEnabled():
            raise NoFocus("the continuous focus says that it is locked, and that it is off")

    def stands_um(self) -> float:
        """Where the focus drive is (µm).

        Raises
        ------
        NoFocus
            Nowhere, or beyond its limits.
        """
        z_um = float(self._core.getPosition(self._core.getFocusDevice()))
        if not math.isfinite(z_um):
            raise NoFocus(f"the focus drive says that it is at {z_um}")
        if why := self._config.stage_limits.refusal(None, None, z_um):
            raise NoFocus(why)
        return z_um

    # ------------------------------------------------------------------ for a shot

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
            self.held = Held(self._limited(lambda: self._kept(z_um)))
            return None
        except (GateClosed, StaysLit):
            raise
        except Exception as error:
            self.give_up(error)
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
            self.take()
        self.await_lock(time.monotonic() + self.timeout_s)
        return self.stands_um()

    def seen(self) -> Held | None:
        """What became of the focus while the last frame was taken; None where it was not held."""
        if (stray := self._sender.strayed()) is not None:
            z_um, why = stray
            return Held(z_um if math.isfinite(z_um) else None, why)
        return self.held

    # ------------------------------------------------------------------ letting go

    def release(self) -> None:
        """Let the focus drive go, before it is sent somewhere."""
        core = self._core
        if not self.on or core.isContinuousFocusDrive(core.getFocusDevice()):
            return
        self.on = False
        try:
            self._limited(self._switch_off)
        except Hangs:
            self._lost()  # whether the drive goes where it is sent is asked next

    def _switch_off(self) -> None:
        if self._core.isContinuousFocusEnabled():
            self.switch(on=False)

    def give_up(self, error: Exception) -> None:
        """Switch a lock off that is none, so that it takes the focus nowhere.

        Raises
        ------
        GateClosed
            The microscope was made safe, or is to stop.
        """
        if isinstance(error, Hangs):
            self._lost()
        if not self.on:
            return
        self.on = False
        try:
            self._limited(lambda: self.switch(on=False))
        except GateClosed:
            raise
        except Hangs:
            self._lost()
        except Exception:
            return  # the next shot asks the drive whether it is where it was sent

    def _lost(self) -> None:
        """The device hangs: nothing waits for it any more."""
        self._sender.doubt(self.device)
        self.on = self._taken = False

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
        if not self.found_on:
            return None
        try:
            self._limited(lambda: self.switch(on=True))
        except GateClosed:
            raise
        except Exception as error:
            return f"autofocus device {self.device!r}: {error}"
        return None

    def _releasing(self) -> list[Step]:
        """How to switch a lock off that we took; one that was on before stays on."""
        core = self._core
        if not self._taken or self.found_on or self._open.hangs:
            return []
        return [
            Step(
                "continuous focus",
                lambda: core.enableContinuousFocus(False),
                core.isContinuousFocusEnabled,
                False,
            )
        ]

    def _limited(self, work: Callable[[], _T]) -> _T:
        return self._open.limited(self.timeout_s + BEYOND_S, work)
