"""What an engine is measured on: a sample with its own optimum."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from agent.optimizer.base import merit
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from devices.config import Value


class Task(ABC):
    """One sample: what a trial on it would give, and the truth behind it.

    Parameters
    ----------
    space
        The tuned ones.
    limit
        Largest share of the dye that a frame may bleach.
    """

    def __init__(self, space: Space, limit: float) -> None:
        self.space = space
        self.limit = limit
        self._known: dict[tuple[Value, ...], Outcome] = {}

    @abstractmethod
    def measure(self, settings: Mapping[str, Value], number: int) -> Outcome:
        """Trial `number` at these settings; the same number has the same field and noise."""

    @abstractmethod
    def light(self, settings: Mapping[str, Value]) -> float:
        """Light that a trial puts on the sample (J, or any unit of the task's own)."""

    @abstractmethod
    def seconds(self, settings: Mapping[str, Value]) -> float:
        """Time of a trial (s, or any unit of the task's own)."""

    @abstractmethod
    def _truth(self, settings: Mapping[str, Value]) -> Outcome:
        """Compute `truth`."""

    def truth(self, settings: Mapping[str, Value]) -> Outcome:
        """Score and bleaching without noise; computed once for the same settings."""
        key = tuple(settings[name] for name in self.space.names)
        if key not in self._known:
            self._known[key] = self._truth(settings)
        return self._known[key]

    def worth(self, settings: Mapping[str, Value]) -> float:
        """True merit: score minus the penalty for bleaching beyond the limit."""
        return merit(self.truth(settings), self.limit)

    def search(self, starts: Sequence[Settings], rounds: int, seed: int) -> float:
        """The highest true merit found by a local search from the best of `starts`."""
        rng = np.random.default_rng(seed)
        found = sorted(starts, key=self.worth, reverse=True)[:4]
        for width in np.geomspace(0.15, 0.02, rounds):
            places = self.space.cube(found)
            near = np.concatenate([places + rng.normal(0, width, places.shape) for _ in range(4)])
            found = sorted([*found, *self.space.at(near)], key=self.worth, reverse=True)[:4]
        return self.worth(found[0])

    @property
    def best_known(self) -> float:
        """The highest true merit of all settings that anybody asked the truth of."""
        return max(merit(outcome, self.limit) for outcome in self._known.values())
