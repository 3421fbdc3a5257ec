"""Channels, planes and fields of a time point: taken in order, stored by place, read back."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import yaozarrs
import zarr

from agent.record.folder import read_config
from agent.record.raw import RawFrames
from agent.record.reader import open_run
from agent.run import Session
from agent.run.replay import replay
from agent.ui.report import charts
from agent.ui.report.run_data import Run
from devices.microscope import Microscope
from tests import faulty
from tests.helpers.runs import cut_after, mean_score, recorded, run_session, until

MODES = {"confocal": {"depletion_power": 0}, "sted": {"excitation_power": 7}}
STACK = {"channels": ["confocal", "sted"], "z": {"range": 2, "step": 1}}


def microscope(**more: Any) -> dict[str, Any]:
    made = faulty.config()["microscope"]["python_devices"]
    return {"modes": MODES, "python_devices": made | {"Focus": faulty.device("Focus")}, **more}


def lapse(**more: Any) -> dict[str, Any]:
    return {
        "plan": "timelapse",
        "timelapse": {"frames": 3, "interval_s": 0.0, "fields": 2, **STACK, **more},
        "microscope": microscope(),
    }


def shots(run: Path) -> list[tuple[Any, ...]]:
    """Time point, field, mode and focus of each frame, in the order they were taken in."""
    found = []
    for _, taken in sorted(recorded(run).taken.items()):
        shot = taken.shot
        where = shot["field"]["index"] if shot["field"] else None
        found.append((shot["point"], where, shot["mode"], shot.get("focus_um")))
    return found


def assert_whole(run: Path, frames: int) -> None:
    """Each frame of the ledger is where the ledger says, pixel for pixel, for any reader."""
    raw = RawFrames(run, pixel_size_um=0.02)
    taken = recorded(run).taken
    assert len(taken) == frames
    for index, one in taken.items():
        place = one.shot["stored"]
        array = zarr.open_array(run / place["image"] / "0", mode="r")
        assert np.array_equal(array[tuple(place["at"])], raw.read(index))
        assert raw.read(index).any()


def in_xml(collection: Path) -> list[tuple[dict[str, str], dict[str, str]]]:
    """What the OME-XML of a collection says of each image and of its pixels."""
    root = ElementTree.parse(collection / "OME" / "METADATA.ome.xml").getroot()
    return [(image.attrib, image[0].attrib) for image in root]


@pytest.mark.slow
def test_a_time_point_of_fields_channels_and_planes(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={}, **lapse())
    assert result.status == "completed", result.reason
    assert_whole(run, 3 * 2 * 2 * 3)
    assert shots(run)[:12] == [
        (0, field, mode, z)
        for field in (0, 1)
        for mode in ("confocal", "sted")
        for z in (-1.0, 0.0, 1.0)
    ]
    for field in (0, 1):
        yaozarrs.validate_zarr_store(run / "raw.ome.zarr" / str(field))
        array = zarr.open_array(run / "raw.ome.zarr" / str(field) / "0", mode="r")
        assert array.shape == (3, 2, 3, faulty.SIDE, faulty.SIDE)
        image = zarr.open_group(run / "raw.ome.zarr" / str(field), mode="r").attrs["ome"]
        (multiscale,) = image["multiscales"]
        time, *axes = [(axis["name"], axis.get("unit")) for axis in multiscale["axes"]]
        micro = "micrometer"
        assert axes == [("c", None), ("z", micro), ("y", micro), ("x", micro)]
        scaled, moved = multiscale["datasets"][0]["coordinateTransformations"]
        scale = scaled["scale"]
        assert scale[1:] == [1.0, 1.0, 0.02, 0.02]
        where = next(
            one.shot["field"]
            for one in recorded(run).taken.values()
            if one.shot["field"]["index"] == field
        )
        half = 0.02 * (faulty.SIDE - 1) / 2
        corner = [where["y_um"] - half, where["x_um"] - half]
        assert moved["translation"] == pytest.approx([0, 0, 0, *corner])
        assert time == ("t", None if scale[0] == 1.0 else "second")
        labels = [channel["label"] for channel in image["omero"]["channels"]]
        assert labels == ["confocal", "sted"]
    yaozarrs.validate_zarr_store(run / "raw.ome.zarr")
    images = in_xml(run / "raw.ome.zarr")
    assert [image["ID"] for image, _ in images] == ["Image:0", "Image:1"]
    sizes = {"SizeT": "3", "SizeC": "2", "SizeZ": "3", "SizeY": str(faulty.SIDE)}
    for _, pixels in images:
        assert pixels.items() >= {**sizes, "PhysicalSizeZ": "1.0", "PhysicalSizeX": "0.02"}.items()
    assert replay(run).difference is None
    stored = open_run(run)
    table = stored.frames()
    at = [
        (p, c)
        for p, c, f in zip(table["point"], table["plane"], table["field"], strict=True)
        if f == 1
    ]
    assert at[:3] == [(0, 0), (0, 1), (0, 2)] and list(table["z_um"][:3]) == [-1, 0, 1]
    np.testing.assert_array_equal(stored.image(1)[2, 1, 2], stored.frame(35))
    with pytest.raises(FileNotFoundError, match=r"image\(field\)"):
        _ = stored.raw


@pytest.mark.slow
@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("pzc", [(0, "confocal", -1.0), (0, "sted", -1.0), (0, "confocal", 0.0)]),
        ("cpz", [(0, "confocal", -1.0), (0, "confocal", 0.0), (0, "confocal", 1.0)]),
        ("zcp", [(0, "confocal", -1.0), (1, "confocal", -1.0), (0, "sted", -1.0)]),
    ],
)
def test_axis_order(order: str, first: list[Any], tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={}, **lapse(frames=1, axis_order=order))
    assert result.status == "completed", result.reason
    assert [shot[1:] for shot in shots(run)[:3]] == first
    assert_whole(run, 12)


@pytest.mark.slow
def test_stopped_in_a_stack_and_resumed(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={"make_plan": cut_after(17)}, **lapse())
    assert result.status == "failed"
    assert_whole(run, 17)
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert resumed.status == "completed", resumed.reason
    assert_whole(run, 36)
    assert replay(run).difference is None


@pytest.mark.slow
def test_the_focus_is_put_back(tmp_path: Path) -> None:
    focus = {"Focus": faulty.device("Focus", z_um=4.0)}
    scope = microscope()
    scope["python_devices"] |= focus
    result, run = run_session(tmp_path, session={}, live={"frames": 2, **STACK}, microscope=scope)
    assert result.status == "completed", result.reason
    sent = faulty.made["Focus"][-1].sent
    assert sent == [3.0, 4.0, 5.0] * 4 + [4.0]
    assert [z for *_, z in shots(run)][:3] == [3.0, 4.0, 5.0]
    assert read_config(run).microscope.fields.z_um == 4.0
    array = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
    assert array.shape == (2, 2, 3, faulty.SIDE, faulty.SIDE)


def test_a_focus_drive_that_hangs_when_it_is_put_back(tmp_path: Path, impatient: None) -> None:
    scope = microscope(timeout_s=0.2)
    scope["python_devices"]["Focus"] = faulty.device("Focus", hangs_at=3)
    live = {"frames": 1, "mode": "sted", "z": {"range": 2, "step": 1}}
    try:
        result, run = run_session(tmp_path, session={}, live=live, microscope=scope)
    finally:
        faulty.Focus.released.set()
    assert result.status == "failed" and "focus drive 'Focus' hangs" in result.reason
    assert_whole(run, 3)


@pytest.mark.slow
def test_stopped_behind_the_last_frame_it_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing moves any more."""
    refocus = Microscope.refocus

    def stopped(microscope: Microscope) -> None:
        signal.raise_signal(signal.SIGINT)
        until(lambda: microscope.stop.asked)
        refocus(microscope)

    monkeypatch.setattr(Microscope, "refocus", stopped)
    live = {"frames": 1, "mode": "sted", "z": {"range": 2, "step": 1}}
    result, run = run_session(tmp_path, session={}, live=live, microscope=microscope())
    assert result.status == "completed", result.reason
    assert faulty.made["Focus"][-1].sent == [-1.0, 0.0, 1.0]
    assert_whole(run, 3)


@pytest.mark.slow
def test_frames_between_are_numbered_on_behind_a_power_cut(tmp_path: Path) -> None:
    parts = lapse(frames=1) | {"focus": {"range": 1, "step": 0.5}}
    _, run = run_session(tmp_path, session={"make_plan": cut_after(3)}, **parts)
    last = run / "between.ome.zarr" / "0" / "c" / "2" / "0" / "0"
    last.write_bytes(last.read_bytes()[:100])
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert resumed.status == "completed", resumed.reason
    taken = recorded(run).taken
    assert_whole(run, len(taken))
    places = [one.shot["stored"] for _, one in sorted(taken.items())]
    between = [place["at"] for place in places if place["image"] == "between.ome.zarr"]
    assert between == [[number] for number in range(len(between))]
    array = zarr.open_array(run / "between.ome.zarr" / "0", mode="r")
    assert array.shape[0] == len(between) and np.asarray(array).any(axis=(1, 2)).all()


@pytest.mark.slow
def test_lost_metadata_is_written_again(tmp_path: Path) -> None:
    """Of an image, of the collection that it is in, and of the list of its images."""
    _, run = run_session(tmp_path, session={"make_plan": cut_after(17)}, **lapse())
    lost = ("zarr.json", "OME/zarr.json", "OME/METADATA.ome.xml", "0/0/zarr.json", "1/zarr.json")
    for file in lost:
        (run / "raw.ome.zarr" / file).write_bytes(b"")
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert resumed.status == "completed", resumed.reason
    assert_whole(run, 36)
    yaozarrs.validate_zarr_store(run / "raw.ome.zarr")
    listed = json.loads((run / "raw.ome.zarr" / "OME" / "zarr.json").read_bytes())
    assert listed["attributes"]["ome"]["series"] == ["0", "1"]
    assert [image["ID"] for image, _ in in_xml(run / "raw.ome.zarr")] == ["Image:0", "Image:1"]


@pytest.mark.slow
def test_the_others_are_read_where_an_image_is_gone(tmp_path: Path) -> None:
    _, run = run_session(tmp_path, session={}, **lapse(frames=1))
    shutil.rmtree(run / "raw.ome.zarr" / "0")
    assert RawFrames(run, pixel_size_um=0.02).read(11).any()


@pytest.mark.slow
def test_absolute_planes_downwards(tmp_path: Path) -> None:
    stack = {"top": 12, "bottom": 10, "step": 1, "go_up": False}
    live = {"frames": 1, "mode": "sted", "z": stack}
    result, run = run_session(tmp_path, session={}, live=live, microscope=microscope())
    assert result.status == "completed", result.reason
    assert [z for *_, z in shots(run)] == [12.0, 11.0, 10.0]
    places = [taken.shot["stored"]["at"] for _, taken in sorted(recorded(run).taken.items())]
    assert places == [[0, 0, 2], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    ("live", "more", "said"),
    [
        ({"z": {"range": 2}}, {}, "`step`"),
        ({"z": {"range": 2, "step": 1, "top": 3}}, {}, "has range, top, step"),
        ({"z": {"top": 1, "bottom": 2, "step": 1}}, {}, "1 µm is below `bottom`"),
        ({"z": {"range": 1e6, "step": 1e-3}}, {}, "more than 1000 planes"),
        ({"z": {"relative": []}}, {}, "relative"),
        ({"z": {"relative": [0, 1, 0]}}, {}, "relative`: 0 µm is there twice"),
        ({"z": {"absolute": [5, 5.0000001]}}, {}, "is there twice"),
        ({"z": {"range": 1e-6, "step": 1e-7}}, {}, "step`: 1e-07 µm is less than 1e-06"),
        ({"channels": ["sted", "sted"]}, {}, "there twice"),
        ({"channels": ["sted", "steed"]}, {}, "did you mean 'sted'"),
        ({"channels": ["confocal"], "mode": "sted"}, {}, "not among `channels`"),
        ({"axis_order": "zyx"}, {}, "axis_order"),
        (
            {"z": {"range": 2, "step": 1}},
            {"stage_limits": {"z_um": [-0.5, 5]}},
            "plane 0: z = -1 µm is outside -0.5 … 5 µm",
        ),
    ],
)
def test_wrong_ones_end_in_a_line(
    live: dict[str, Any],
    more: dict[str, Any],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = faulty.config(live={"frames": 1, **live}, microscope=microscope(**more))
    file = faulty.write(tmp_path / "my.yaml", data)
    code, _, err = faulty.cli(capsys, "check", file)
    assert code == 2 and said in err and "Traceback" not in err
    assert len(err.strip().splitlines()) <= 3


def test_no_focus_no_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = faulty.config(live={"frames": 1, "z": {"range": 2, "step": 1}})
    code, _, err = faulty.cli(capsys, "check", faulty.write(tmp_path / "my.yaml", data))
    assert code == 2 and "has no focus drive" in err


@pytest.mark.slow
def test_channels_are_scored_as_the_config_says(tmp_path: Path) -> None:
    for modes, scored in (([], {"sted"}), (["confocal"], {"confocal"})):
        here = tmp_path / "-".join(["run", *modes])
        here.mkdir()
        plan = lapse(frames=1, fields=1, z=None)
        result, run = run_session(
            here,
            session={"scorer": mean_score},
            analysis={"score": True, "modes": modes},
            **plan,
        )
        assert result.status == "completed", result.reason
        found = recorded(run).taken.values()
        assert {one.shot["mode"] for one in found if one.score is not None} == scored


def test_charts_have_the_signs_of_the_legend(tmp_path: Path) -> None:
    """Also where one of the channels alone has scores."""
    parts = lapse(frames=2, z=None) | {"analysis": {"score": True}}
    result, run = run_session(tmp_path, session={"scorer": mean_score}, **parts)
    assert result.status == "completed", result.reason
    shown = Run.load(run)
    assert [mode for _, mode in shown.series] == ["confocal", "sted"] * 2
    drawn = charts.scores_over_time(shown)
    assert drawn is not None
    assert set(re.findall("mark (field[0-9])", drawn)) == {"field1", "field3"}
