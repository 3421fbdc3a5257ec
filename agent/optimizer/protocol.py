"""What `plan: optimize` needs of an engine: ask and tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.optimizer.outcome import Outcome, Settings
from devices.config import Value


class Optimizer(Protocol):
    """An engine; settings are plain Python values."""

    def ask(self) -> Settings:
        """Settings to try next."""
        ...

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """What a trial gave; a doubtful outcome says as little as a failed trial."""
        ...

    def tell_failed(self, settings: Mapping[str, Value]) -> None:
        """A trial gave nothing."""
        ...

    def restrict(self, search: Mapping[str, Sequence[Value]]) -> None:
        """Suggest and recommend only within these ranges or choices; others are free again."""
        ...

    def prefer(self, weights: Mapping[str, float]) -> None:
        """Recommend by a weighted sum of `quality` and −`bleaching`."""
        ...

    def pick(self, settings: Mapping[str, Value]) -> None:
        """Recommend settings with the same trade-off as these."""
        ...

    def recommend(self) -> Settings:
        """The settings believed to be best within the limits.

        Raises
        ------
        ValueError
            No trial gave anything.
        """
        ...

    def front(self) -> list[Settings]:
        """Settings that are believed to be Pareto-optimal, from the gentlest on."""
        ...

    def expected_gain(self) -> float | None:
        """What the best next trial is expected to add to the recommended settings' merit.

        None where the engine cannot tell.
        """
        ...
