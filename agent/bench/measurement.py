"""What a benchmark measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One target: `value` must be at most (`<=`) or at least (`>=`) `target`."""

    name: str
    value: float
    relation: Literal["<=", ">="]
    target: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether the target is met."""
        return self.value <= self.target if self.relation == "<=" else self.value >= self.target

    def as_dict(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "name": self.name,
            "value": self.value,
            "target": self.target,
            "relation": self.relation,
            "unit": self.unit,
            "holds": self.holds,
        }


@dataclass(frozen=True, slots=True)
class Measurement:
    """A table, its raw figures and its checks."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    checks: Sequence[Check]
    raw: dict[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = ()
