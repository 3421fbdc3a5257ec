"""Several memories as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from agent.optimizer.gaussian import Array
from agent.optimizer.hypotheses import Hypotheses
from devices.config import Value


class Combined:
    """Several memories as one.

    Parameters
    ----------
    parts
        At least one.
    weights
        Prior weight of each; need not sum to one.
    """

    def __init__(self, parts: Sequence[Hypotheses], weights: Sequence[float]) -> None:
        if not parts or len(parts) != len(weights) or min(weights) <= 0:
            raise ValueError("needs at least one part, and a weight above 0 for each")
        self._parts = tuple(parts)
        priors = [part.log_prior for part in parts]
        self._starts = np.concatenate([[0], np.cumsum([len(prior) for prior in priors])])
        shares = np.log(np.asarray(weights, dtype=float) / np.sum(weights))
        self._log_prior = np.concatenate(
            [prior + share for prior, share in zip(priors, shares, strict=True)]
        )

    def __len__(self) -> int:
        return len(self._log_prior)

    @property
    def log_prior(self) -> Array:
        """Logarithm of the weight of each hypothesis before anything is measured."""
        return self._log_prior

    def expect(
        self, points: Sequence[Mapping[str, Value]], which: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Quality and bleaching, each hypotheses (or `which` of them) × points."""
        chosen = np.arange(len(self)) if which is None else np.asarray(which, dtype=np.intp)
        both = np.empty((2, len(chosen), len(points)))
        for part, (first, end) in zip(self._parts, pairwise(self._starts), strict=True):
            rows = np.flatnonzero((chosen >= first) & (chosen < end))
            if len(rows):
                both[:, rows] = part.expect(points, (chosen[rows] - first).tolist())
        return both[0], both[1]
