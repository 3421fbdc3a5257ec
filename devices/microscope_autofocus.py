"""The autofocus device of a microscope: which one it is, and its searches as events."""

from __future__ import annotations

from collections.abc import Callable

from useq import HardwareAutofocus, MDAEvent

from devices.autofocus import Autofocus, Focused
from devices.config import MicroscopeConfig
from devices.continuous_focus import ContinuousFocus
from devices.errors import BindingError
from devices.focus_finder import FocusFinder, autofocus_devices
from devices.opening import OpenCore
from devices.refusals import refused
from devices.sample_clock import SampleClock
from devices.sending import SEARCH, Sender


class MicroscopeAutofocus:
    """What looks for the focus, and what holds it.

    Parameters
    ----------
    opened, config
        The core, and its devices' config.
    sender
        What the stages were sent to.
    darken
        Sets all light to its safe value; raises `StaysLit` where it stays.
    clock
        That of the sample.

    Attributes
    ----------
    state
        Label of the device, and what it says of itself; empty where none was chosen.
    lock
        Its continuous focus.
    """

    def __init__(
        self,
        opened: OpenCore,
        config: MicroscopeConfig,
        sender: Sender,
        darken: Callable[[], None],
        clock: SampleClock,
    ) -> None:
        self._open, self._core, self._config = opened, opened.core, config
        self._clock = clock
        self.state = ""
        self.lock = ContinuousFocus(opened, config, sender, darken)
        self._finder = FocusFinder(opened, config, sender, darken, self.lock)

    def choose(self, label: str | None = None) -> None:
        """Choose the device, and ask it how it is.

        Parameters
        ----------
        label
            None: the `.cfg`'s own, or the only one.

        Raises
        ------
        BindingError
            There is none, it is open which one, or it does not answer.
        """
        core, lock = self._core, self.lock
        there = autofocus_devices(core)
        if label is None:
            own = str(core.getAutoFocusDevice())
            label = own or (there[0] if len(there) == 1 else None)
        if label not in there:
            raise BindingError((), refused(label, there))
        if not core.getFocusDevice():
            raise BindingError((), "has no focus drive that it could move")

        def ask() -> str:
            lock.use(label)
            return lock.state

        try:
            self.state = f"{label}, {self._open.limited(self._config.timeout_s, ask)}"
        except Exception as error:
            raise BindingError((), f"{label!r} does not answer: {error}") from error

    def check_offset(self, label: str, to: float | None) -> None:
        """Check that a stage of one axis, the offset of an autofocus device, may go somewhere.

        Raises
        ------
        BindingError
            There is none of that label, or it is beyond its limits.
        """
        from pymmcore_plus import DeviceType

        there = [str(one) for one in self._core.getLoadedDevicesOfType(DeviceType.Stage)]
        others = [one for one in there if one != self._core.getFocusDevice()]
        if label not in others:
            raise BindingError(("offset_device",), refused(label, others))
        stages = {} if to is None else {label: to}
        if why := self._config.stage_limits.refusal(None, None, None, stages):
            raise BindingError(("device_offset",), why)

    def event(
        self, search: Autofocus, found: Callable[[Focused], None], elapsed_s: float = 0.0
    ) -> MDAEvent:
        """The useq event of a search for the focus, in the dark.

        Parameters
        ----------
        search
            What to do.
        found
            Called by the engine with what came of it.
        elapsed_s
            As of `Microscope.event`.
        """
        wait, properties = self._clock.due(search.at_s, elapsed_s)
        action = HardwareAutofocus(
            autofocus_device_name=search.offset_device,
            autofocus_motor_offset=search.offset,
            max_retries=search.tries,
        )
        where = search.field
        return MDAEvent(
            pos_name=(where.name if where else "") or None,
            x_pos=where.x_um if where else None,
            y_pos=where.y_um if where else None,
            z_pos=search.begins_um,
            min_start_time=wait,
            properties=properties,
            action=action,
            metadata={SEARCH: lambda: found(self._finder.find(search))},
        )
