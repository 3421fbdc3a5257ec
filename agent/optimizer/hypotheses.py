"""Earlier and simulated sessions as hypotheses about this sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from agent.optimizer.gaussian import Array
from devices.config import Value


class Hypotheses(Protocol):
    """What H sessions would expect at any settings."""

    @property
    def log_prior(self) -> Array:
        """Logarithm of the weight of each before anything is measured (H); they sum to one."""
        ...

    def expect(
        self, points: Sequence[Mapping[str, Value]], which: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Quality and bleaching, each sessions (or `which` of them) × points."""
        ...
