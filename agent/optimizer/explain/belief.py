"""What can be asked of an engine about its belief."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from agent.optimizer.knowledge import Prediction
from agent.optimizer.one_thread import on_one_thread
from agent.optimizer.outcome import Settings
from agent.optimizer.space import Space
from devices.config import Value

_AT_ONCE = 512
"""Points asked for at a time: beliefs over many sessions take memory for each; chosen."""


@runtime_checkable
class Believer(Protocol):
    """An engine with a space and a belief about it."""

    @property
    def space(self) -> Space:
        """The tuned settings."""
        ...

    def predict(self, points: Sequence[Mapping[str, Value]]) -> Prediction:
        """Predictions for settings."""
        ...

    def recommend(self) -> Settings:
        """The settings believed to be best within the limits."""
        ...

    def front(self) -> list[Settings]:
        """Settings that are believed to be Pareto-optimal, from the gentlest on."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """An engine that says how much of its belief comes from other sessions than this one."""

    @property
    def memory_share(self) -> float | None:
        """A probability; None where it knows no other sessions."""
        ...


def predicted(engine: Believer, points: Sequence[Mapping[str, Value]]) -> Prediction:
    """Predictions for any number of settings.

    Raises
    ------
    ValueError
        There is no belief yet.
    """
    with on_one_thread():
        parts = [
            engine.predict(points[first : first + _AT_ONCE])
            for first in range(0, len(points), _AT_ONCE)
        ]
    return Prediction(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.score_sd for part in parts]),
        np.concatenate([part.bleaching for part in parts]),
        np.concatenate([part.allowed for part in parts]),
    )
