"""A useq sequence as a plan: its frames, in its order, at the settings of a config."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
import zarr

from agent.record.folder import read_config
from agent.record.reader import open_run
from agent.run import Session
from agent.run.replay import replay
from tests import faulty
from tests.helpers.runs import checked, cut_after, recorded, run_session

MODES = {"confocal": {"depletion_power": 0}, "sted": {}}
SEQUENCE: dict[str, Any] = {
    "axis_order": "tpcz",
    "time_plan": {"interval": 0.01, "loops": 2},
    "stage_positions": [{"x": 1, "y": 2, "z": 3}, {"x": 4, "y": 5, "z": 7, "name": "cell 2"}],
    "channels": ["confocal", {"config": "Cy5", "exposure": 20}],
    "z_plan": {"range": 1, "step": 0.5},
}


def parts(sequence: Any, **more: Any) -> dict[str, Any]:
    """A config whose camera has its exposure time as a setting."""
    base = faulty.config()["microscope"]
    devices = base["python_devices"] | {"Focus": faulty.device("Focus")}
    exposure = {
        "device": "Camera",
        "property": "Exposure",
        "unit": "ms",
        "range": [1, 100],
        "start": 10,
    }
    return {
        "plan": "mda",
        "mda": {"sequence": sequence, "channels": {"Cy5": "sted"}, **more},
        "microscope": {
            "modes": MODES,
            "python_devices": devices,
            "settings": base["settings"] | {"exposure_time": exposure},
            "exposure": {"camera": "exposure_time"},
        },
    }


def taken(run: Path) -> list[tuple[Any, ...]]:
    return [
        (
            one.shot["point"],
            one.shot["field"]["index"],
            one.shot["mode"],
            one.shot["settings"]["exposure_time"],
            one.shot["focus_um"],
        )
        for _, one in sorted(recorded(run).taken.items())
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["yaml", "json", "inline"])
def test_a_sequence_runs_as_it_would_there(kind: str, tmp_path: Path) -> None:
    file = tmp_path / f"sequence.{kind}"
    text = json.dumps(SEQUENCE) if kind == "json" else yaml.safe_dump(SEQUENCE)
    file.write_text(text, encoding="utf-8")
    sequence = SEQUENCE if kind == "inline" else file.name
    result, run = run_session(tmp_path, session={}, **parts(sequence))
    assert result.status == "completed", result.reason
    assert taken(run) == [
        (t, field, mode, ms, z)
        for t in (0, 1)
        for field, zs in ((0, (2.5, 3.0, 3.5)), (1, (6.5, 7.0, 7.5)))
        for mode, ms in (("confocal", 10.0), ("sted", 20.0))
        for z in zs
    ]
    second = zarr.open_array(run / "raw.ome.zarr" / "1" / "0", mode="r")
    assert second.shape[:3] == (2, 2, 3)
    np.testing.assert_array_equal(second[1, 1, 2], open_run(run).frame(23))
    # The run does not need the file any more.
    file.unlink(missing_ok=True)
    assert replay(run).difference is None


@pytest.mark.slow
def test_stopped_and_resumed(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={"make_plan": cut_after(7)}, **parts(SEQUENCE))
    assert result.status == "failed"
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert resumed.status == "completed", resumed.reason
    assert len(taken(run)) == 24 and replay(run).difference is None


def test_heights_without_a_place_are_relative_to_the_focus(tmp_path: Path) -> None:
    plan = parts({"channels": ["sted"], "z_plan": {"relative": [0.5, -0.5]}})
    plan["microscope"]["python_devices"]["Focus"] = faulty.device("Focus", z_um=20.0)
    result, run = run_session(tmp_path, session={}, **plan)
    assert result.status == "completed", result.reason
    shots = [one.shot for _, one in sorted(recorded(run).taken.items())]
    assert [shot["focus_um"] for shot in shots] == [20.5, 19.5]
    assert [shot["stored"]["at"] for shot in shots] == [[0, 0, 1], [0, 0, 0]]


def test_frames_that_share_a_place_are_numbered(tmp_path: Path) -> None:
    """A sequence within a sequence may come back to a time point, place and channel."""
    place = {"x": 1, "y": 2, "sequence": {"channels": ["confocal"], "z_plan": {"absolute": [1]}}}
    sequence = {"channels": ["confocal"], "stage_positions": [place, {"x": 1, "y": 2}]}
    result, run = run_session(tmp_path, session={}, **parts(sequence))
    assert result.status == "completed", result.reason
    assert len(recorded(run).taken) == 2
    assert replay(run).difference is None


def test_check_says_what_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = faulty.write(tmp_path / "my.yaml", faulty.config(**parts(SEQUENCE)))
    code, out, err = faulty.cli(capsys, "check", file)
    assert code == 0, err
    said = out.replace("\N{NO-BREAK SPACE}", " ")
    assert "24 of" in said and "2 places (cell 2)" in said
    assert "light on for" in said and "0.36 s" in said


@pytest.mark.parametrize(
    ("sequence", "more", "said"),
    [
        (None, {}, "`mda.sequence`: is not there"),
        ("nowhere.yaml", {}, "no such file"),
        ({}, {}, "has no frames"),
        ({"channel": ["sted"]}, {}, "is no key of a useq sequence"),
        ({"channels": ["steed"]}, {}, "did you mean 'sted'"),
        ({"channels": ["Cy3"]}, {}, "a channel of the sequence is the mode of its name"),
        ({"channels": [{"config": "sted", "exposure": 500}]}, {}, "500"),
        (
            {"channels": [{"config": "sted", "exposure": "x"}]},
            {},
            "`channels.exposure`: found 'x'",
        ),
        ({"channels": ["sted"], "z_plan": {"range": "a", "step": 1}}, {}, "z_plan"),
        ({"time_plan": {"interval": 0, "loops": 10**9}}, {}, "1,000,000,000 time points"),
        ({"time_plan": [{"interval": 1e-6, "duration": 1e9}] * 2}, {}, "time points; accepted"),
        ({"z_plan": {"range": 1, "step": 1e-12}}, {}, "planes; accepted: at most 1,000"),
        (
            {"grid_plan": {"rows": 10**5, "columns": 10**5, "fov_width": 1, "fov_height": 1}},
            {},
            "`grid_plan` has 10,000,000,000 places",
        ),
        ({"grid_plan": {"num_points": 10**9, "max_width": 1, "max_height": 1}}, {}, "places"),
        ({"grid_plan": {"num_points": 3, "max_width": 9, "max_height": 9}}, {}, "`random_seed`"),
        ({"stage_positions": [{"x": math.nan, "y": 0}]}, {}, "a frame at x = nan µm; accepted"),
        ({"stage_positions": [{"x": 0, "y": 0, "z": math.inf}]}, {}, "a frame at z = inf µm"),
        (
            {"channels": [{"config": "sted", "z_offset": math.nan}], "z_plan": {"absolute": [1]}},
            {},
            "a frame at z = nan µm",
        ),
        (
            {
                "grid_plan": {
                    "vertices": [[0, 0], [1e6, 0], [0, 1e6]],
                    "fov_width": 1,
                    "fov_height": 1,
                }
            },
            {},
            "1,000,000,000,000 places",
        ),
        (
            {
                "stage_positions": [
                    {"x": 0, "y": 0, "sequence": {"z_plan": {"range": 9, "step": 0.001}}}
                ]
            },
            {},
            "planes; accepted",
        ),
        (
            {
                "channels": ["sted"],
                "stage_positions": [{"x": 0, "y": 0, "z": 0}],
                "z_plan": {"range": 2, "step": 1},
                "autofocus_plan": {"autofocus_motor_offset": 3, "axes": ["p"]},
            },
            {},
            "autofocus_plan",
        ),
        ({"time_plan": {"interval": -1, "loops": 3}}, {}, "due before it begins"),
        ({"stage_positions": [{"x": 1}]}, {}, "x or y alone"),
        (
            {"stage_positions": [{"x": 0, "y": 0}], "grid_plan": {"rows": 2, "columns": 2}},
            {},
            "no `fov_width` and `fov_height`",
        ),
        (
            {"grid_plan": {"rows": 2, "columns": 2, "fov_width": 5, "fov_height": 5}},
            {},
            "no `stage_positions` that it is relative to",
        ),
        ({"time_plan": {"interval": 1, "loops": 3}}, {"mode": "steed"}, "`mda.mode`"),
    ],
)
def test_wrong_ones_end_in_a_line(
    sequence: Any,
    more: dict[str, Any],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = faulty.write(tmp_path / "my.yaml", faulty.config(**parts(sequence, **more)))
    code, _, err = faulty.cli(capsys, "check", file)
    assert code == 2 and said in err and "Traceback" not in err, err
    assert len(err.strip().splitlines()) <= 3, err


def test_a_channel_that_is_a_preset_is_told_how_it_becomes_a_mode(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = faulty.config(**parts({"channels": ["DAPI"]}))
    whole["microscope"]["settings"]["dye"] = {
        "group": "Channel",
        "choices": ["DAPI", "Cy5"],
        "start": "Cy5",
    }
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", whole))
    assert code == 2 and "`microscope.modes: {DAPI: {dye: DAPI}}` makes it one" in err, err
    # Of another group the preset of that name is something else.
    whole["microscope"]["modes"] = {"DAPI": {"dye": "DAPI"}}
    whole["mda"]["sequence"]["channels"] = [{"group": "Multiband", "config": "DAPI"}]
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", whole))
    assert (
        code == 2
        and "of the group 'Multiband', and the mode of that name sets that of 'Channel'" in err
    ), err


def test_an_exposure_that_cannot_change_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = faulty.config(plan="mda", mda={"sequence": {"channels": [["sted", 20]]}})
    data["mda"]["sequence"] = {"channels": [{"config": "sted", "exposure": 20}]}
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 2 and "accepted: `exposure: {camera: SETTING}`" in err
    data["mda"]["sequence"] = {"channels": [{"config": "sted", "exposure": 10}]}
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 0, err


def test_an_exposure_that_the_mode_pins_is_not_changed_silently(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = faulty.config(**parts(SEQUENCE))
    data["microscope"]["modes"] = {**MODES, "sted": {"exposure_time": 30}}
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 2 and "`exposure_time`: found 20.0 in sted" in err, err


def test_frames_of_which_some_have_a_place_are_numbered(tmp_path: Path) -> None:
    """An image for each place has no room for those without."""
    sequence = {"channels": ["confocal"], "stage_positions": [{"z": 3}, {"x": 1, "y": 2, "z": 3}]}
    result, run = run_session(tmp_path, session={}, **parts(sequence))
    assert result.status == "completed", result.reason
    assert zarr.open_array(run / "raw.ome.zarr" / "0", mode="r").shape[0] == 2
    assert replay(run).difference is None


def test_limits_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = faulty.config(**parts(SEQUENCE))
    data["microscope"]["stage_limits"] = {"x_um": [0, 3]}
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 2 and "cell 2" in err and "x = 4 µm is outside" in err


def test_load_of_written(tmp_path: Path) -> None:
    config, _, _ = checked(tmp_path, **parts(SEQUENCE))
    assert type(config).model_validate(config.model_dump(mode="json", by_alias=True)) == config
