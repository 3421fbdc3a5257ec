"""Results of checks, their bounds, and how much time is left."""

from __future__ import annotations

import operator
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

_HOLDS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}


@dataclass(frozen=True, slots=True)
class BoundedFigure:
    """A figure and its bound.

    Parameters
    ----------
    name
        Of what.
    value
        The result.
    relation
        How it must stand to the bound.
    bound
        Limit of the result.
    unit
        Of both.

    Examples
    --------
    >>> BoundedFigure("error", value=0.02, relation="<=", bound=0.01).holds
    False
    """

    name: str
    value: float
    relation: Literal["<=", ">=", "=="]
    bound: float
    unit: str = ""

    @property
    def holds(self) -> bool:
        """Whether it does; NaN never does."""
        return bool(_HOLDS[self.relation](self.value, self.bound))

    def as_dict(self) -> dict[str, Any]:
        """For the JSON."""
        return {**asdict(self), "holds": self.holds}


@dataclass(slots=True)
class Section:
    """Checks of one kind.

    Parameters
    ----------
    name
        Their subject.
    checks
        With a bound.
    figures
        Without one.
    left_out
        Checks that there was no time for.
    seconds
        Time that they took.
    """

    name: str
    checks: list[BoundedFigure] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether all do, and none was left out."""
        return not self.left_out and all(check.holds for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """For the JSON."""
        return {**asdict(self), "checks": [c.as_dict() for c in self.checks], "holds": self.holds}


class TimeLeft:
    """How much of the time is left.

    Parameters
    ----------
    seconds
        In all.

    Examples
    --------
    >>> watch, section = TimeLeft(seconds=0), Section("scores")
    >>> watch.allows(section, "large frames"), section.left_out
    (False, ['large frames'])
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()

    def allows(self, section: Section, what: str) -> bool:
        """Whether there is time for something; what there is none for is noted."""
        if self.left > 0:
            return True
        section.left_out.append(what)
        return False
