"""A long run that is really taken: what each frame costs, from the first to the last."""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from agent.bench.long.synthetic import demo
from agent.record.ledger import reading
from agent.run import Session
from agent.steering.control_file import append

_TENTHS = 10


def take(folder: Path, frames: int) -> dict[str, Any]:
    """Take this many frames and stop, as told by the control file; some are left for `resume`.

    Returns
    -------
    dict
        `cpu_ms`: processor time of a frame (ms), by tenth of the run; `ms`: median time from one
        frame to the next, which is longer where the machine has other work; `grown_MB`: what the
        process has grown by since the first tenth, None if unknown.
    """
    folder.mkdir(parents=True)
    seen: list[tuple[int, float, float]] = []
    """Frames, processor time (s) and memory (MB), at the first frame and after each tenth."""

    def watch(progress: Any) -> None:
        if progress.frames >= max(1, len(seen) * frames // _TENTHS) and len(seen) <= _TENTHS:
            seen.append((progress.frames, time.process_time(), _peak_mb()))
            if len(seen) > _TENTHS:
                append(folder, {"stop": True})

    result = Session(demo(frames + max(200, frames // 20)), folder / "bench.yaml", folder).run(
        watch
    )
    if result.status != "stopped":
        raise RuntimeError(f"the benchmark's run ended as {result.status}: {result.reason}")
    times = _times(folder)
    steps = [1e3 * (later - earlier) for earlier, later in pairwise(times)]
    size = len(steps) // _TENTHS
    return {
        "frames": len(times),
        "cpu_ms": [1e3 * (b[1] - a[1]) / max(b[0] - a[0], 1) for a, b in pairwise(seen)],
        "ms": [median(steps[i * size : (i + 1) * size]) for i in range(_TENTHS)],
        "grown_MB": seen[-1][2] - seen[1][2] if seen[1][2] else None,
    }


def _times(folder: Path) -> list[float]:
    with reading(folder) as ledger:
        return [entry.data["time_s"] for entry in ledger.entries("frame")]


def _peak_mb() -> float:
    """The most memory that this process ever had (MB); 0 if unknown."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)
