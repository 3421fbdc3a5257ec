"""How many more frames the light budgets allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_ROUNDING = 1e-9
"""What sums of joules may differ by (J)."""


@dataclass(slots=True)
class LightBudget:
    """Counts what frames cost, as the dose gate does, but from the plan's own frames alone.

    Parameters
    ----------
    cost
        Light of a frame at some settings and of so many pixels (J), by laser.
    budget, per_field
        In J, by laser.
    fields
        How many fields share the budget.

    Examples
    --------
    >>> light = LightBudget(lambda settings, pixels: {"STED": 2.0}, {"STED": 10.0}, {})
    >>> light.spend({}, pixels=1024, where=0)
    >>> light.frames(0)
    4
    """

    cost: Callable[[Mapping[str, Any], int], Mapping[str, float]]
    budget: Mapping[str, float]
    per_field: Mapping[str, float]
    fields: int = 1
    _spent: dict[str, float] = field(default_factory=dict)
    _spent_on: dict[tuple[int, str], float] = field(default_factory=dict)
    _each: Mapping[str, float] = field(default_factory=dict)

    def spend(
        self,
        settings: Mapping[str, Any],
        pixels: int,
        where: int,
        measured: Mapping[str, float] | None = None,
    ) -> None:
        """Take in a frame that was taken of a field; its light was measured (J), or follows."""
        self._each = self.cost(settings, pixels) if measured is None else measured
        self.spend_on(where, self._each)

    def together(
        self, frames: Iterable[tuple[Mapping[str, Any], int, Mapping[str, float] | None]]
    ) -> None:
        """Have several frames of a field, taken before, count as one: a time point of it.

        Each is (settings, pixels, measured light).
        """
        each: dict[str, float] = {}
        for settings, pixels, measured in frames:
            light = self.cost(settings, pixels) if measured is None else measured
            for laser, joules in light.items():
                each[laser] = each.get(laser, 0.0) + joules
        self._each = each

    def spend_on(self, where: int, joules: Mapping[str, float]) -> None:
        """Take in light (J, by laser) that fell on a field."""
        for laser, energy in joules.items():
            self._spent[laser] = self._spent.get(laser, 0.0) + energy
            self._spent_on[where, laser] = self._spent_on.get((where, laser), 0.0) + energy

    def spend_elsewhere(self, joules: Mapping[str, float]) -> None:
        """Take in light (J, by laser) that fell on other fields."""
        for laser, energy in joules.items():
            self._spent[laser] = self._spent.get(laser, 0.0) + energy

    def allows(self, elsewhere: Mapping[str, float], each: Mapping[str, float], more: int) -> bool:
        """Whether there is light for something on another field, and for the time-lapse after it.

        Parameters
        ----------
        elsewhere
            Light on the other field (J), by laser.
        each
            Light of a frame from now on (J), by laser.
        more
            How many of those each field is to have.
        """
        for laser, budget in self.budget.items():
            then = more * self.fields * each.get(laser, 0.0) + elsewhere.get(laser, 0.0)
            if self._spent.get(laser, 0.0) + then > budget + _ROUNDING:
                return False
        for laser, budget in self.per_field.items():
            here = max((j for (_, of), j in self._spent_on.items() if of == laser), default=0.0)
            then = here + more * each.get(laser, 0.0)
            if max(then, elsewhere.get(laser, 0.0)) > budget + _ROUNDING:
                return False
        return True

    def frames(self, where: int) -> int | None:
        """How many more frames of a field there is light for; None without a budget."""
        left = []
        for laser, joules in self._each.items():
            if joules <= 0:
                continue
            if (budget := self.budget.get(laser)) is not None:
                left.append((budget - self._spent[laser]) / joules / self.fields)
            if (budget := self.per_field.get(laser)) is not None:
                left.append((budget - self._spent_on.get((where, laser), 0.0)) / joules)
        return math.floor(min(left) + _ROUNDING) if left else None
