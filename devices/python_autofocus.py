"""Autofocus devices that are written in Python, which pymmcore-plus's unified core has not.

The core's calls are Micro-Manager's own; those of a C++ device go on to it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from pymmcore_plus import DeviceType, Keyword
from pymmcore_plus.experimental.unicore import Device, UniMMCore

if TYPE_CHECKING:
    from pymmcore import DeviceLabel


class AutofocusDevice(Device):
    """An autofocus device; what one cannot do, it need not override."""

    _TYPE = DeviceType.AutoFocus

    @abstractmethod
    def full_focus(self) -> None:
        """Look for the focus and go there; raises if there is none."""

    def incremental_focus(self) -> None:
        """Look for it near where it is, and go there."""
        self.full_focus()

    def set_continuous(self, enabled: bool) -> None:
        """Switch the continuous focus on or off."""
        if enabled:
            raise NotImplementedError("has no continuous focus")

    def get_continuous(self) -> bool:
        """Tell whether the continuous focus is switched on."""
        return False

    def is_locked(self) -> bool:
        """Tell whether it holds the focus."""
        return False

    def set_offset(self, offset: float) -> None:
        """Set the distance of the focus from what it looks for, in a unit of its own."""
        raise NotImplementedError("has no offset")

    def get_offset(self) -> float:
        """Tell that distance."""
        return 0.0


class AutofocusCore(UniMMCore):
    """A unified core whose autofocus device may be written in Python."""

    def _autofocus(self) -> AutofocusDevice | None:
        # Its lock is not taken: a device that hangs would stop all that waits for the system.
        label = self._pycore.current(Keyword.CoreAutoFocus)
        device: Any = None if label is None else self._pydevices[label]
        return device if isinstance(device, AutofocusDevice) else None

    def setAutoFocusDevice(self, focusLabel: str) -> None:  # noqa: N802, N803  # the core's names
        """Choose the autofocus device; no label, none."""
        if focusLabel in self._pydevices and self.getDeviceType(focusLabel) != DeviceType.AutoFocus:
            raise RuntimeError(f"device {focusLabel!r} is no autofocus device")
        label = self._set_current_if_pydevice(Keyword.CoreAutoFocus, focusLabel)
        if label:
            self._pycore.set_current(Keyword.CoreAutoFocus, None)
        super().setAutoFocusDevice(label)

    def getAutoFocusDevice(self) -> DeviceLabel | Any:  # noqa: N802
        """Label of the autofocus device; empty if there is none."""
        return self._pycore.current(Keyword.CoreAutoFocus) or super().getAutoFocusDevice()

    def fullFocus(self) -> None:  # noqa: N802
        """Look for the focus."""
        if (device := self._autofocus()) is None:
            super().fullFocus()
        else:
            device.full_focus()

    def incrementalFocus(self) -> None:  # noqa: N802
        """Look for it near where it is."""
        if (device := self._autofocus()) is None:
            super().incrementalFocus()
        else:
            device.incremental_focus()

    def enableContinuousFocus(self, enable: bool) -> None:  # noqa: N802
        """Switch the continuous focus on or off."""
        if (device := self._autofocus()) is None:
            super().enableContinuousFocus(enable)
        else:
            device.set_continuous(bool(enable))

    def isContinuousFocusEnabled(self) -> bool:  # noqa: N802
        """Tell whether it is switched on."""
        device = self._autofocus()
        return (
            super().isContinuousFocusEnabled() if device is None else bool(device.get_continuous())
        )

    def isContinuousFocusLocked(self) -> bool:  # noqa: N802
        """Tell whether it holds the focus."""
        device = self._autofocus()
        return super().isContinuousFocusLocked() if device is None else bool(device.is_locked())

    def setAutoFocusOffset(self, offset: float) -> None:  # noqa: N802
        """Set the offset of the autofocus device."""
        if (device := self._autofocus()) is None:
            super().setAutoFocusOffset(offset)
        else:
            device.set_offset(offset)

    def getAutoFocusOffset(self) -> float:  # noqa: N802
        """Offset of the autofocus device."""
        device = self._autofocus()
        return float(super().getAutoFocusOffset() if device is None else device.get_offset())
