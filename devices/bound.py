"""What a setting is bound to, a device property or a config group: set, asked, made safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from devices import presets
from devices.setting import SettingConfig, Value
from devices.values import number, same, send

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_ROUNDING = 1e-12
"""Relative difference that comes of a device's own unit."""


def put(
    core: UniMMCore,
    setting: SettingConfig,
    value: Value,
    one: Callable[[str, Callable[[], object]], object] | None = None,
) -> None:
    """Set a setting.

    Parameters
    ----------
    core, setting, value
        Which, and to what.
    one
        Called with each single device call, in words and to be made; makes it if absent.

    Raises
    ------
    Exception
        Any error of a device.
    """
    make = one or (lambda _, call: call())
    if setting.group is None:
        device, prop = setting.device, setting.property
        make(f"{device}.{prop} = {value}", lambda: send(core, device, prop, value))
        return
    presets.apply(
        core,
        setting.group,
        value,
        lambda part: make(f"{part.where} = {part.value}", lambda: part.put(core)),
    )


def make_dark(core: UniMMCore, setting: SettingConfig) -> None:
    """Set a setting to its safe value.

    Raises
    ------
    Exception
        Any error of a device.
    """
    assert setting.safe is not None
    if setting.group is None:
        send(core, setting.device, setting.property, setting.safe)
    else:
        presets.darken(core, presets.parts(core, setting.group, setting.safe))


def reads(core: UniMMCore, setting: SettingConfig) -> object:
    """What the device says of a setting that was made safe: its value, or how it differs.

    Raises
    ------
    Exception
        Any error of a device.
    """
    if setting.group is None:
        return core.getProperty(setting.device, setting.property)
    why = presets.lacking(core, presets.parts(core, setting.group, setting.safe), setting.safe)
    return setting.safe if why is None else why


def devices_of(core: UniMMCore, setting: SettingConfig) -> frozenset[str]:
    """Devices that setting it may change."""
    if setting.group is None:
        return frozenset([setting.device])
    return presets.devices_of(core, setting.group, setting.presets())


def read_back(core: UniMMCore, setting: SettingConfig, asked: Value) -> tuple[Value, str | None]:
    """What the device has of a setting that was set to `asked`, as the config writes it.

    Returns
    -------
    tuple[Value, str | None]
        The value, and how it differs from the requested one; None where it does not.
    """
    if setting.group is not None:
        why = presets.lacking(core, presets.parts(core, setting.group, asked), asked)
        if why is None:
            return asked, None
        return presets.current(core, setting.group), f"is not {asked!r} as it was set to: {why}"
    answer = core.getProperty(setting.device, setting.property)
    has: Value
    if setting.kind == "choice":
        choices = setting.choices or ()
        has = next((choice for choice in choices if same(choice, answer)), str(answer))
        return has, setting.strays(asked, has)
    found = number(answer)
    if found is None:
        return str(answer), setting.strays(asked, str(answer))
    if abs(found - float(asked)) <= _ROUNDING * abs(found):
        return asked, None
    has = round(found) if setting.kind == "integer" and found == round(found) else found
    if setting.kind == "real" and abs(found - float(asked)) <= _last_digit(answer):
        return has, None  # the text has no room for more
    return has, setting.strays(asked, has)


def _last_digit(answer: object) -> float:
    """Size of the last decimal that a text writes; 0 of a number, and where it writes none."""
    if not isinstance(answer, str):
        return 0.0
    digits, _, exponent = answer.lower().partition("e")
    _, _, decimals = digits.partition(".")
    return 10.0 ** ((int(exponent) if exponent else 0) - len(decimals)) if decimals else 0.0
