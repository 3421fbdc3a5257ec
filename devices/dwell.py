"""Pixel dwell times as devices have them: a time, a rate, or a text that is one of these."""

from __future__ import annotations

import re

from devices.setting import SettingConfig, Value

SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "us": 1e-6, "ns": 1e-9}
"""Units of a time."""
HERTZ = {"Hz": 1.0, "kHz": 1e3, "MHz": 1e6}
"""Units of a rate, of which the dwell time is the inverse."""
_TEXT = re.compile(
    r"\s*([-+]?[\d.]+(?:e[-+]?\d+)?)\s*([^\W\d_]*)\s*(?:/\s*(?:px|pixel)s?)?\s*", re.I
)
_MICRO = str.maketrans("μ", "µ")  # the Greek letter, and the sign that looks like it


def dwell_s(value: Value, unit: str) -> float:
    """The dwell time (s) at a value of a setting with this unit.

    Parameters
    ----------
    value
        A number, or a text that is a number, with a unit of its own or without.
    unit
        Of values that have none.

    Raises
    ------
    ValueError
        It is no time and no rate, or not above 0.

    Examples
    --------
    >>> dwell_s("50000.0000", "Hz"), dwell_s("1.25 MHz", "")
    (2e-05, 8e-07)
    """
    number, unit = _parts(value, unit)
    if unit in SECONDS:
        return number * SECONDS[unit]
    if number == 0:
        raise ValueError(f"{value!r}: a rate must be above 0")
    return 1.0 / (number * HERTZ[unit])


def is_rate(setting: SettingConfig) -> bool:
    """Whether some value of a dwell time is a rate, so that more of it is less light."""
    values = setting.choices or setting.range or ()
    return any(_parts(value, setting.unit)[1] in HERTZ for value in values)


def refusal(setting: SettingConfig) -> tuple[str, str] | None:
    """Why a setting can be no dwell time, behind the key of it that says so; None if it can."""
    known = setting.unit.lower() in {unit.lower() for unit in (*SECONDS, *HERTZ)}
    key = "choices" if setting.choices else "range" if known else "unit"
    for value in setting.choices or setting.range or ():
        try:
            dwell_s(value, setting.unit)
        except ValueError as error:
            return key, str(error)
    return None


def _parts(value: Value, unit: str) -> tuple[float, str]:
    number, own = str(value), ""
    if isinstance(value, str) and (text := _TEXT.fullmatch(value.translate(_MICRO))):
        number, own = text[1], text[2]
    unit = own or unit
    units = {known.lower(): known for known in (*SECONDS, *HERTZ)}
    try:
        found = float(number)
    except ValueError:
        raise ValueError(f"{value!r} is not a number with a unit") from None
    known = unit if unit in (*SECONDS, *HERTZ) else units.get(unit.lower(), "")
    if not known or found < 0:
        raise ValueError(
            f"{f'{value} {unit}'.strip()!r} is neither a time ({', '.join(SECONDS)}) nor a rate "
            f"({', '.join(HERTZ)})"
        )
    return found, known
