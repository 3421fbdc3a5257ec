"""Short time limits for devices that hang: what works has them many times over.

As a program, it is the command line with them: `python -m tests.helpers.impatient run …`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

LIMITS = {
    "agent.run.ending.LET_GO_S": 0.3,
    "agent.run.loop._GRACE_S": 1.0,
    "devices.lights._HALT_S": 0.5,
    "devices.opening._LET_GO_S": 0.3,
    "devices.safety._STEP_TIMEOUT_S": 0.5,
}
"""How long each is waited for (s), by where the limit stands."""


def _set(limit: str, seconds: float) -> None:
    module, _, name = limit.rpartition(".")
    there = import_module(module)
    assert hasattr(there, name), f"{limit} is gone"
    setattr(there, name, seconds)


def shorten(set_limit: Callable[[str, float], object] = _set) -> None:
    """Set them all."""
    for limit, seconds in LIMITS.items():
        set_limit(limit, seconds)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    shorten()
    from agent.cli import main

    main()
