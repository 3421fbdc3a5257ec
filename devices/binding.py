"""Whether what the config names is on this microscope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from devices.cameras import within
from devices.config import MicroscopeConfig, SettingConfig
from devices.errors import BindingError
from devices.groups import check_group
from devices.light_like import opens_shutter
from devices.owners import check_owners
from devices.refusals import refused
from devices.safety import LightGate
from devices.values import limits_of, number, send, spelled

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


_TAKEN, _TAKEN_TEXT = 0.01, 1e-4
"""Relative and absolute difference that a device's own steps and text may make."""


def check_fixed(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Check that every one of the config's `properties` can be set, and opens no shutter.

    Raises
    ------
    BindingError
        A device or property is not there or is read-only, or it is a shutter's state.
    """
    for i, entry in enumerate(config.properties):
        at = ("properties", i)
        device, prop = entry.device, entry.property
        check_property(core, at, device, prop)
        if core.isPropertyReadOnly(device, prop):
            raise BindingError(at, f"{device}.{prop} is read-only")
        if opens_shutter(core, device, prop):
            raise BindingError(
                at, f"{device}.{prop}: a shutter is opened for each frame, and only then"
            )
        if entry.safe is not None:
            try:
                _check_values(core, at, config.constant[f"{device}.{prop}"])
            except BindingError as error:
                raise BindingError(at, str(error)) from None


def set_fixed(core: UniMMCore, config: MicroscopeConfig, gate: LightGate) -> None:
    """Set the config's `properties`; those that are made safe are set for frames alone.

    Raises
    ------
    BindingError
        A device does not take one.
    """
    for i, entry in enumerate(config.properties):
        if entry.safe is not None:
            continue
        with gate.passing():
            try:
                send(core, entry.device, entry.property, entry.value)
            except Exception as error:
                what = f"{entry.device}.{entry.property}"
                raise BindingError(("properties", i), f"{what}: {error}") from error


def check_taken(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Check that every one of the config's `properties` reads back as it was set.

    Raises
    ------
    BindingError
        One does not: the device takes something else instead.
    """
    for i, entry in enumerate(config.properties):
        if entry.safe is not None:
            continue  # it has been made safe
        device, prop = entry.device, entry.property
        asked, has = number(entry.value), number(core.getProperty(device, prop))
        # Texts may be spelled in other ways, and some properties are commands.
        if asked is None or has is None or core.getAllowedPropertyValues(device, prop):
            continue
        if not math.isclose(asked, has, rel_tol=_TAKEN, abs_tol=_TAKEN_TEXT):
            raise BindingError(
                ("properties", i),
                f"{device}.{prop} is {has:g} after it was set to {asked:g}",
            )


def with_whole_numbers(core: UniMMCore, config: MicroscopeConfig) -> MicroscopeConfig:
    """The config with `kind: integer` for real settings whose property takes whole numbers.

    A setting that asks for a fraction itself, as its start or in a mode, stays as it is and is
    refused by `check_bindings`.
    """
    settings = dict(config.settings)
    for name, setting in config.settings.items():
        if setting.kind != "real" or setting.range is None:
            continue
        if setting.device not in core.getLoadedDevices():
            continue
        if setting.property not in core.getDevicePropertyNames(setting.device):
            continue
        pinned = [mode[name] for mode in config.modes.values() if name in mode]
        safe = [] if setting.safe is None else [setting.safe]
        values = [*setting.range, setting.start, *safe, *pinned]
        if (
            core.getPropertyType(setting.device, setting.property).name == "Integer"
            and not core.getAllowedPropertyValues(setting.device, setting.property)
            and all(float(value).is_integer() for value in values)
        ):
            settings[name] = setting.model_copy(update={"kind": "integer"})
    return config.model_copy(update={"settings": settings})


def check_bindings(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Check that every setting of the config can be sent to the device it is bound to.

    Raises
    ------
    BindingError
        A device, property or preset is not there, cannot be set, takes less than the config
        allows, or is set from two places.
    """
    at: tuple[str | int, ...]
    for name, setting in config.settings.items():
        at = ("settings", name)
        if setting.group is not None:
            check_group(core, config, name)
            continue
        _check_settable(core, at, setting)
        _check_values(core, at, setting)
    if (dog := config.watchdog) is not None:
        at, setting = ("watchdog",), dog.as_setting()
        _check_settable(core, at, setting)
        if opens_shutter(core, dog.device, dog.property):
            raise BindingError(at, f"{dog.where()} opens a shutter, which only frames do")
        try:
            _check_values(core, at, setting)
        except BindingError as error:
            raise BindingError((*at, "values"), str(error)) from None
    _check_exposure(core, config)
    if (clock := config.clock) is not None:
        check_property(core, ("clock",), clock.device, clock.property)
    check_owners(core, config)


def _check_settable(core: UniMMCore, at: tuple[str | int, ...], setting: SettingConfig) -> None:
    """Check that there is such a property, and that it can be set while the device works."""
    device, prop = setting.device, setting.property
    check_property(core, at, device, prop)
    if device == "Core":
        raise BindingError(
            (*at, "device"), "'Core' is Micro-Manager itself; accepted: one of its devices"
        )
    if core.isPropertyReadOnly(device, prop):
        raise BindingError((*at, "property"), f"{device}.{prop} is read-only")
    if core.isPropertyPreInit(device, prop):
        raise BindingError(
            (*at, "property"), f"{device}.{prop} can only be set before the device is initialized"
        )


def _check_values(core: UniMMCore, at: tuple[str | int, ...], setting: SettingConfig) -> None:
    """Check that a property takes every value that its setting allows."""
    device, prop = setting.device, setting.property
    what = f"{device}.{prop}"
    limits = limits_of(core, device, prop)
    allowed = core.getAllowedPropertyValues(device, prop)
    if setting.range is not None:
        low, high = setting.range
        if setting.kind == "real" and core.getPropertyType(device, prop).name == "Integer":
            accepted = "`kind: choice`" if allowed else "`kind: integer`"
            raise BindingError((*at, "kind"), f"{what} takes whole numbers; accepted: {accepted}")
        if limits is not None and not limits[0] <= low <= high <= limits[1]:
            raise BindingError(
                (*at, "range"),
                f"{list(setting.range)} is more than {what} takes: {limits[0]:g} … {limits[1]:g}",
            )
        if allowed and not _all_allowed(setting, allowed):
            raise BindingError(
                (*at, "range"),
                f"{what} takes {', '.join(allowed)} and nothing between; accepted: "
                "`kind: choice` with `choices` of these",
            )
    for choice in setting.choices or ():
        as_number = number(choice)
        if allowed and spelled(choice, allowed) is None:
            raise BindingError(
                (*at, "choices"), f"{choice!r} is not what {what} takes: {', '.join(allowed)}"
            )
        if limits is not None and as_number is None:
            raise BindingError((*at, "choices"), f"{choice!r} is no number, as {what} takes it")
        if limits is not None and not limits[0] <= (as_number or 0.0) <= limits[1]:
            raise BindingError(
                (*at, "choices"),
                f"{choice!r} is not what {what} takes: {limits[0]:g} … {limits[1]:g}",
            )


def _all_allowed(setting: SettingConfig, allowed: Sequence[str]) -> bool:
    """Whether a list of allowed values has all of a range: only whole numbers can be listed."""
    assert setting.range is not None
    low, high = setting.range
    if setting.kind == "real" or high - low >= len(allowed):
        return False
    return all(spelled(value, allowed) is not None for value in range(int(low), int(high) + 1))


def _check_exposure(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Check that the camera's exposure time is set from one place, which the dose follows."""
    from pymmcore_plus import DeviceType, Keyword

    def is_exposure(device: str, prop: str) -> bool:
        return prop == Keyword.Exposure and core.getDeviceType(device) == DeviceType.Camera

    name = config.exposure.camera
    if name is not None:
        setting, cameras = config.settings[name], within(core)
        if setting.address() not in [(camera, Keyword.Exposure) for camera in cameras]:
            # Of cameras within another one, all expose as long as any.
            accepted = " or ".join(f"{camera}.{Keyword.Exposure}" for camera in cameras)
            raise BindingError(
                ("exposure", "camera"),
                f"{name!r} is {setting.where()}; accepted: a setting that is {accepted}",
            )
    for other, setting in config.settings.items():
        if other != name and is_exposure(setting.device, setting.property):
            raise BindingError(
                ("settings", other),
                f"{setting.device}.{setting.property} is how long light is on; accepted: "
                f"`exposure: {{camera: {other}}}`, which counts it",
            )
    for i, entry in enumerate(config.properties):
        device, prop = entry.device, entry.property
        if device in core.getLoadedDevices() and is_exposure(device, prop):
            raise BindingError(
                ("properties", i), f"{device}.{prop} is set by `exposure`, which counts it"
            )


def check_property(core: UniMMCore, at: tuple[str | int, ...], device: str, prop: str) -> None:
    """Check that a device has a property; `at` is where the config names it."""
    devices = list(core.getLoadedDevices())
    if device not in devices:
        raise BindingError((*at, "device"), refused(device, devices))
    names = list(core.getDevicePropertyNames(device))
    if prop not in names:
        raise BindingError((*at, "property"), f"on {device}: {refused(prop, names)}")
