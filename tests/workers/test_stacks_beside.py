"""Runs with several channels and planes: what works beside them finds each frame at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr

from agent.record.reader import open_run
from agent.run.replay import replay
from agent.ui.view.previews import Previews
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import Work, mean_score, recorded, run_session, until

MODES = {"confocal": {"depletion_power": 0}, "sted": {}}
CHANNELS = {"channels": ["confocal", "sted"], "z": {"range": 1, "step": 1}}


def scope() -> dict[str, Any]:
    devices = faulty.config()["microscope"]["python_devices"]
    return {"modes": MODES, "python_devices": devices | {"Focus": faulty.device("Focus")}}


@pytest.mark.process
@pytest.mark.slow
def test_the_filter_reads_and_writes_each_frame_where_it_is(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its own process, with an image for each of two fields."""
    from models.restoration import Restorer

    result, run = run_session(
        tmp_path,
        session={},
        plan="timelapse",
        timelapse={"frames": 2, "interval_s": 0, "fields": 2, **CHANNELS},
        filter={"model": str(weights), "frames": "all", "modes": ["sted"]},
        microscope=scope(),
    )
    assert result.status == "completed", result.reason
    taken, restorer = recorded(run).taken, Restorer(weights, "cpu")
    sted = [index for index, one in sorted(taken.items()) if one.shot["mode"] == "sted"]
    assert len(taken) == 16 and sorted(recorded(run).filtered()) == sted
    read = open_run(run)
    for index in sted:
        expected = restorer.restore(read.frame(index))
        image, sd = read.filtered_frame(index)
        span = float(np.ptp(expected.image))
        np.testing.assert_allclose(image, expected.image, atol=1e-5 * span)
        np.testing.assert_allclose(sd, expected.sd, atol=1e-5 * span)
        # Time point, plane and field of what was filtered are those of the raw frame.
        place = taken[index].shot["stored"]
        point, _, plane = place["at"]
        image_of_field = read.filtered_image(int(place["image"].rpartition("/")[2]))
        np.testing.assert_array_equal(image_of_field[point, :, plane], [image, sd])
    for field in (0, 1):
        place = run / "filtered.ome.zarr" / str(field)
        yaozarrs.validate_zarr_store(str(place))
        group, raw = zarr.open_group(place, mode="r"), read.image(field)
        assert read.filtered_image(field).shape == raw.shape
        ome: Any = group.attrs["ome"]
        assert [one["label"] for one in ome["omero"]["channels"]] == ["sted filtered", "sted sd"]
        said: Any = group.attrs["stedfast"]
        model = {"model": str(weights), "weights_sha256": restorer.weights_hash()}
        assert said["made"] == {"filter": model} and said["raw_channels"] == [1]
        assert [mark["kind"] for mark in said["frames"]] == ["filtered"] * 4
        rows = recorded(run).filtered()
        for mark in said["frames"]:
            assert mark["uncertainty"] == rows[mark["frame"]]["uncertainty"]
    yaozarrs.validate_zarr_store(str(run / "filtered.ome.zarr"))
    with pytest.raises(FileNotFoundError, match="filtered_image"):
        _ = read.filtered
    assert replay(run).difference is None
    code, out, err = cli(capsys, "report", run, "--out", tmp_path / "report.html")
    assert code == 0, out + err
    assert "8 of 8 frames were filtered" in (tmp_path / "report.html").read_text(encoding="utf-8")
    shown = Previews(run, 0.02).make(
        "sd", sted[0], side=64, limits=None, exact=True, stack=sted[:2], projection="max"
    )
    assert shown.shape == (faulty.SIDE, faulty.SIDE)
    code, out, err = cli(capsys, "export", run, tmp_path / "f.ome.tif", "--images", "filtered")
    assert code == 0, out + err
    with tifffile.TiffFile(tmp_path / "f.ome.tif") as tiff:
        for field, series in enumerate(tiff.series):
            np.testing.assert_array_equal(series.asarray(), np.asarray(read.filtered_image(field)))
        about = str(tiff.ome_metadata)
    assert about.count("measured; filtered; uncertainty") == 8
    assert about.count("measured; sd; uncertainty") == 8 and restorer.weights_hash() in about


@pytest.mark.slow
def test_live_channels_are_told_settings_between_time_points(tmp_path: Path) -> None:
    work = Work(
        tmp_path,
        session={"scorer": mean_score},
        live={"frames": 40, "interval_s": 0.05, **CHANNELS},
        microscope=scope(),
    ).start()
    until(lambda: work.progress.frames >= 4)
    work.tell(excitation_power=9.0)
    work.tell(depletion_power=40.0)
    until(lambda: any(one.shot["settings"]["depletion_power"] == 40 for one in seen(work.run)))
    work.tell(stop=True)
    assert work.ended().status in ("stopped", "interrupted")
    last = {one.shot["mode"]: one.shot["settings"] for one in seen(work.run)}
    # A mode's pins hold, whatever is told.
    assert last["confocal"] == {"excitation_power": 9.0, "depletion_power": 0.0}
    assert last["sted"] == {"excitation_power": 9.0, "depletion_power": 40.0}
    for point in {one.shot["point"] for one in seen(work.run)}:
        told = {
            one.shot["settings"]["excitation_power"]
            for one in seen(work.run)
            if one.shot["point"] == point
        }
        assert len(told) == 1, "within a time point nothing changes"
    array = zarr.open_array(work.run / "raw.ome.zarr" / "0", mode="r")
    assert array.shape[1:3] == (2, 2)
    assert replay(work.run).difference is None


def seen(run: Path) -> list[Any]:
    return [one for _, one in sorted(recorded(run).taken.items())]
