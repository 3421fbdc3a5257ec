"""What is equal between machines: everything but the last digits of floats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

REL = 1e-9
"""Far above what other kernels give in double precision, far below what anything here means."""


def near(one: Any, other: Any) -> bool:
    """Whether two nested structures are equal, floats within rounding."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=REL, abs_tol=0.0)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, Sequence) and not isinstance(one, str):
        return len(one) == len(other) and all(map(near, one, other))
    return bool(one == other)
