"""Units of length and time, as files write them.

Each is known here by its name in OME-Zarr (`micrometer`); OME-XML has symbols (`µm`), ImageJ
anything that a person typed (`um`, `micron`, `μm` with the Greek letter).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from devices.recorded.errors import ImageError

LENGTHS = {
    "picometer": 1e-3,
    "angstrom": 0.1,
    "nanometer": 1.0,
    "micrometer": 1e3,
    "millimeter": 1e6,
    "centimeter": 1e7,
    "inch": 2.54e7,
    "meter": 1e9,
}
"""Nanometres in each."""
TIMES = {
    "nanosecond": 1e-9,
    "microsecond": 1e-6,
    "millisecond": 1e-3,
    "second": 1.0,
    "minute": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}
"""Seconds in each."""
SYMBOLS = {
    "picometer": "pm",
    "angstrom": "Å",
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "centimeter": "cm",
    "inch": "in",
    "meter": "m",
    "nanosecond": "ns",
    "microsecond": "µs",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
    "day": "d",
}
"""In OME-XML."""
# Beside symbols, names, British names and their plurals.
_ALIASES = {
    "um": "micrometer",
    "micron": "micrometer",
    "a": "angstrom",
    "ångström": "angstrom",
    "ångstrom": "angstrom",
    '"': "inch",
    "inches": "inch",
    "us": "microsecond",
    "usec": "microsecond",
    "msec": "millisecond",
    "sec": "second",
    "hr": "hour",
}
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_NOTHING = ("", "pixel", "pixels", "px", "frame", "frames", "reference frame", "none", "null")
"""Units of an image that was not calibrated."""


class Quantity(NamedTuple):
    """A length or a time, with the name of its unit (a key of `LENGTHS` or `TIMES`)."""

    value: float
    unit: str

    @property
    def nm(self) -> float:
        """Nanometres."""
        return self.value * LENGTHS[self.unit]

    @property
    def seconds(self) -> float:
        """Seconds."""
        return self.value * TIMES[self.unit]


def unit_named(text: str, accepted: Mapping[str, float], what: str) -> str | None:
    """The name of a unit; None for a text that says that there is none.

    Parameters
    ----------
    text
        As the file has it.
    accepted
        `LENGTHS` or `TIMES`.
    what
        What the unit is of, for the message: `pixel size`.

    Raises
    ------
    ImageError
        It is not known.
    """
    # ImageJ escapes letters that are not ASCII; Unicode has two letters µ, and two Å.
    plain = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)
    plain = plain.replace("μ", "µ").replace("\u212b", "Å").strip()
    if plain.lower() in _NOTHING:
        return None
    for name in accepted:
        if plain == SYMBOLS[name]:
            return name
    word = plain.lower().replace("metre", "meter")
    for known in (word, word.removesuffix("s")):
        name = _ALIASES.get(known, known)
        if name in accepted:
            return name
    symbols = ", ".join(SYMBOLS[name] for name in accepted)
    raise ImageError(f"{what}: found the unit {text!r}; accepted: {symbols}")


def quantity(value: Any, unit: str, accepted: Mapping[str, float], what: str) -> Quantity | None:
    """A size or a time that a file states; None where its unit says that it was not measured.

    Raises
    ------
    ImageError
        The value is no positive number, or the unit is not known.
    """
    named = unit_named(unit, accepted, what)
    if named is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise ImageError(f"{what}: found {str(value)[:40]!r}; accepted: numbers above 0")
    return Quantity(number, named)
