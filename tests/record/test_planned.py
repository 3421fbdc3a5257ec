"""How many frames a run comes to is one number: for its session, its summary and its page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.record.planned import PlannedFrames
from agent.record.summary import summarize
from agent.run.progress import Progress
from agent.ui.view.reader import Reader
from tests.helpers.stories import Story, a_config

SETTINGS = {"depletion_power": 30.0, "dwell_time": 10.0, "gate": "open"}
Notes = list[tuple[str, dict[str, Any]]]
NOTES: dict[str, tuple[str, Notes, int]] = {
    "told, flagged, ended early, nothing better": (
        "optimize",
        [
            ("told", {"key": "trials", "value": 9, "trials": 9}),
            ("flagged", {"trial": 1}),
            ("flagged", {"trial": 2}),
            ("told", {"key": "trials", "value": 8, "trials": 8}),
            ("enough", {"trials": 4}),
            ("recommendation", {"settings": SETTINGS, "trials": 4, "planned": -18}),
        ],
        # Two trials fewer than the six of the config.
        36 + 3 * 2 - 3 * 2 - 18,
    ),
    "searches between time points": (
        "timelapse",
        [
            ("reoptimize", {"point": 1, "settings": SETTINGS, "planned": 18}),
            (
                "reoptimized",
                {
                    "point": 1,
                    "trials": 4,
                    "before": SETTINGS,
                    "settings": SETTINGS,
                    "changed": False,
                    "planned": -6,
                },
            ),
        ],
        36 + 18 - 6,
    ),
    "told a setting": ("live", [("told", {"key": "dwell_time", "value": 3.0, "frame": 1})], 36),
}


@pytest.mark.parametrize("story", NOTES)
def test_session_summary_and_page_plan_the_same_frames(tmp_path: Path, story: str) -> None:
    plan, notes, planned = NOTES[story]
    config = a_config(plan)
    told = Story(tmp_path / "run", config).begin(36)
    progress = Progress(plan, PlannedFrames(36, config.section.planned_trials()))
    for topic, data in notes:
        told.note(topic, **data)
        progress.take("note", {"topic": topic, "data": data})
    told.end("interrupted")
    run = told.closed()
    reader = Reader(run)
    reader.refresh()
    assert reader.course is not None
    assert progress.planned == summarize(run)["frames"]["planned"] == planned
    assert reader.course.planned == planned


def test_a_run_without_an_end_has_no_planned_frames() -> None:
    count = PlannedFrames(None, 6)
    count.learn({"topic": "told", "data": {"trials": 9}})
    assert count.total is None and count.trials == 9
