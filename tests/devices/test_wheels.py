"""A wheel that presets turn: waited for, turned again, and a fault where it stays stuck."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config import RunConfig
from agent.plan import Plan
from devices.shot import Shot
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import recorded, run_session

COLOUR = {"group": "Colour", "choices": ["red", "green", "blue"], "start": "red"}


def wheel(tmp_path: Path, **options: Any) -> dict[str, Any]:
    """A microscope whose wheel is turned by presets; once on opening, then for each frame."""
    lines = (f"ConfigGroup,Colour,{label},Wheel,Label,{label}\n" for label in COLOUR["choices"])
    (tmp_path / "wheel.cfg").write_text("".join(lines), encoding="utf-8")
    devices = {
        "Camera": faulty.device("FlakyCamera"),
        "Shutter": faulty.device("Shutter"),
        "Wheel": faulty.device("Wheel", **options),
    }
    return {
        "cfg": str(tmp_path / "wheel.cfg"),
        "python_devices": devices,
        "settings": {"colour": COLOUR},
        "fields": {},
        "timeout_s": 0.3,
    }


def colours(config: RunConfig) -> Plan:
    """A frame in each colour."""
    for colour in ("green", "blue"):
        yield Shot("sted", {"colour": colour})


def test_a_wheel_is_waited_for_before_there_is_light(tmp_path: Path) -> None:
    scope = {**wheel(tmp_path, asked=5), "timeout_s": 20}
    result, _ = run_session(
        tmp_path, session={"make_plan": colours}, microscope=scope, live={"frames": 2}
    )
    assert result.status == "completed", result.reason
    opened = [at for at, is_open in faulty.made["Shutter"][-1].given if is_open]
    assert len(opened) == 2 and opened[-1] > faulty.made["Wheel"][-1].there


def test_a_wheel_that_is_stuck_is_turned_again(tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path,
        session={"make_plan": colours},
        microscope=wheel(tmp_path, stuck=[1, 3]),
        live={"frames": 2},
        faults={"retries": 1},
    )
    assert result.status == "completed", result.reason
    assert [fault["policy"] for fault in recorded(run).faults] == ["retry", "retry"]
    assert [taken.shot["settings"]["colour"] for taken in recorded(run).taken.values()] == [
        "green",
        "blue",
    ]


def test_a_wheel_that_stays_stuck_is_a_fault(tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path,
        session={"make_plan": colours},
        microscope=wheel(tmp_path, stuck=list(range(2, 99))),
        live={"frames": 2},
        faults={"retries": 2},
    )
    assert (result.status, result.safe) == ("failed", True)
    assert "'Wheel' timed out after 300 ms; `timeout_s`" in result.reason.replace('"', "'")
    assert [fault["policy"] for fault in recorded(run).faults] == ["retry", "retry", "stop"]
    assert list(recorded(run).taken) == [0]


def test_a_wheel_that_is_stuck_from_the_start_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = faulty.config(microscope=wheel(tmp_path, stuck=list(range(99))))
    code, _, err = cli(capsys, "check", faulty.write(tmp_path / "c.yaml", data))
    assert (code, len(err.splitlines())) == (2, 1)
    assert "timed out after 300 ms" in err
