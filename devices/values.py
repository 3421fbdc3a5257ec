"""Values as devices take them, and as they give them back.

Micro-Manager passes numbers as text. Its own way of writing one is `3.300000`, which a list of
allowed values refuses, and which makes 0 of numbers smaller than a millionth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from devices.setting import Value

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_ROUNDING = 1e-6
"""Relative difference that rounding may make: drivers keep numbers in 32 bits."""
_NOTHING = 1e-9
"""What is no more than 0, in any unit: a nanowatt of a laser in W."""


def same(one: object, other: object) -> bool:
    """Whether two values are one number, but for rounding, or else one text."""
    a, b = number(one), number(other)
    if a is None or b is None:
        return str(one) == str(other)
    return math.isclose(a, b, rel_tol=_ROUNDING, abs_tol=_NOTHING)


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


def limits_of(core: UniMMCore, device: str, prop: str) -> tuple[float, float] | None:
    """Lowest and highest value of a property, or place of a wheel; None where none is known."""
    from pymmcore_plus import DeviceType, Keyword

    if core.hasPropertyLimits(device, prop):
        return core.getPropertyLowerLimit(device, prop), core.getPropertyUpperLimit(device, prop)
    if prop == Keyword.State and core.getDeviceType(device) == DeviceType.State:
        return 0, core.getNumberOfStates(device) - 1
    return None


def send(core: UniMMCore, device: str, prop: str, value: Value) -> None:
    """Set a property, in its own spelling and kind.

    Raises
    ------
    Exception
        Any error of the device.
    """
    core.setProperty(device, prop, taken_as(core, device, prop, value))


def taken_as(core: UniMMCore, device: str, prop: str, value: Value) -> Value:
    """A value as a property takes it: in its own spelling and kind.

    Raises
    ------
    Exception
        Any error of the device.
    """
    text = spelled(value, core.getAllowedPropertyValues(device, prop))
    if not core.isPyDevice(device):
        return str(value) if text is None else text
    kind = str(core.getPropertyType(device, prop).name)
    as_number = number(value)
    if kind == "Integer" and as_number is not None:
        return round(as_number)
    if kind == "Float" and as_number is not None:
        return as_number
    return value if text is None else text
