"""Runs whose frames are of several sizes: by binning, by a region of interest, by a resolution."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from agent.config import load
from agent.config.reading import UserError
from agent.offline.files.export import export
from agent.plans.adaptive.frame_noise import Detector
from agent.record.filtered import By
from agent.record.images import checksum
from agent.record.layout import RAW, Layout, Stored
from agent.record.ledger import Ledger
from agent.record.raw import RawFrames
from agent.record.reader import open_run
from agent.run import Session
from agent.run.estimate import expect
from agent.run.opening import open_microscope
from agent.ui.report import write_report
from agent.ui.report.picture import picture
from agent.ui.report.run_data import Run
from agent.ui.view import payloads
from agent.ui.view.reader import Reader
from agent.workers.filter_process import _Filter
from agent.workers.rebuild_process import _Rebuilder
from devices.config import MicroscopeConfig
from devices.microscope import Microscope
from tests import faulty
from tests.faulty import cli
from tests.helpers.pages import ask, run_pages
from tests.helpers.runs import checked, cut_after, mean_score, run_session

CAMERA: dict[str, Any] = {
    "cfg": "demo",
    "python_devices": {},
    "shutter": "White Light Shutter",
    "pixel_size_nm": 20,
    "exposure": {"camera_ms": 1},
    "settings": {
        "binning": {
            "device": "Camera",
            "property": "Binning",
            "kind": "choice",
            "choices": ["1", "2"],
            "start": "1",
        }
    },
    "modes": {"sted": {"binning": "1"}, "overview": {"binning": "2"}, "part": {"binning": "1"}},
    "roi": {"part": [16, 32, 128, 96]},
}
CHANNELS = {"channels": ["sted", "overview", "part"], "frames": 2}
SHAPES = [(512, 512), (256, 256), (96, 128)]


def run_of(tmp_path: Path, **parts: Any) -> Path:
    session = {"scorer": mean_score}
    parts = {"analysis": {"score": True}, "microscope": CAMERA, **parts}
    result, run = run_session(tmp_path, session=session, **parts)
    assert (result.status, result.safe) == ("completed", True), result.reason
    return run


def whole(run: Path) -> list[tuple[int, ...]]:
    """Shapes of all frames of a run, each of which is on disk pixel for pixel."""
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = [entry.data for entry in ledger.entries("frame")]
    stored = open_run(run)
    frames = [stored.frame(number) for number in range(len(rows))]
    assert [checksum(frame) for frame in frames] == [row["crc32"] for row in rows]
    return [frame.shape for frame in frames]


@pytest.mark.slow
def test_modes_have_frames_of_their_own_sizes(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan="live", live=CHANNELS)
    assert whole(run) == SHAPES * 2
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = [entry.data for entry in ledger.entries("frame")]
    assert [tuple(row["shape"]) for row in rows] == SHAPES * 2
    # Of the binned frames alone another pixel size is noted.
    assert [row.get("pixel_size_nm") for row in rows] == [None, 40, None] * 2
    images = {RAW: 0.02, "raw_256x256.ome.zarr": 0.04, "raw_96x128.ome.zarr": 0.02}
    for name, pixel_um in images.items():
        yaozarrs.validate_zarr_store(str(run / name))
        ome: Any = zarr.open_group(run / name, mode="r").attrs["ome"]
        scale = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
        assert scale[-2:] == pytest.approx([pixel_um] * 2), name
        assert zarr.open_array(run / name / "0", mode="r").shape[:3] == (2, 3, 1)
    assert {path.name for path in run.glob("*.ome.zarr")} == set(images)


@pytest.mark.slow
def test_they_are_exported_as_series_of_their_own(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan="live", live=CHANNELS)
    export(run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(tmp_path / "run.ome.tif") as tiff:
        assert sorted(one.shape[-2:] for one in tiff.series) == sorted(SHAPES)
        stated = (tiff.ome_metadata or "").split("PhysicalSizeX=")[1:]
    found = sorted(float(part.split('"')[1]) for part in stated)
    assert found == pytest.approx([0.02, 0.02, 0.04])


@pytest.mark.slow
def test_a_run_of_several_sizes_is_resumed_and_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, file, run = checked(tmp_path, plan="live", live=CHANNELS, microscope=CAMERA)
    plan = cut_after(4, KeyboardInterrupt())
    Session(config, file, run, make_plan=plan).run(lambda _: None)
    assert whole(run) == (SHAPES * 2)[:4]
    assert cli(capsys, "resume", str(run))[0] == 0
    assert whole(run) == SHAPES * 2
    assert cli(capsys, "replay", str(run))[0] == 0


def test_frames_one_after_the_other_keep_their_numbers(tmp_path: Path) -> None:
    """In each image they are at the time of their number; the others are absent there."""
    modes = {"sted": {}}
    camera = {**CAMERA, "modes": modes, "roi": {}}

    def told(config: Any) -> Any:
        from devices.shot import Shot

        for binning in ("1", "2", "2", "1"):
            yield Shot.sted(None, {"binning": binning})

    config, file, run = checked(tmp_path, plan="live", live={"frames": 4}, microscope=camera)
    Session(config, file, run, make_plan=told).run(lambda _: None)
    assert whole(run) == [(512, 512), (256, 256), (256, 256), (512, 512)]
    for name, points in ((RAW, [0, 3]), ("raw_256x256.ome.zarr", [1, 2])):
        attributes: Any = zarr.open_group(run / name, mode="r").attrs
        assert attributes["stedfast"] == {"points": points}


def test_what_is_filtered_has_one_size(tmp_path: Path) -> None:
    for microscope, said in (
        ({"modes": {"sted": {}}, "roi": {}}, "'binning' changes the size of frames"),
        ({}, "512 × 512 px in 'sted', 256 × 256 px in 'overview'"),
    ):
        parts = faulty.config(
            plan="live",
            live={"frames": 2},
            filter={"model": "actin", "modes": ["sted", *(["overview"] if not microscope else [])]},
            microscope={**CAMERA, **microscope},
        )
        file = faulty.write(tmp_path / "config.yaml", parts)
        with pytest.raises(UserError, match=said), open_microscope(load(file), file):
            pass


def shown(read: Run, index: int) -> Any:
    pixels = read.pixels(index)
    assert pixels is not None
    return pixels


@pytest.mark.slow
def test_each_frame_is_shown_at_its_own_scale(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan="live", live=CHANNELS)
    read = Run.load(run)
    assert [read.pixel_um_of(index) for index in range(3)] == pytest.approx([0.02, 0.04, 0.02])
    # Both show the same 10.24 µm.
    whole, binned = (picture(shown(read, index), read.pixel_um_of(index)) for index in (0, 1))
    assert whole.width_um == pytest.approx(binned.width_um) == pytest.approx(10.24)
    with run_pages(run) as (_, links):
        assert ask(links, "/api/state")[0] == 200
        for index, pixel in enumerate(("0.02", "0.04", "0.02")):
            assert ask(links, f"/api/frame/raw/{index}")[2]["x-pixel"] == pixel
    reader = Reader(run)
    reader.refresh()
    assert reader.course is not None
    reader.course.frames.clear()
    assert payloads.scale(reader, 1)[0] == pytest.approx(0.04), "also of one of long ago"
    write_report(run, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    # Bars of several lengths have each its own words.
    assert "Scale bars" not in html and html.count("</text></svg><figcaption>frame") == 6
    np.testing.assert_array_equal(open_run(run).frames()["pixel_size_nm"][:2], [np.nan, 40])


def test_the_disk_is_counted_by_the_frames_of_each_mode(tmp_path: Path) -> None:
    def counted(**parts: Any) -> tuple[int, Microscope]:
        parts = {"live": CHANNELS, "microscope": CAMERA, **parts}
        file = faulty.write(tmp_path / "config.yaml", faulty.config(plan="live", **parts))
        config = load(file)
        with open_microscope(config, file) as microscope:
            return expect(config, microscope).bytes or 0, microscope

    disk, microscope = counted()
    depth = microscope.frame_bytes // microscope.pixels
    assert disk == 2 * depth * sum(rows * columns for rows, columns in SHAPES)
    one = {"live": {"frames": 2, "mode": "overview"}}
    assert counted(**one)[0] == 2 * depth * 256 * 256
    filtered = counted(**one, filter={"model": "actin", "modes": ["overview"]})[0]
    assert filtered == 2 * (depth + 8) * 256 * 256
    # A person may change the binning.
    free = {"modes": {"sted": {}}, "roi": {}}
    assert counted(live={"frames": 2}, microscope={**CAMERA, **free})[0] == 2 * depth * 512 * 512


def test_what_is_made_of_frames_has_their_pixel_size(tmp_path: Path) -> None:
    run = run_of(tmp_path, plan="live", live={"frames": 1, "mode": "overview"})

    class Doubled:
        def weights_hash(self) -> str:
            return ""

        def restore(self, raw: Any) -> Any:
            made = raw.astype(np.float32)
            return SimpleNamespace(image=made, sd=made, uncertainty=0.1, device="cpu", fault=None)

    class Noted:
        def __init__(self, folder: Path) -> None:
            self.shown: list[float] = []

        def show(self, *told: Any) -> None:
            self.shown.append(told[-1]())

    filtering = _Filter(Doubled, run, By("doubled", Layout(), ("overview",)), 0.02, Noted)
    filtering.filter(0)
    assert isinstance(filtering._page, Noted) and filtering._page.shown == [0.04]
    movie = _Rebuilder(Doubled, run, [0], 1, Detector(), 0.02, 1.0, None)
    movie.keep([{"point": 0, "field": 0, "frame": 0, "kind": "measured"}])
    for image in ("filtered.ome.zarr", "reconstructed.ome.zarr"):
        ome: Any = zarr.open_group(run / image, mode="r").attrs["ome"]
        scale = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
        assert scale[-2:] == pytest.approx([0.04] * 2), image


def test_a_frame_that_was_left_without_a_row_hides_no_other(tmp_path: Path) -> None:
    large, small = np.ones((8, 8), np.uint16), np.ones((4, 4), np.uint16)
    frames = RawFrames(tmp_path, pixel_size_um=0.02)
    frames.write(0, large, Stored(RAW, (0,)))
    frames.write(1, small, Stored(RAW, (1,)))
    again = RawFrames(tmp_path, pixel_size_um=0.02)
    again.write(1, 2 * large, Stored(RAW, (1,)))
    assert again.read(1).shape == RawFrames(tmp_path, pixel_size_um=0.02).read(1).shape == (8, 8)
    assert len(list((tmp_path / "set_aside").iterdir())) == 1


def test_the_largest_frame_is_that_of_all_settings_together() -> None:
    width = {"device": "Camera", "property": "OnCameraCCDXSize", "kind": "choice"}
    settings = {
        "binning": {**CAMERA["settings"]["binning"], "start": "2"},
        "width": {**width, "choices": ["256", "512"], "start": "256"},
    }
    scope = {**CAMERA, "settings": settings, "modes": {"sted": {}}, "roi": {}}
    with Microscope.open(MicroscopeConfig.model_validate(scope)) as microscope:
        assert microscope.shapes["sted"] == (256, 128)
        assert microscope.shape == (512, 512)
