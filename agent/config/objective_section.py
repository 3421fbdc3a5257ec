"""What the section of an objective of one's own answers: how its values become a score."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from agent.config.plan_section import Whole
from devices.config import Model
from devices.refusals import refused


@dataclass(frozen=True, slots=True)
class Objective:
    """How an objective is shown.

    Parameters
    ----------
    name
        Of its function or entry point, and of its section.
    unit
        Of its values; may be empty.
    worst, best
        Values that are scored 0 and 1; 0 and 1 where that is not known any more.
    """

    name: str
    unit: str = ""
    worst: float = 0.0
    best: float = 1.0

    @classmethod
    def kept(cls, name: str, data: object) -> Objective:
        """From what a run's config has of it; anything else leaves the name alone."""
        try:
            found = cls(**{**data, "name": name}) if isinstance(data, dict) else cls(name)
            check_scale(name, (found.worst, found.best))
        except (TypeError, ValueError):
            return cls(name)
        return found if isinstance(found.unit, str) else cls(name)

    def as_dict(self) -> dict[str, Any]:
        """For a run's config, pages and scripts."""
        return asdict(self)


class ObjectiveSection(Model):
    """Base of the sections of objectives.

    An objective takes the place of the quality network in a search: what it gives is what the
    search looks for most of. Its values become scores from 0 to 1.
    """

    def check(self, whole: Whole) -> None:
        """Check that the section fits the rest of its config.

        Raises
        ------
        ValueError
            It does not. The message starts with the key that it is about, in backticks.
        """

    def scale(self) -> tuple[float, float]:
        """The worst value and the best, which are scored 0 and 1; what is beyond scores no more.

        Where less is better, the worst is the larger one.
        """
        return (0.0, 1.0)

    def unit(self) -> str:
        """Of its values."""
        return ""

    def reads_score(self) -> bool:
        """Whether it uses the score of the quality network, which then must be computed."""
        return False


def check_scale(name: str, scale: tuple[float, float]) -> None:
    """Check the ends of an objective's scale; `ValueError` where nothing lies between them."""
    worst, best = scale
    if not (math.isfinite(worst) and math.isfinite(best)) or worst == best:
        accepted = "two different finite numbers, the worst and the best value"
        raise ValueError(f"`optimize.{name}`: scale: {refused(scale, accepted)}")
