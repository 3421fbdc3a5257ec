"""Whether what the config names is on this microscope."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from devices.config import MicroscopeConfig
from devices.errors import BindingError, one_of

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


_OPENS = re.compile("state|open|on[ _/]?off", re.IGNORECASE)
"""Names of the properties that open a shutter."""


def check_once(config: MicroscopeConfig) -> None:
    """Check that no property is set from two places: neither ranges nor doses would hold.

    Raises
    ------
    BindingError
        Two settings are bound to one property, or `properties` sets what a setting is bound to.
    """
    bound: dict[tuple[str, str], str] = {}
    for name, setting in config.settings.items():
        what = (setting.device, setting.property)
        if what in bound:
            raise BindingError(
                ("settings", name),
                f"{'.'.join(what)} is the setting {bound[what]!r} already; one setting a property",
            )
        bound[what] = name
    fixed = set()
    for i, entry in enumerate(config.properties):
        what = (entry.device, entry.property)
        if what in bound:
            raise BindingError(
                ("properties", i),
                f"{'.'.join(what)} is the setting {bound[what]!r}, which alone sets it; "
                f"see `settings.{bound[what]}.start`",
            )
        if what in fixed:
            raise BindingError(("properties", i), f"{'.'.join(what)} is set twice")
        fixed.add(what)


def check_fixed(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Check that every one of the config's `properties` can be set, and opens no shutter.

    Raises
    ------
    BindingError
        A device or property is not there or is read-only, or it is a shutter's state.
    """
    from pymmcore_plus import DeviceType

    for i, entry in enumerate(config.properties):
        at = ("properties", i)
        device, prop = entry.device, entry.property
        check_property(core, at, device, prop)
        if core.isPropertyReadOnly(device, prop):
            raise BindingError(at, f"{device}.{prop} is read-only")
        if core.getDeviceType(device) == DeviceType.Shutter and _OPENS.search(prop):
            raise BindingError(
                at, f"{device}.{prop}: a shutter is opened for each frame, and by nobody else"
            )


def check_bindings(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Check that every setting of the config can be sent to the device it is bound to.

    Raises
    ------
    BindingError
        A device or property is not there, is read-only, or takes less than the config allows.
    """
    for name, setting in config.settings.items():
        at = ("settings", name)
        check_property(core, at, setting.device, setting.property)
        device, prop = setting.device, setting.property
        if core.isPropertyReadOnly(device, prop):
            raise BindingError((*at, "property"), f"{device}.{prop} is read-only")
        if setting.range is not None and core.hasPropertyLimits(device, prop):
            low = core.getPropertyLowerLimit(device, prop)
            high = core.getPropertyUpperLimit(device, prop)
            if setting.range[0] < low or setting.range[1] > high:
                raise BindingError(
                    (*at, "range"),
                    f"{list(setting.range)} is more than {device}.{prop} takes: {low:g} … {high:g}",
                )
        allowed = core.getAllowedPropertyValues(device, prop)
        if setting.choices is not None and allowed:
            for choice in setting.choices:
                if str(choice) not in allowed:
                    raise BindingError(
                        (*at, "choices"),
                        f"{choice!r} is not what {device}.{prop} takes: {', '.join(allowed)}",
                    )
    if (clock := config.clock) is not None:
        check_property(core, ("clock",), clock.device, clock.property)


def check_property(core: UniMMCore, at: tuple[str | int, ...], device: str, prop: str) -> None:
    """Check that a device has a property; `at` is where the config names it."""
    devices = list(core.getLoadedDevices())
    if device not in devices:
        raise BindingError((*at, "device"), one_of(device, devices))
    names = list(core.getDevicePropertyNames(device))
    if prop not in names:
        raise BindingError((*at, "property"), f"on {device}: {one_of(prop, names)}")
