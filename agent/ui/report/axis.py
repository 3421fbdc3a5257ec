"""An axis of a chart: its range, its ticks and their words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent.record.text import number
from devices.config import Value

_FARTHEST = 1e150
"""Values farther away, and those that are no number, are not drawn."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Puts values on a line from 0 to 1.

    Attributes
    ----------
    label
        Quantity, with its unit.
    ticks
        Values and their labels.
    choices
        What a choice may be; then values are choices instead of numbers.
    """

    label: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False
    choices: tuple[Value, ...] = ()

    @classmethod
    def linear(
        cls, label: str, values: Iterable[float], *, whole: bool = False, room: float = 0.0
    ) -> Axis:
        """Cover all values, ending at ticks; `room` widens a range that stays exact otherwise."""
        known = [value for value in values if abs(value) < _FARTHEST] or [0.0, 1.0]
        low, high = min(known), max(known)
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            more = 0.5 * max(1.0, abs(high) * 1e-9)
            low, high = low - more, high + more
        low, high = low - room * (high - low), high + room * (high - low)
        return cls(label, low, high, _linear_ticks(low, high, whole=whole))

    @classmethod
    def logarithmic(cls, label: str, values: Iterable[float]) -> Axis:
        """Cover all values, which are above 0."""
        known = [value for value in values if 1 / _FARTHEST < value < _FARTHEST] or [1.0]
        low, high = min(known), max(known)
        if low == high:
            low, high = low / 2, high * 2
        pad = (high / low) ** 0.03
        return cls(label, low / pad, high * pad, _log_ticks(low / pad, high * pad), log=True)

    @classmethod
    def of(cls, label: str, choices: Sequence[Value]) -> Axis:
        """Give each choice its place."""
        ticks = tuple((float(i), str(choice)[:12]) for i, choice in enumerate(choices))
        return cls(label, -0.5, len(choices) - 0.5, ticks, choices=tuple(choices))

    def at(self, value: Value) -> float:
        """Where a value lies."""
        return self.place(float(self.choices.index(value)) if self.choices else float(value))

    def place(self, value: float) -> float:
        """Where a number lies."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low)


def _linear_ticks(low: float, high: float, *, whole: bool) -> tuple[tuple[float, str], ...]:
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= rough * 0.999)
    if whole:
        step = max(1.0, float(round(step)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple((i * step, number(i * step, 4)) for i in range(first, last + 1))


def _log_ticks(low: float, high: float) -> tuple[tuple[float, str], ...]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        ticks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(ticks) <= 7:
            break
    return tuple((tick, number(tick)) for tick in ticks)
