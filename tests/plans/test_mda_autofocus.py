"""The `autofocus_plan` of a useq sequence does what pymmcore-plus's own engine does with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import useq
from pymmcore_plus.mda import MDAEngine

from agent.config import RunConfig
from agent.record.folder import read_config
from agent.run import Session
from agent.run.replay import replay
from devices.microscope import Microscope
from tests import faulty
from tests.helpers.runs import cut_after, recorded, run_session, show
from tests.plans import test_autofocusing as device

PLACES = [{"x": 1, "y": 2, "z": 3}, {"x": 4, "y": 5, "z": 7}]
TWICE = {"interval": 0, "loops": 2}
SEQUENCES: dict[str, dict[str, Any]] = {
    "places": {
        "axis_order": "tpz",
        "time_plan": TWICE,
        "stage_positions": PLACES,
        "z_plan": {"range": 1, "step": 0.5},
        "autofocus_plan": {"axes": ["p"]},
    },
    "times": {
        "axis_order": "tp",
        "time_plan": TWICE,
        "stage_positions": PLACES,
        "autofocus_plan": {"axes": ["t"], "autofocus_motor_offset": 20},
    },
    "planes": {
        "axis_order": "pz",
        "stage_positions": PLACES[:1],
        "z_plan": {"range": 1, "step": 0.5},
        "autofocus_plan": {"axes": ["z"]},
    },
    "a place of its own": {
        "axis_order": "tp",
        "time_plan": TWICE,
        "stage_positions": [
            PLACES[0],
            {**PLACES[1], "sequence": {"autofocus_plan": {"axes": ["t"]}}},
        ],
    },
    "an offset that is a stage": {
        "stage_positions": PLACES,
        "autofocus_plan": {
            "axes": ["p"],
            "autofocus_motor_offset": 4,
            "autofocus_device_name": "Offset",
        },
    },
}


def parts(sequence: dict[str, Any], **options: Any) -> dict[str, Any]:
    found = device.parts(1, None, camera={"drift_um": 0.0, "z_um": 0.7}, **options)
    devices = found["microscope"]["python_devices"]
    # The last one of that class is what the autofocus device moves.
    found["microscope"]["python_devices"] = {"Offset": faulty.device("Focus"), **devices}
    found["microscope"]["focus"] = "Focus"
    del found["timelapse"], found["focus"]
    return {**found, "plan": "mda", "mda": {"sequence": sequence}}


def by_pymmcore_plus(plan: dict[str, Any]) -> list[float]:
    """Where its own engine has the focus for each frame."""
    found: list[float] = []
    config = RunConfig.model_validate(faulty.config(**plan))
    with Microscope.open(config.microscope) as microscope:
        core = microscope.core
        core.setAutoFocusDevice("PFS")
        engine = MDAEngine(core)
        engine.restore_initial_state = False
        core.mda.set_engine(engine)

        def keep(*frame: Any) -> None:
            found.append(core.getPosition("Focus"))

        core.mda.events.frameReady.connect(keep)
        core.mda.run(useq.MDASequence.model_validate(plan["mda"]["sequence"]))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", SEQUENCES)
@pytest.mark.parametrize("raises", [(), (1, 2, 3)])
def test_it_goes_where_pymmcore_plus_goes(
    name: str, raises: tuple[int, ...], tmp_path: Path
) -> None:
    plan = parts(SEQUENCES[name], wanders_um=0.1, raises=raises)
    expected = by_pymmcore_plus(plan)
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    shots = [one.shot for _, one in sorted(recorded(run).taken.items())]
    heights = [shot.get("focus_um", shot["field"]["z_um"]) for shot in shots]
    assert heights == pytest.approx(expected, abs=2e-3)
    lost = [note for note in recorded(run).notes_on("refocus") if not note["found"]]
    assert len(lost) == (raises != () and device.double().searches > 3)
    marked = ["focus not found" in shot["purpose"] for shot in shots]
    assert any(marked) == bool(lost)
    assert replay(run).difference is None
    if name == "an offset that is a stage":
        assert set(faulty.made["Focus"][-2].sent) == {4}


@pytest.mark.slow
def test_stopped_and_resumed(tmp_path: Path) -> None:
    plan = parts(SEQUENCES["places"], wanders_um=0.1)
    result, run = run_session(tmp_path, session={"make_plan": cut_after(8)}, **plan)
    assert result.status == "failed"
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert resumed.status == "completed", resumed.reason
    assert len(recorded(run).taken) == 12 and replay(run).difference is None


def test_a_focus_that_leaves_no_room_for_the_stack_is_none(tmp_path: Path) -> None:
    plan = parts(SEQUENCES["places"])
    plan["microscope"]["stage_limits"] = {"z_um": [0.5, 8]}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    notes = recorded(run).notes_on("refocus")
    assert {note["why"] for note in notes} == {
        "the frames would follow it to where z = 0.2 µm is outside 0.5 … 8 µm (`stage_limits.z_um`)"
    }


def test_check_names_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = faulty.config(**parts(SEQUENCES["an offset that is a stage"]))
    file = faulty.write(tmp_path / "my.yaml", data)
    code, out, err = faulty.cli(capsys, "check", file)
    assert code == 0 and "PFS, continuous focus off" in out, err
    del data["microscope"]["python_devices"]["Offset"]
    code, _, err = faulty.cli(capsys, "check", faulty.write(file, data))
    assert code == 2 and "the stage of the offset: found 'Offset'; accepted: none" in err, err
    del data["microscope"]["python_devices"]["PFS"]
    code, _, err = faulty.cli(capsys, "check", faulty.write(file, data))
    assert code == 2 and "needs an autofocus device: found nothing; accepted: none" in err, err


def test_it_comes_out_as_it_went_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, run = run_session(tmp_path, session={}, **parts(SEQUENCES["times"]))
    assert result.status == "completed", result.reason
    file = tmp_path / "out.json"
    code, _, err = faulty.cli(capsys, "export", run, file, "--useq")
    assert code == 0, err
    assert show(capsys, run)["focus"]["sweeps"] == 2
    out = useq.MDASequence.model_validate(json.loads(file.read_text()))
    assert out == useq.MDASequence.model_validate(SEQUENCES["times"])


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 2])
def test_searches_of_a_time_lapse_are_an_autofocus_plan(
    every: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Or else events of their own, between those of the frames."""
    plan = device.parts(
        3, {"every": every, "predict": False, "device_offset": 30.0}, camera={"z_um": 0.4}
    )
    plan["timelapse"] |= {"fields": 2, "z": {"range": 1, "step": 0.5}}
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    file = tmp_path / "out.json"
    code, _, err = faulty.cli(capsys, "export", run, file, "--useq")
    assert code == 0, err
    data = json.loads(file.read_text())
    events = (
        list(useq.MDASequence.model_validate(data))
        if every == 1
        else [useq.MDAEvent.model_validate(one) for one in data]
    )
    kinds = ["F" if event.action.type == "hardware_autofocus" else "." for event in events]
    without = "......" if every == 2 else "F...F..."
    assert "".join(kinds) == "F...F..." + without + "F...F..."
    first = events[0]
    assert first.action.autofocus_motor_offset == 30 and first.action.max_retries == 3
    if every == 1:
        assert data["autofocus_plan"]["axes"] == ["t", "p"]
