"""What a benchmark measured."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
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


@dataclass(frozen=True, slots=True)
class Part:
    """Checks of one part of a benchmark, and the figures that they come from."""

    name: str
    checks: Sequence[Check]
    raw: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a part of a benchmark measured.

    Parameters
    ----------
    rows
        Of each case, its name and what was found, in words.
    checks, raw
        As of a `Measurement`.
    """

    rows: Sequence[tuple[str, str]]
    checks: Sequence[Check]
    raw: dict[str, Any]


@contextmanager
def kept_in(keep: Path | None) -> Iterator[Path]:
    """The folder `keep`, made if it is missing; without one, a folder that is gone afterwards."""
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as folder:
        yield Path(folder)
