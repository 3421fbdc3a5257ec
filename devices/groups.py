"""Whether the config groups that settings are bound to can be used by a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from devices import presets
from devices.config import MicroscopeConfig
from devices.errors import BindingError
from devices.light_like import is_dark, is_light_like, opens_shutter
from devices.presets import CORE, SHUTTER, Part
from devices.refusals import refused
from devices.setting import SettingConfig
from devices.values import limits_of, number, spelled

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_OF_CORE = (SHUTTER, "ChannelGroup")
"""What a preset may set of Micro-Manager itself."""


def check_group(core: UniMMCore, config: MicroscopeConfig, name: str) -> None:
    """Check that the presets of a setting can be sent, and that their light is known.

    Raises
    ------
    BindingError
        There is no such group or preset; one sets what is not there, what another key of the
        config is for, or light that the config does not speak of.
    """
    setting, at = config.settings[name], ("settings", name)
    assert setting.group is not None
    groups = [str(group) for group in core.getAvailableConfigGroups()]
    if setting.group not in groups:
        raise BindingError((*at, "group"), refused(setting.group, groups))
    there = [str(preset) for preset in core.getAvailableConfigs(setting.group)]
    if not there:
        raise BindingError((*at, "group"), f"{setting.group!r} has no presets")
    found: dict[str, tuple[Part, ...]] = {}
    for choice in setting.presets():
        key = "choices" if choice in (setting.choices or ()) else "safe"
        if str(choice) not in there:
            raise BindingError((*at, key), refused(choice, there))
        found[str(choice)] = presets.parts(core, setting.group, choice)
        if not found[str(choice)]:
            raise BindingError((*at, key), f"preset {choice!r} sets nothing")
    for preset, parts in found.items():
        for part in parts:
            if why := _refusal(core, config, part):
                raise BindingError((*at, "choices"), f"preset {preset!r}: {part.where}: {why}")
    roles = {(p.device, p.prop) for parts in found.values() for p in parts if _core(p)}
    _check_every(at, found, roles)
    light = light_of(core, found)
    if light and setting.safe is None:
        raise BindingError(at, _what_to_write(setting, light))
    _check_every(at, found, light)


def light_of(core: UniMMCore, presets: Mapping[str, Iterable[Part]]) -> set[tuple[str, str]]:
    """Properties in presets that look like light: device and property."""
    return {
        (part.device, part.prop)
        for parts in presets.values()
        for part in parts
        if not _core(part)
        and core.hasProperty(part.device, part.prop)
        and is_light_like(core, part.device, part.prop)
    }


def shutter_of(core: UniMMCore, setting: SettingConfig, choice: object) -> str | None:
    """The shutter that a preset chooses; None where it chooses none, or there is no such preset."""
    if setting.group is None or not presets.defined(core, setting.group, choice):
        return None
    parts = presets.parts(core, setting.group, choice)
    return next((part.value for part in parts if (part.device, part.prop) == (CORE, SHUTTER)), None)


def _core(part: Part) -> bool:
    return part.device == CORE


def _refusal(core: UniMMCore, config: MicroscopeConfig, part: Part) -> str | None:
    """Why a run may not set a property to what a preset says; None if it may."""
    device, prop = part.device, part.prop
    if device == CORE:
        return _refusal_of_role(core, config, part)
    devices = [str(label) for label in core.getLoadedDevices()]
    if device not in devices:
        return f"there is no device {device!r}"
    if not core.hasProperty(device, prop):
        return f"{device!r} has no such property"
    if core.isPropertyReadOnly(device, prop):
        return "is read-only"
    if core.isPropertyPreInit(device, prop):
        return "can only be set before the device is initialized"
    if opens_shutter(core, device, prop) and not is_dark(part.value):
        return "a shutter is opened for each frame, and only then; accepted: without it"
    if _is_exposure(core, device, prop):
        return "is how long light is on, which `exposure` says; accepted: without it"
    allowed = core.getAllowedPropertyValues(device, prop)
    if allowed and spelled(part.value, allowed) is None:
        return refused(part.value, allowed)
    value = number(part.value)
    limits = limits_of(core, device, prop)
    if value is not None and limits is not None and not limits[0] <= value <= limits[1]:
        return refused(part.value, f"{limits[0]:g} … {limits[1]:g}")
    return None


def _refusal_of_role(core: UniMMCore, config: MicroscopeConfig, part: Part) -> str | None:
    from pymmcore_plus import DeviceType

    if part.prop not in _OF_CORE:
        return "is Micro-Manager's own, and one for a whole run; accepted: without it"
    if part.prop != SHUTTER:
        return None
    shutters = [str(label) for label in core.getLoadedDevicesOfType(DeviceType.Shutter)]
    if part.value not in shutters:
        return refused(part.value, shutters)
    if config.shutter is not None and config.shutter != part.value:
        return (
            f"{part.value!r} is opened for frames, and by `shutter` it is {config.shutter!r}; "
            "accepted: presets that choose it, or that key, not both"
        )
    return None


def _is_exposure(core: UniMMCore, device: str, prop: str) -> bool:
    from pymmcore_plus import DeviceType, Keyword

    return prop == Keyword.Exposure and core.getDeviceType(device) == DeviceType.Camera


def _check_every(
    at: tuple[str | int, ...],
    found: Mapping[str, Iterable[Part]],
    properties: Iterable[tuple[str, str]],
) -> None:
    """Check that every preset sets these properties: else it is open what they are in some.

    Raises
    ------
    BindingError
        One does not.
    """
    for what in sorted(properties):
        for preset, parts in found.items():
            if all((part.device, part.prop) != what for part in parts):
                raise BindingError(
                    (*at, "choices"),
                    f"preset {preset!r} leaves {'.'.join(what)} as another preset set it; "
                    "accepted: presets that all set it",
                )


def _what_to_write(setting: SettingConfig, light: Iterable[tuple[str, str]]) -> str:
    names = ", ".join(sorted(map(".".join, light)))
    watts = ", ".join(f"{choice}: …" for choice in setting.choices or ())
    return (
        f"the presets of {setting.group!r} set {names}, which looks like light; accepted: with "
        "`safe: PRESET`, one without light, and for its dose `laser: NAME` and "
        f"`watts: {{{watts}}}` (W on the sample), or {{LASER: W}} at each of these"
    )
