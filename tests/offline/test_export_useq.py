"""What a run took, as useq writes it: a sequence where one makes the same frames, else events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import useq
import yaml

from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import cut_after, recorded, run_session

MODES = {"confocal": {"depletion_power": 0}, "sted": {}}


def lapse(**more: Any) -> dict[str, Any]:
    devices = faulty.config()["microscope"]["python_devices"]
    return {
        "plan": "timelapse",
        "timelapse": {
            "frames": 2,
            "interval_s": 0.05,
            "fields": 2,
            "channels": ["confocal", "sted"],
            "z": {"range": 2, "step": 1},
            "axis_order": "pzc",
            **more,
        },
        "microscope": {
            "modes": MODES,
            "python_devices": devices | {"Focus": faulty.device("Focus", z_um=4.0)},
        },
    }


@pytest.mark.slow
def test_a_time_lapse_is_a_sequence_that_takes_the_same_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir(), second.mkdir()
    result, run = run_session(first, session={}, **lapse())
    assert result.status == "completed", result.reason
    file = tmp_path / "sequence.yaml"
    code, out, err = cli(capsys, "export", run, file, "--useq")
    assert code == 0 and "a sequence, 24 frames" in out + err
    assert useq.MDASequence.from_file(file).axis_order == ("t", "p", "z", "c")
    result, again = run_session(
        second, session={}, **{**lapse(), "plan": "mda", "mda": {"sequence": str(file)}}
    )
    assert result.status == "completed", result.reason

    def places(run: Path) -> list[tuple[Any, ...]]:
        shots = [one.shot for _, one in sorted(recorded(run).taken.items())]
        return [(s["mode"], s["field"]["x_um"], s["focus_um"], s["stored"]["at"]) for s in shots]

    assert places(again) == places(run)
    # And once more, from the run of the sequence.
    code, _, err = cli(capsys, "export", again, tmp_path / "again.json", "--useq")
    assert code == 0, err
    repeated = useq.MDASequence.from_file(tmp_path / "again.json")
    assert len(list(repeated)) == 24


@pytest.mark.slow
def test_what_no_sequence_makes_is_a_list_of_events(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = run_session(tmp_path, session={"make_plan": cut_after(5)}, **lapse())
    assert result.status == "failed"
    file = tmp_path / "events.json"
    code, out, err = cli(capsys, "export", run, file, "--useq")
    assert code == 0 and "a list of events, 5 frames" in out + err
    events = [useq.MDAEvent.model_validate(one) for one in json.loads(file.read_text())]
    assert [event.z_pos for event in events] == [3.0, 3.0, 4.0, 4.0, 5.0]
    assert [event.channel and event.channel.config for event in events[:2]] == ["confocal", "sted"]
    assert ("Depletion", "Power_mW", 0.0) in [tuple(one) for one in events[0].properties or ()]
    assert events[1].exposure == 10 and events[4].min_start_time > 0
    code, _, _ = cli(capsys, "export", run, tmp_path / "events.yaml", "--useq")
    assert code == 0 and len(yaml.safe_load((tmp_path / "events.yaml").read_text())) == 5


def test_wrong_ones_end_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, run = run_session(tmp_path, session={}, live={"frames": 1})
    assert result.status == "completed", result.reason
    there = tmp_path / "there.yaml"
    there.write_text("mine")
    for file, said in (
        (tmp_path / "a.tif", "accepted: .yaml, .yml, .json"),
        (there, "--overwrite replaces it"),
        (tmp_path / "nowhere" / "a.yaml", "cannot be written"),
    ):
        code, _, err = cli(capsys, "export", run, file, "--useq")
        assert code == 2 and said in err and "Traceback" not in err
    assert there.read_text() == "mine"
    code, _, _ = cli(capsys, "export", run, there, "--useq", "--overwrite")
    assert code == 0
