"""Imspector's values by their path: two ways to reach them, one for each age of its interface."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from devices.imspector.calls import Calls

READ_ONLY = 1 | 4
"""Bits of a mode that say that a value cannot be set now: `ReadOnly`, `Locked` of specpy."""
_LIMITS = (("min", "max"), ("minimum", "maximum"), ("lower", "upper"))
"""Names that limits may have among a value's traits: they are documented nowhere."""

_SAME = 1e-4
"""Relative difference below which a value is the one that was set: Imspector rounds to what its
hardware can do, and keeps some as 32 bits."""
_ROUNDED = 0.01
"""The same of a number that reads so after it was set twice: a power is rounded to what the table
of its calibration has."""


class Values(Protocol):
    """The values of the measurement that is driven."""

    way: str
    """How they are reached, for a person."""
    of_active: bool
    """They are those of the measurement that is active in Imspector, whichever that is."""

    def get(self, path: str) -> Any:
        """What a path has: a number, a text, a list, or a mapping of all that is below it.

        Raises
        ------
        RuntimeError
            There is no such path, or no connection.
        """

    def set(self, path: str, value: Any) -> None:
        """Ask for a value; whether it was taken is to be read."""

    def limits(self, path: str) -> tuple[float, float] | None:
        """Least and greatest value; None where Imspector does not say."""

    def settable(self, path: str) -> bool:
        """Whether a person could change it now."""

    def forget(self) -> None:
        """Look everything up again: the connection is another one."""


class ValueTree:
    """`value_at`, from specpy 2026 on: each value is an object that has limits and a mode.

    Parameters
    ----------
    application
        Gives the one that is connected.
    calls
        Makes the calls.
    """

    way, of_active = "value_at", True

    def __init__(self, application: Callable[[], Any], calls: Calls) -> None:
        self._application, self._calls = application, calls
        self._known: dict[str, Any] = {}

    def _value(self, path: str) -> Any:
        if path not in self._known:
            self._known[path] = self._application().value_at(path)
        return self._known[path]

    def get(self, path: str) -> Any:
        """See `Values`."""
        return plain(self._calls(f"get {path}", lambda: self._value(path).get()))

    def set(self, path: str, value: Any) -> None:
        """See `Values`."""
        self._calls(f"set {path}", lambda: self._value(path).set(value))

    def limits(self, path: str) -> tuple[float, float] | None:
        """From its traits."""
        return limits_in(self._calls(f"limits of {path}", lambda: self._value(path).traits()))

    def settable(self, path: str) -> bool:
        """From its mode."""
        mode = self._calls(f"mode of {path}", lambda: self._value(path).mode())
        return not int(mode) & READ_ONLY

    def forget(self) -> None:
        """Values belong to a connection."""
        self._known.clear()


class Parameters:
    """`parameters` and `set_parameters` of a measurement: specpy 1.2, and until today.

    Parameters
    ----------
    measurement
        Gives the one that is driven.
    calls
        Makes the calls.
    """

    way, of_active = "parameters", False

    def __init__(self, measurement: Callable[[], Any], calls: Calls) -> None:
        self._measurement, self._calls = measurement, calls

    def get(self, path: str) -> Any:
        """See `Values`."""
        return plain(self._calls(f"get {path}", lambda: self._measurement().parameters(path)))

    def set(self, path: str, value: Any) -> None:
        """See `Values`."""
        self._calls(f"set {path}", lambda: self._measurement().set_parameters(path, value))

    def limits(self, path: str) -> tuple[float, float] | None:
        """None is known."""
        return None

    def settable(self, path: str) -> bool:
        """Nothing says that it could not."""
        return True

    def forget(self) -> None:
        """Nothing is kept."""


def plain(found: Any) -> Any:
    """A value in Python's own types, whichever a version of specpy gives.

    Examples
    --------
    >>> plain({"res": np.int64(3), "steps": (np.True_, 0)}), plain(np.arange(2.0))
    ({'res': 3, 'steps': [True, 0]}, [0.0, 1.0])
    >>> plain({"0": {"name": "Ch1"}, "1": {"name": "Ch2"}})
    [{'name': 'Ch1'}, {'name': 'Ch2'}]
    """
    if isinstance(found, np.generic | np.ndarray):
        return found.tolist()
    if isinstance(found, Mapping):
        if found and [str(key) for key in found] == [str(one) for one in range(len(found))]:
            return [plain(one) for one in found.values()]  # a list, as some versions give it
        return {str(key): plain(one) for key, one in found.items()}
    if isinstance(found, list | tuple):
        return [plain(one) for one in found]
    return found


def number_of(path: str, found: Any) -> float:
    """A value that is a number.

    Raises
    ------
    RuntimeError
        It is none.

    Examples
    --------
    >>> number_of("ExpControl/scan/dwelltime", 1e-5)
    1e-05
    """
    if isinstance(found, int | float) and math.isfinite(found):
        return float(found)
    raise RuntimeError(f"{path} is {found!r}; accepted: a number")


def limits_in(traits: Any) -> tuple[float, float] | None:
    """Limits among the traits of a value.

    Examples
    --------
    >>> limits_in({"min": 0, "max": 100.0}), limits_in({"unit": "%"})
    ((0.0, 100.0), None)
    """
    if not isinstance(traits, Mapping):
        return None
    for low, high in _LIMITS:
        try:
            found = float(traits[low]), float(traits[high])
        except (KeyError, TypeError, ValueError):
            continue
        if all(map(math.isfinite, found)) and found[0] < found[1]:
            return found
    return None


def rounded(found: Any, wanted: Any) -> bool:
    """Whether a number that was read is the one that was set, rounded.

    Examples
    --------
    >>> rounded(29.994, 30.0), rounded(29.0, 30.0), rounded(0.01, 0.0)
    (True, False, False)
    """
    numbers = isinstance(wanted, float) and isinstance(found, float)
    return numbers and math.isclose(found, wanted, rel_tol=_ROUNDED)


def same(found: Any, wanted: Any) -> bool:
    """Whether a value that was read is the one that was set.

    Examples
    --------
    >>> same(9.9999997e-06, 1e-5), same(True, 1), same("xy", "xz")
    (True, True, False)
    """
    if isinstance(wanted, list) and isinstance(found, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, bool) or isinstance(found, bool):
        return bool(found) == bool(wanted)
    if isinstance(wanted, int | float) and isinstance(found, int | float):
        return math.isclose(found, wanted, rel_tol=_SAME, abs_tol=1e-15)
    return bool(found == wanted)
