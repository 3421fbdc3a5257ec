"""Time-lapses that skip time points of several channels, planes and fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from agent.config import load
from agent.record.reader import open_run
from agent.record.summary import summarize
from agent.run import Session, opening
from agent.run.replay import replay
from agent.ui.report import write_report
from agent.ui.view import payloads
from agent.ui.view.previews import Previews
from agent.ui.view.reader import Reader
from devices.recorded import Part, open_frames
from tests import faulty
from tests.doubles.interpolators import Blend
from tests.faulty import cli
from tests.helpers.runs import checked, cut_after, recorded

MODES = {"confocal": {"depletion_power": 0}, "sted": {}}
POINTS, CHANNELS, PLANES = 9, 2, 3
EACH = CHANNELS * PLANES


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's weights are not looked at: something else rebuilds."""
    monkeypatch.setattr(opening, "check_interpolator", lambda config, source: None)


def ran(
    folder: Path, status: str = "completed", *, cut: int | None = None, **asked: Any
) -> tuple[Path, Path]:
    devices = faulty.config()["microscope"]["python_devices"]
    scope = {"modes": MODES, "python_devices": devices | {"Focus": faulty.device("Focus")}}
    lapse = {"frames": POINTS, "interval_s": 0, "acquire": "skip", "gap": 4, "drift": "off"}
    lapse |= {"channels": ["confocal", "sted"], "z": {"range": 2, "step": 1}}
    fields = {"rows": 1, "columns": asked.get("fields", 1)}
    config, file, run = checked(
        folder, plan="timelapse", timelapse=lapse | asked, microscope=scope | {"fields": fields}
    )
    make_plan = None if cut is None else cut_after(cut)
    result = Session(config, file, run, interpolate=Blend(), make_plan=make_plan).run()
    assert result.status == status, result.reason
    return file, run


def assert_whole(run: Path, fields: int, points: int = POINTS) -> None:
    """The movie is laid out as the raw frames; each frame is theirs, or between its neighbours."""
    read = open_run(run)
    for field in range(fields):
        name = f"/{field}" if fields > 1 else ""
        places = [run / f"{kind}.ome.zarr{name}" for kind in ("raw", "reconstructed")]
        for place in places:
            yaozarrs.validate_zarr_store(str(place))
        raw, made = (zarr.open_array(place / "0", mode="r") for place in places)
        assert made.shape == raw.shape == (points, CHANNELS, PLANES, faulty.SIDE, faulty.SIDE)
        assert made.dtype == raw.dtype
        ome = [zarr.open_group(place, mode="r").attrs["ome"] for place in places]
        labels = [[channel["label"] for channel in one["omero"]["channels"]] for one in ome]
        assert labels[0] == labels[1] == ["confocal", "sted"]
        array = read.movie(field) if fields > 1 else read.reconstructed
        assert array.shape == made.shape
        attributes: Any = zarr.open_group(places[1], mode="r").attrs["stedfast"]
        assert attributes["decides"] == [1, 1]
        marks = attributes["frames"]
        assert len(marks) == points * EACH
        taken = {m["point"] for m in marks if m["kind"] != "reconstructed"}
        with open_frames(places[1], Part(at={"c": 0, "z": 2})) as frames:
            kinds = {m["point"]: m["kind"] for m in marks if (m["channel"], m["plane"]) == (0, 2)}
            assert frames.about().kinds == tuple(kinds[point] for point in range(points))
        for mark in marks:
            at = mark["point"], mark["channel"], mark["plane"]
            if mark["kind"] == "reconstructed":
                before = max(point for point in taken if point < mark["point"])
                after = min(point for point in taken if point > mark["point"])
                share = (mark["point"] - before) / (after - before)
                ends = [np.asarray(raw[end, *at[1:]], float) for end in (before, after)]
                between = (1 - share) * ends[0] + share * ends[1]
                np.testing.assert_allclose(np.asarray(made[at]), between, atol=1)
            else:
                assert np.array_equal(np.asarray(made[at]), read.frame(mark["frame"]))
                assert np.array_equal(np.asarray(made[at]), np.asarray(raw[at]))


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "order"), [(1, "pcz"), (2, "czp")], ids=["one field", "two fields, interleaved"]
)
def test_each_channel_and_plane_is_rebuilt_from_its_own_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: int, order: str
) -> None:
    _, run = ran(tmp_path, fields=fields, axis_order=order)
    assert_whole(run, fields)
    frames = summarize(run)["frames"]
    assert frames["planned"] == POINTS * EACH * fields == frames["acquired"] + frames["skipped"]
    assert frames["skipped"] == frames["reconstructed"] == 6 * EACH * fields
    assert replay(run).difference is None
    code, out, err = cli(capsys, "show", run)
    assert code == 0 and "67% of the light saved" in out, out + err
    write_report(run, tmp_path / "report.html")
    reader = Reader(run)
    reader.refresh()
    state = payloads.state(reader)
    assert state["done"] == state["planned"] and state["lapse"]["skipped"] == frames["skipped"]
    newest = state["newest"]["reconstructed"]
    preview = Previews(run, 0.02).make("reconstructed", newest, side=64, limits=None, exact=True)
    assert preview.shape == (faulty.SIDE, faulty.SIDE)
    code, out, err = cli(capsys, "export", run, tmp_path / "all.ome.tif")
    assert code == 0, out + err
    file = tmp_path / "movie.ome.tif"
    code, out, err = cli(capsys, "export", run, file, "--images", "reconstructed")
    assert code == 0, out + err
    assert_exported(run, file, fields)


def assert_exported(run: Path, file: Path, fields: int) -> None:
    """The movie of each field; each frame says what it is, and only measured ones were exposed."""
    read, taken = open_run(run), recorded(run).taken
    with tifffile.TiffFile(file) as tiff:
        ome = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]
        pixels = [series.asarray() for series in tiff.series]
    images = ome["Image"] if fields > 1 else [ome["Image"]]
    said = [
        {pair["K"]: pair["value"] for pair in one["Value"]["M"]}
        for one in ome["StructuredAnnotations"]["MapAnnotation"]
        if one["Namespace"] == "stedfast/frames"
    ]
    assert len(images) == len(pixels) == len(said) == fields
    for field, image in enumerate(images):
        array = np.asarray(read.movie(field) if fields > 1 else read.reconstructed)
        np.testing.assert_array_equal(pixels[field], array)
        assert image["Name"].endswith(", reconstructed")
        assert "are rebuilt" in image["Description"]
        assert [one["Name"] for one in image["Pixels"]["Channel"]] == ["confocal", "sted"]
        name = f"reconstructed.ome.zarr/{field}" if fields > 1 else "reconstructed.ome.zarr"
        marks: Any = zarr.open_group(run / name, mode="r").attrs["stedfast"]
        of = {(m["point"], m["channel"], m["plane"]): m for m in marks["frames"]}
        times: dict[tuple[int, int], list[float]] = {}
        for plane in image["Pixels"]["Plane"]:
            at = plane["TheT"], plane["TheC"], plane["TheZ"]
            words, index = said[field]["t{} c{} z{}".format(*at)], of[at]["frame"]
            times.setdefault(at[1:], []).append(plane["DeltaT"])
            assert {"PositionX", "PositionY", "PositionZ"} <= plane.keys()
            if index is None:
                assert words.startswith("reconstructed") and "ExposureTime" not in plane
            else:
                assert words == f"measured; frame {index}" and plane["ExposureTime"] > 0
                assert plane["DeltaT"] == pytest.approx(taken[index].frame["time_s"])
        assert all(found == sorted(found) for found in times.values())


@pytest.mark.process
@pytest.mark.slow
def test_an_adaptive_one_decides_on_the_middle_plane_of_its_mode(tmp_path: Path) -> None:
    _, run = ran(tmp_path, acquire="adaptive", frames=14, error=0.9)
    assert_whole(run, 1, 14)
    for note in recorded(run).notes_on("lapse"):
        for mark in note["frames"]:
            if mark["frame"] is not None:
                shot = recorded(run).taken[mark["frame"]].shot
                assert (shot["mode"], shot["plane"]["index"]) == ("sted", 1)
    frames = summarize(run)["frames"]
    assert frames["planned"] == 14 * EACH == frames["acquired"] + frames["skipped"]
    assert replay(run).difference is None


@pytest.mark.process
@pytest.mark.slow
def test_cut_within_a_time_point_it_is_resumed(tmp_path: Path) -> None:
    file, run = ran(tmp_path, "failed", cut=EACH + 3)
    result = Session(load(file), file, run, interpolate=Blend()).run()
    assert result.status == "completed", result.reason
    assert_whole(run, 1)
    assert replay(run).difference is None
