"""Values as devices take them, and as they give them back.

Micro-Manager passes numbers as text. Its own way of writing one is `3.300000`, which a list of
allowed values refuses, and which makes 0 of numbers smaller than a millionth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from devices.config import SettingConfig, Value

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_ROUNDING = 1e-12
"""Relative difference that comes of a device's own unit."""


def same(one: object, other: object) -> bool:
    """Whether two values are one number, but for rounding, or else one text."""
    a, b = number(one), number(other)
    if a is None or b is None:
        return str(one) == str(other)
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def number(value: object) -> float | None:
    """The number that a value or a text is; None where it is none."""
    try:
        return float(value) if isinstance(value, int | float) else float(str(value))
    except ValueError:
        return None


def spelled(value: Value, allowed: Sequence[str]) -> str | None:
    """A property's own spelling of a value, from its allowed ones; None where it is not allowed."""
    if str(value) in allowed:
        return str(value)
    return next((text for text in allowed if same(text, value)), None)


def send(core: UniMMCore, device: str, prop: str, value: Value) -> None:
    """Set a property, in its own spelling and kind.

    Raises
    ------
    Exception
        Any error of the device.
    """
    text = spelled(value, core.getAllowedPropertyValues(device, prop))
    if not core.isPyDevice(device):
        core.setProperty(device, prop, str(value) if text is None else text)
        return
    kind = str(core.getPropertyType(device, prop).name)
    as_number = number(value)
    if kind == "Integer" and as_number is not None:
        value = round(as_number)
    elif kind == "Float" and as_number is not None:
        value = as_number
    elif text is not None:
        value = text
    core.setProperty(device, prop, value)


def read_back(core: UniMMCore, setting: SettingConfig, asked: Value) -> tuple[Value, str | None]:
    """What the device has of a setting that was set to `asked`, as the config writes it.

    Returns
    -------
    tuple[Value, str | None]
        The value, and how it differs from the requested one; None where it does not.
    """
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
