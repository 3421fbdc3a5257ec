"""What a run costs when it is long: nothing may grow faster than the run."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import zarr

from agent.bench import long, run_bench
from agent.bench.long.synthetic import write
from agent.optimizer.objectives.estimate import Estimate
from agent.plans.adaptive.error_model import ErrorModel
from agent.record.reconstructed import FOLDER, ReconstructedStore
from agent.ui.report.axis import Axis
from agent.ui.report.page import render
from agent.ui.report.run_data import Run
from agent.ui.report.svg import Chart


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


@pytest.mark.slow
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


# ---------------------------------------------------------------------- a long time-lapse


class Plain:
    """`ErrorModel` as it is written down: all audits, each sum over all of them."""

    def __init__(self) -> None:
        self.audits: list[list[float]] = []

    def weigh(self, share: float) -> None:
        for audit in self.audits:
            audit[0] *= share

    def learn(self, predicted: float, error: float) -> None:
        self.weigh(0.93)
        self.audits.append([1.0, predicted, error])

    def expected(self, predicted: float) -> float:
        above = 1.5 * predicted**2 * 1.5**2
        above += sum(weight * error for weight, _, error in self.audits)
        below = 1.5 * predicted**2 + sum(weight * told**2 for weight, told, _ in self.audits)
        return math.sqrt(max(above, 0.05 * below) / below) * predicted

    def running(self, rebuilt: list[float]) -> tuple[float, float]:
        mean_square = sum(p**2 for p in rebuilt) / len(rebuilt)
        weights = sum(weight for weight, *_ in self.audits)
        below = sum(weight * told**2 for weight, told, _ in self.audits)
        ratio = max(sum(weight * error for weight, _, error in self.audits) / below, 0.0)
        away = [(weight * (error - ratio * told**2)) ** 2 for weight, told, error in self.audits]
        variance = sum(away) / weights**2
        variance *= len(self.audits) / (len(self.audits) - 1)
        sd = math.sqrt(variance) * weights / below * mean_square
        value = math.sqrt(ratio * mean_square)
        return value, sd / (2 * value) if value > 0 else math.sqrt(sd)


@pytest.mark.slow
def test_old_audits_are_dropped_and_no_decision_changes_by_a_bit() -> None:
    rng = random.Random(5)
    belief, plain = ErrorModel(), Plain()
    for number in range(2000):
        if rng.random() < 0.1:
            belief.doubt()
            plain.weigh(0.3)
        told = rng.uniform(0.01, 1.0)
        error = rng.gauss(0.1, 0.2) * told**2  # noise makes some of them negative
        belief.learn(told, Estimate(error, 0.01))
        plain.learn(told, error)
        if number % 50 == 1:
            assert belief.expected(told) == plain.expected(told)
            found = belief.running([0.1, told])
            assert found is not None
            assert (found.value, found.sd) == plain.running([0.1, told])
    assert len(belief) < 1000 < len(plain.audits), "nothing was dropped"


def a_mark(point: int, kind: str = "measured") -> dict[str, Any]:
    return {"point": point, "field": 0, "kind": kind, "frame": point, "expected_error": None}


def test_marks_of_a_long_movie_are_not_written_anew_each_time(tmp_path: Path) -> None:
    def store() -> ReconstructedStore:
        return ReconstructedStore(tmp_path, [0], 4000, pixel_size_um=0.02)

    def attributes() -> list[Any]:
        found: Any = zarr.open_group(tmp_path / FOLDER, mode="r").attrs["stedfast"]
        return list(found["frames"])

    movie = store()
    movie.put(0, 0, np.ones((4, 4), np.uint16))
    movie.mark(a_mark(point) for point in range(2000))
    written = calls(lambda: movie.mark([a_mark(2000)]))
    assert written < 500, "as many as there are marks"
    assert len(attributes()) == 2000

    # A session that is killed leaves its latest marks in a file of their own, the last cut off.
    with (tmp_path / FOLDER / "marks.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"point": 2001, "field"')
    again = store()
    assert again.marks() == [a_mark(point) for point in range(2001)]
    assert len(attributes()) == 2000, "reading writes nothing"
    again.mark([a_mark(7, "missing"), a_mark(2001)])
    again.settle()
    assert attributes()[7] == a_mark(7, "missing") and len(attributes()) == 2002
    assert not (tmp_path / FOLDER / "marks.jsonl").exists()


# ---------------------------------------------------------------------- the benchmark


@pytest.mark.slow
def test_the_benchmark_takes_reads_and_judges(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(long, "_QUICK_LEDGER", 100)
    monkeypatch.setattr(long, "_QUICK_FRAMES", 100)
    monkeypatch.setattr(long, "_REPORT_S", 0.0)
    assert not run_bench("long", quick=True, seeds=None, as_json=True), "a target is missed"
    told = json.loads(capsys.readouterr().out)
    checks = {check["name"]: check for check in told["checks"]}
    report = checks["report at 100 frames"]
    assert report["value"] > 0 and not report["holds"]
    assert checks["tell at 100 frames"]["value"] > 0
    run = told["raw"]["runs"]["100"]
    assert run["frames"] >= 100 and len(run["cpu_ms"]) == 10
    assert set(run["seconds"]) == {"replay", "export", "resume"}
    assert all(value > 0 for value in told["raw"]["ledgers"]["100"].values())
