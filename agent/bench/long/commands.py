"""What each command that reads a run costs, apart from starting Python.

All times are processor times: what else the machine does leaves them as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agent.offline.files.export import export
from agent.record.folder import read_config
from agent.record.summary import summarize
from agent.run import Session
from agent.run.replay import replay
from agent.steering.tell import tell
from agent.ui.report import write_report
from agent.ui.view import payloads
from agent.ui.view.charts import CHARTS
from agent.ui.view.reader import Reader

Seconds = dict[str, float]


def of_the_ledger(folder: Path) -> Seconds:
    """`show`, `report`, `tell` and the first page of `view` (s)."""
    return {
        "show": _seconds(lambda: summarize(folder)),
        "report": _seconds(lambda: write_report(folder, folder / "bench.html")),
        "tell": _seconds(lambda: tell(folder, ["power=3"])),
        "view": _seconds(lambda: _first_page(folder)),
    }


def of_the_frames(folder: Path) -> Seconds:
    """`replay`, `export` and `resume` up to its first new frame (s), of a run that was stopped."""
    return {
        "replay": _seconds(lambda: _replayed(folder)),
        "export": _seconds(lambda: export(folder, folder / "bench.ome.tif", overwrite=True)),
        "resume": _resumed(folder),
    }


def _first_page(folder: Path) -> None:
    reader = Reader(folder)
    reader.refresh()
    for part in (payloads.state, payloads.trials, payloads.settings, payloads.log, payloads.frames):
        reader.look(part)
    assert reader.course is not None and reader.config is not None
    for chart in CHARTS.values():
        chart(reader.course, reader.config)


def _replayed(folder: Path) -> None:
    if (difference := replay(folder).difference) is not None:
        raise RuntimeError(f"the benchmark's run is not replayed: {difference}")


def _resumed(folder: Path) -> float:
    """Resume a run to its end; the time until its first new frame."""
    session = Session(read_config(folder), folder / "config.yaml", folder)
    before = summarize(folder)["frames"]["acquired"]
    began = time.process_time()
    until: list[float] = []

    def watch(progress: Any) -> None:
        if not until and progress.frames > before:
            until.append(time.process_time() - began)

    result = session.run(watch)
    if result.status != "completed" or not until:
        raise RuntimeError(f"the benchmark's run ended as {result.status}: {result.reason}")
    return until[0]


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
