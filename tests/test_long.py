"""What a run costs when it is long: nothing may grow faster than the run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from agent.bench.long.synthetic import write
from agent.report.facts import Run
from agent.report.page import render
from agent.report.svg import Axis, Chart


def calls(work: Callable[[], Any]) -> int:
    """How many functions are called: a cost that does not depend on what else the machine does."""
    count = 0

    def note(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def test_report_grows_no_faster_than_the_run(tmp_path: Path) -> None:
    cost, size = {}, {}
    for frames in (400, 2000):
        write(tmp_path / str(frames), frames)
        run = Run.load(tmp_path / str(frames))
        cost[frames] = calls(partial(render, run))
        size[frames] = len(render(run))
    assert cost[2000] < 6 * cost[400]
    # Markers and lines are as many as one can tell apart.
    assert size[2000] < 2 * size[400]


def test_a_thinned_line_keeps_its_peaks() -> None:
    def drawn(peak: float) -> str:
        chart = Chart(Axis.linear("x", [0, 10_000]), Axis.linear("y", [0, 1]), "a peak")
        values = [(float(x), 0.0) for x in range(10_000)]
        values[5_003] = (5_003.0, peak)
        chart.line(values, "within")
        return chart.svg()

    assert drawn(1.0) != drawn(0.0), "one frame of ten thousand is left out"
    assert drawn(1.0).count("L") < 1000
