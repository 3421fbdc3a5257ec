"""Everything that real systems do wrong, alone and all at once: what is recorded, how it ends."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.bench.imspector.behaviours import BEHAVIOURS
from agent.bench.imspector.driven import drive
from agent.bench.imspector.server import FakeImspector
from agent.bench.measurement import Check, Figures

_FRAMES = 10
_CHANCE = 0.05
"""Of each of them, at each call or scan."""
_LIMITS = {"confirm_s": 0.6, "reply_s": 0.5, "scan_s": 1.0}
"""Time limits of the driver (s)."""
_LONGEST_S = 30.0
"""A run of ten frames, each of which may wait for all limits three times; chosen."""


@dataclass(frozen=True, slots=True)
class _Case:
    """A run: what went wrong in it, how it ended, what is not as it should be."""

    name: str
    status: str
    reason: str
    frames: int
    untrue: int
    lit: bool
    locked: bool
    safe: bool
    seconds: float


def measure(storms: int) -> Figures:
    """Each behaviour alone, and so many storms of all."""
    with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as folder:
        cases = [
            _case(name, FakeImspector(behaviours=(name,)), Path(folder) / name)
            for name in BEHAVIOURS
        ]
        for seed in range(1, storms + 1):
            server = FakeImspector(behaviours=tuple(BEHAVIOURS), chance=_CHANCE, seed=seed)
            server.values["STED_775"]["laser_on"] = True
            cases.append(_case(f"storm {seed}", server, Path(folder) / f"{seed}"))
    return Figures(
        [
            (
                case.name,
                f"{case.status}, {case.frames} frames, {case.seconds:.1f} s"
                + (f": {case.reason}" if case.status != "completed" else ""),
            )
            for case in cases
        ],
        _checks(cases),
        {"cases": [asdict(case) for case in cases]},
    )


def _checks(cases: Sequence[_Case]) -> list[Check]:
    counts = {
        "frames recorded with what was not applied": sum(case.untrue for case in cases),
        "runs that left it lit": sum(case.lit for case in cases),
        "runs that left it locked": sum(case.locked for case in cases),
        "runs that did not read back safe": sum(not case.safe for case in cases),
    }
    longest = max(case.seconds for case in cases)
    return [
        Check("runs through everything that goes wrong", len(cases), ">=", len(BEHAVIOURS)),
        *(Check(name, count, "<=", 0) for name, count in counts.items()),
        Check("longest of these runs", longest, "<=", _LONGEST_S, "s"),
    ]


def _case(name: str, server: FakeImspector, folder: Path) -> _Case:
    try:
        ran = drive(server, folder, _FRAMES, imspector=_LIMITS)
    finally:
        server.free.set()
    # A measurement that a person closed cannot be set: it has its powers when it is open again.
    closed = server.left_alone
    return _Case(
        name,
        str(ran.result.status),
        ran.result.reason or "",
        ran.frames,
        ran.untrue,
        server.scanning or not (server.dark or closed),
        server.locked,
        ran.result.safe,
        ran.seconds,
    )
