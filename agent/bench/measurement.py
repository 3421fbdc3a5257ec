"""What a benchmark measured."""

from __future__ import annotations

import tempfile
from collections import Counter
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
class Absent:
    """A check that could not be made here, and why not: a GPU, data or a library is missing."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """A table, its raw figures, its checks, and those that could not be made."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    checks: Sequence[Check]
    raw: dict[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = ()
    left_out: Sequence[Absent] = ()

    def summary(self) -> str:
        """How many checks hold, and how many were left out for want of what.

        Examples
        --------
        >>> absent = [Absent("a", "no GPU"), Absent("b", "no GPU")]
        >>> Measurement((), (), [Check("c", 1.0, "<=", 2.0)], left_out=absent).summary()
        '1 of 1 checks hold; left out: 2 checks (no GPU: 2)'
        """
        hold = sum(check.holds for check in self.checks)
        told = f"{hold} of {len(self.checks)} checks hold"
        if not self.left_out:
            return told
        reasons = Counter(absent.why for absent in self.left_out)
        why = ", ".join(f"{reason}: {count}" for reason, count in reasons.items())
        return f"{told}; left out: {len(self.left_out)} checks ({why})"


@dataclass(frozen=True, slots=True)
class BenchPart:
    """Checks of one part of a benchmark, and the figures that they come from."""

    name: str
    checks: Sequence[Check]
    raw: dict[str, Any]
    left_out: Sequence[Absent] = ()


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
