"""How long it takes from one scan to the next, and whether memory grows."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from agent.bench.imspector.driven import drive
from agent.bench.imspector.server import FakeImspector
from agent.bench.measurement import Check, Figures

_CALL_S = 5e-3
"""What each call takes, as over a network (s)."""
_FRAMES, _QUICK_FRAMES = 100, 30
_MANY, _QUICK_MANY = 2000, 200
_TENTHS = 10
_BETWEEN_MS = 60.0
_GROWN_MB = 10.0
_OPENING = 3
"""Scans at the beginning, between which everything is set for the first time."""


def measure(*, quick: bool) -> Figures:
    """100 frames through slow calls, and 2,000 through quick ones."""
    frames, many = (_QUICK_FRAMES, _QUICK_MANY) if quick else (_FRAMES, _MANY)
    with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as folder:
        server = FakeImspector(call_s=_CALL_S)
        drive(server, Path(folder) / "slow", frames, dwell_us=20)
        between = [1e3 * one for one in server.between[_OPENING:]]
        grown = _grown(Path(folder) / "many", many)
    checks = [
        Check("from scan to scan at 5 ms a call, median", median(between), "<=", _BETWEEN_MS, "ms"),
    ]
    if grown is not None:
        checks.append(Check(f"memory over {many} frames", grown, "<=", _GROWN_MB, "MB"))
    return Figures(
        [
            (
                "from the end of a scan to the next",
                f"median {median(between):.1f} ms, {min(between):.1f} … {max(between):.1f} ms,"
                f" at {1e3 * _CALL_S:g} ms a call ({frames} frames)",
            ),
            (
                f"memory over {many} frames",
                "unknown" if grown is None else f"{grown:.1f} MB more than at its first tenth",
            ),
        ],
        checks,
        {"between_ms": between, "grown_MB": grown, "frames": frames, "many": many},
    )


def _grown(folder: Path, frames: int) -> float | None:
    """What this process grows by (MB) from a tenth of the frames to the last; None if unknown."""
    if sys.platform == "win32":
        return None
    seen: list[float] = []

    def watch(progress: Any) -> None:
        if progress.frames >= frames // _TENTHS:
            seen[1:] = [_peak_mb()]  # the first one, and the latest

    drive(FakeImspector(), folder, frames, dwell_us=0.1, watch=watch)
    return seen[-1] - seen[0]


def _peak_mb() -> float:
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
