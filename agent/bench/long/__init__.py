"""What a run costs when it is long: nothing may grow faster than the run.

Two ledgers are written at once, one ten times as long as the other, and read by all that reads a
ledger alone. Two runs of the demo camera are really taken, and then read by what reads pixels. What
a time-lapse that skips keeps of its frames is written without any.
"""

from __future__ import annotations

from typing import Any

from agent.bench.long.commands import Seconds, of_the_frames, of_the_ledger
from agent.bench.long.lapse import of_a_time_lapse
from agent.bench.long.synthetic import write
from agent.bench.long.taken import take
from agent.bench.measurement import Check, Measurement, kept_in

_LEDGER, _QUICK_LEDGER = 200_000, 20_000
"""Rows of the ledger that is written; chosen."""
_FRAMES, _QUICK_FRAMES = 20_000, 1_000
"""Frames of the run that is taken; chosen."""
_REPORT_S, _TELL_S = 30.0, 0.5
"""Longest time for a report and for an instruction (s); chosen."""
_FLAT, _QUICK_FLAT = 1.05, 1.25
"""Of a few frames one can say less."""
_GROWTH = 15.0
"""Of ten times the run, with room for what else the machine does."""
_GROWN_MB = 30.0
"""Memory that a long run may have gained (MB); chosen."""


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """Write, take and read; `seeds` is not used, as nothing is drawn."""
    rows = _QUICK_LEDGER if quick else _LEDGER
    frames = _QUICK_FRAMES if quick else _FRAMES
    ledgers: dict[int, Seconds] = {}
    runs: dict[int, dict[str, Any]] = {}
    lapses: dict[int, Seconds] = {}
    with kept_in(None) as folder:
        # The real runs first: reading fills the memory that they are measured by.
        for count in (frames // 10, frames):
            place = folder / f"run-{count}"
            runs[count] = take(place, count)
            runs[count]["seconds"] = of_the_frames(place)
            lapses[count] = of_a_time_lapse(folder / f"lapse-{count}", count)
        for count in (rows // 10, rows):
            place = folder / f"ledger-{count}"
            write(place, count)
            ledgers[count] = of_the_ledger(place)
    return _summed_up(ledgers, runs, lapses, _QUICK_FLAT if quick else _FLAT)


def _summed_up(
    ledgers: dict[int, Seconds],
    runs: dict[int, dict[str, Any]],
    lapses: dict[int, Seconds],
    flat: float,
) -> Measurement:
    table = []
    of_runs = {count: run["seconds"] for count, run in runs.items()}
    for part, found in (("ledger", ledgers), ("frames", of_runs), ("time-lapse", lapses)):
        (few, short), (many, long) = found.items()
        table += [(part, name, few, short[name], many, long[name]) for name in long]
    many, last = max(runs.items())
    night = ledgers[max(ledgers)]
    cost = last["cpu_ms"]
    grown = {name: late / early for _, name, _, early, _, late in table if late > 0.2}
    most = max(grown, key=lambda name: grown[name], default="")
    memory = last["grown_MB"]
    checks = [
        Check("time of a frame, last tenth to first", cost[-1] / cost[0], "<=", flat),
        Check(f"report at {max(ledgers):,} frames", night["report"], "<=", _REPORT_S, "s"),
        Check(f"tell at {max(ledgers):,} frames", night["tell"], "<=", _TELL_S, "s"),
    ]
    if most:
        checks.append(
            Check(f"ten times the run, most ({most})", grown[most], "<=", _GROWTH, "× the time")
        )
    if memory is not None:
        checks.append(Check("memory since the first tenth", memory, "<=", _GROWN_MB, "MB"))
    return Measurement(
        columns=("", "", "frames", "s", "frames", "s", "×"),
        rows=[
            *(
                (part, name, *_at(few, early), *_at(many, late), f"{late / early:.1f}")
                for part, name, few, early, many, late in table
            ),
            *(
                (f"tenth {number}", "a frame", "", "", *_at(many, one / 1e3), "")
                for number, one in enumerate(cost, 1)
            ),
        ],
        checks=checks,
        raw={"ledgers": ledgers, "runs": runs, "lapses": lapses},
    )


def _at(frames: int, seconds: float) -> tuple[str, str]:
    return f"{frames:,}", f"{seconds:.3g}"
