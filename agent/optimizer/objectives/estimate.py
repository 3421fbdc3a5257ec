"""A measured value and how far it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its standard deviation, both in the same unit.

    Parameters
    ----------
    value
        The measured value.
    sd
        Standard deviation of `value` over repeated measurements of the same thing.
    """

    value: float
    sd: float
