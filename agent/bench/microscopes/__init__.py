"""Microscopes as people have them: how well runs get on with their stages and with their focus.

Each part measures the same samples on simulated microscopes of one kind, and has checks of its own.
"""

from __future__ import annotations

from agent.bench.measurement import Measurement
from agent.bench.microscopes import calibration, focus, two_dyes

_FIRST_SEED = 7001
_SEEDS = 5
_PARTS = {"calibration": calibration.measure, "focus": focus.measure, "two dyes": two_dyes.measure}


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """All parts on some samples; quick: on one."""
    used = [_FIRST_SEED + i for i in range(seeds or (1 if quick else _SEEDS))]
    found = {name: part(used, quick=quick) for name, part in _PARTS.items()}
    return Measurement(
        columns=("part", "microscope", "found"),
        rows=[(name, *row) for name, part in found.items() for row in part.rows],
        checks=[check for part in found.values() for check in part.checks],
        raw={name: part.raw for name, part in found.items()},
        seeds=used,
    )
