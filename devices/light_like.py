"""By which names light is recognised, where no config says what it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_LIGHT_LIKE = re.compile(
    r"power|intensit|emission|emit|enable|laser|lamp|led\b|brightness|illuminat|volt|current"
    r"|level|set ?point|on ?/? ?off",
    re.IGNORECASE,
)
_NAMED = re.compile(r"laser|shutter|lamp|led\b|aotf|aom|light", re.IGNORECASE)
"""Names of the wheels and switches that are light sources, or keep light off."""
_OPENS = re.compile("(state|open|on[ _/]?off)(?! ?device)", re.IGNORECASE)
"""Names of the properties that open a shutter; `State Device` says which device is one."""
_DARK = {"", "off", "closed", "close", "no", "false", "disable", "disabled", "standby", "dark"}


def is_light_like(core: UniMMCore, device: str, prop: str) -> bool:
    """Whether a property that can be set looks like light, on a device that may have some."""
    from pymmcore_plus import DeviceType

    dark = {
        DeviceType.Core,
        DeviceType.Camera,
        DeviceType.XYStage,
        DeviceType.Stage,
        DeviceType.Serial,
        DeviceType.AutoFocus,
        DeviceType.ImageProcessor,
    }
    return (
        core.getDeviceType(device) not in dark
        and _LIGHT_LIKE.search(prop.replace("_", " ")) is not None
        and not core.isPropertyReadOnly(device, prop)
        and not core.isPropertyPreInit(device, prop)
    )


def is_light_switch(core: UniMMCore, device: str, prop: str) -> bool:
    """Whether a property is the place of a wheel or switch that is called as light is."""
    from pymmcore_plus import DeviceType, Keyword

    return (
        prop == Keyword.State
        and core.getDeviceType(device) == DeviceType.State
        and _NAMED.search(device.replace("_", " ")) is not None
    )


def opens_shutter(core: UniMMCore, device: str, prop: str) -> bool:
    """Whether a property is the state of a shutter."""
    from pymmcore_plus import DeviceType

    return core.getDeviceType(device) == DeviceType.Shutter and _OPENS.search(prop) is not None


def is_dark(value: object) -> bool:
    """Whether a value of something that looks like light, or of a shutter, is none."""
    text = str(value).strip().lower()
    try:
        return float(text) == 0
    except ValueError:
        return text in _DARK
