"""Where the stage goes, how far it may, and how long it is waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from useq import MDAEvent

from agent.record.folder import read_config
from agent.run import Session
from agent.run.replay import replay
from devices.config import MicroscopeConfig
from devices.errors import BindingError, DeviceFault, LimitError
from devices.microscope import Microscope
from devices.shot import Shot
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import Work, cut_after, recorded, run_session, until

LAPSE: dict[str, Any] = {
    "plan": "timelapse",
    "timelapse": {"frames": 2, "interval_s": 0.01, "fields": 2, "acquire": "every"},
}


def scope(stage: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A microscope with a camera and a stage, for `tests.helpers.runs`."""
    devices = {
        "Camera": faulty.device("FlakyCamera"),
        "Stage": faulty.device("Stage", **stage),
        "Shutter": faulty.device("Shutter"),
    }
    fields = {"rows": 1, "columns": 2, "pitch_um": 10}
    return {"python_devices": devices, "settings": {}, "fields": fields, **keys}


@pytest.mark.slow
def test_fields_are_around_where_the_stage_is_and_stay_there(tmp_path: Path) -> None:
    here = scope({"x_um": 1234.5, "y_um": -567})
    _, run = run_session(tmp_path, session={"make_plan": cut_after(1)}, microscope=here, **LAPSE)
    assert faulty.made["Stage"][-1].went == [(1229.5, -567.0)]
    assert read_config(run).microscope.fields.centre_um == (1234.5, -567.0)
    # Gone on with, the stage is where the last session left it.
    config = read_config(run)
    moved = config.microscope.python_devices["Stage"].model_copy(
        update={"options": {"x_um": 1229.5, "y_um": -567}}
    )
    devices = {**config.microscope.python_devices, "Stage": moved}
    scope_now = config.microscope.model_copy(update={"python_devices": devices})
    config = config.model_copy(update={"microscope": scope_now})
    result = Session(config, run / "config.yaml", run).run()
    assert result.status == "completed", result.reason
    assert faulty.made["Stage"][-1].went == [(1239.5, -567.0), (1229.5, -567.0), (1239.5, -567.0)]
    places = [taken.shot["field"]["x_um"] for taken in recorded(run).taken.values()]
    assert places == [1229.5, 1239.5] * 2
    found = replay(run)
    assert (found.frames, found.difference) == (4, None)


def test_one_field_of_many_frames_is_one_move(tmp_path: Path) -> None:
    lapse = {"plan": "timelapse", "timelapse": {**LAPSE["timelapse"], "fields": 1, "frames": 5}}
    result, _ = run_session(tmp_path, session={}, microscope=scope({}), **lapse)
    assert result.status == "completed", result.reason
    assert len(faulty.made["Stage"][-1].went) == 1


def test_limits_of_the_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    near = scope({"x_um": 100}, stage_limits={"x_um": [90, 104], "z_um": [-1, 1]})
    file = faulty.write(tmp_path / "c.yaml", faulty.config(microscope=near, **LAPSE))
    for command in ("check", "run"):
        code, _, err = cli(capsys, command, file)
        assert code == 2
        assert "`microscope.fields`" in err and "x = 105 µm is outside 90 … 104 µm" in err
        assert "stage_limits.x_um" in err
    assert faulty.made["Stage"][-1].went == []

    config = MicroscopeConfig.model_validate(faulty.config(microscope=near)["microscope"])
    with Microscope.open(config, base=tmp_path) as microscope:
        for event in (MDAEvent(x_pos=80, y_pos=0), MDAEvent(z_pos=1.5)):
            with pytest.raises(LimitError, match="outside"):
                microscope.core.mda.run(iter([event]))
    assert faulty.made["Stage"][-1].went == []


def test_check_says_how_far_it_goes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = faulty.write(
        tmp_path / "c.yaml", faulty.config(microscope=scope({"x_um": 100}), **LAPSE)
    )
    code, out, err = cli(capsys, "check", file)
    assert code == 0, err
    assert "up to 5 µm from where it is, (100, 0) µm" in " ".join(out.split())


def test_a_device_that_is_busy_for_too_long_is_tried_again(tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        microscope=scope({"busy_s": 1.0, "times": 1}, timeout_s=0.4),
        faults={"retries": 3},
        **LAPSE,
    )
    assert result.status == "completed", result.reason
    faults = recorded(run).faults
    assert {fault["policy"] for fault in faults} == {"retry"}
    assert "timed out after 400 ms" in faults[0]["what"]
    # No light fell in a shot that was never taken.
    assert not recorded(run).lost


def test_a_stage_that_does_not_arrive_is_a_fault(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={}, microscope=scope({"wall_um": 1}), **LAPSE)
    assert result.status == "failed"
    assert "the XY stage is at (1, 0) µm, not at (5, 0) where it was sent" in result.reason
    assert list(recorded(run).taken) == [0]


def test_a_slow_stage_is_waited_for(tmp_path: Path) -> None:
    """Micro-Manager itself waits for 5 s, whatever the config says."""
    config = faulty.config(microscope=scope({}, timeout_s=77))["microscope"]
    with Microscope.open(MicroscopeConfig.model_validate(config), base=tmp_path) as microscope:
        assert microscope.core.getTimeoutMs() == 77000


@pytest.mark.parametrize("pause", [False, True])
def test_a_stage_that_hangs_before_a_first_shot_is_noticed(
    pause: bool, tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner asks it where it is before it asks for the first event, also after a pause."""
    # What hangs in the one case holds its microscope for a while, and is no concern of the other.
    monkeypatch.setenv("STEDFAST_STATE", str(tmp_path / "state"))
    microscope = scope({}, timeout_s=0.3)
    lapse = {"plan": "timelapse", "timelapse": {**LAPSE["timelapse"], "frames": 400, "fields": 1}}
    work = Work(tmp_path, microscope=microscope, **lapse)
    stage = faulty.made["Stage"][-1]
    stage.hangs = not pause
    work.start()
    if pause:
        until(lambda: work.progress.frames > 2)
        work.tell(pause=True)
        until(lambda: work.progress.paused)
        stage.hangs = True
        work.tell(resume=True)
    until(lambda: work.result is not None)
    stage.released.set()
    assert work.result.status == "failed"
    assert "hangs" in work.result.reason


NAN = float("nan")


def test_a_stage_that_does_not_know_where_it_is_is_refused() -> None:
    """Fields around nowhere could not even be written down."""
    asked = faulty.config(microscope=scope({"x_um": NAN}))["microscope"]
    with (
        pytest.raises(BindingError, match="is at \\(nan, 0\\)"),
        Microscope.open(MicroscopeConfig.model_validate(asked)),
    ):
        pass


@pytest.mark.parametrize(("x_um", "z_um"), [(NAN, None), (float("inf"), None), (0.0, NAN)])
def test_a_place_that_is_none_never_reaches_a_stage(x_um: float, z_um: float | None) -> None:
    """Also where no `stage_limits` are set."""
    asked = faulty.config(microscope=scope({}))["microscope"]
    with Microscope.open(MicroscopeConfig.model_validate(asked)) as microscope:
        event = MDAEvent(x_pos=x_um, y_pos=0.0, z_pos=z_um)
        with pytest.raises(LimitError, match="is no position"):
            microscope.core.mda.run(iter([event]))
        assert faulty.made["Stage"][-1].went == []


def test_an_exposure_time_that_is_none_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """No budget is kept by a dose that is no number."""
    asked = faulty.config(microscope=scope({}))["microscope"]
    with Microscope.open(MicroscopeConfig.model_validate(asked)) as microscope:
        monkeypatch.setattr(faulty.FlakyCamera, "get_exposure", lambda self: NAN)
        with pytest.raises(DeviceFault, match="exposes for nan ms"):
            microscope.core.mda.run(iter([microscope.event(Shot("sted"), 0)]))
