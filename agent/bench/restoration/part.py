"""One part of the restoration benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.bench.measurement import Check


@dataclass(frozen=True, slots=True)
class Part:
    """Checks of one part, and the figures that they come from."""

    name: str
    checks: Sequence[Check]
    raw: dict[str, Any]
