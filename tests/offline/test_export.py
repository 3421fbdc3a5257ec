"""The OME-TIFF of a run: a series for each field and mode, with what its frames were taken at."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from agent.plan import Plan
from devices.shot import Field, Shot
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import recorded, run_session

LEFT, RIGHT = Field(0, -5.0, 2.0), Field(1, 5.0, 2.0)
MODES = {"sted": {}, "confocal": {"depletion_power": 0}}


def visits(config: object) -> Plan:
    """Two fields in two modes, three times; the depletion is turned down for the last."""
    for number in range(3):
        for place in (LEFT, RIGHT):
            power = 100.0 if number < 2 else 40.0
            yield Shot.sted(place, {"depletion_power": power})
            yield Shot.confocal(place)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result, run = run_session(
        tmp_path_factory.mktemp("export"),
        session={"make_plan": visits},
        microscope={"modes": MODES},
    )
    assert result.status == "completed", result.reason
    return run


def exported(capsys: pytest.CaptureFixture[str], run: Path, out: Path) -> Any:
    code, _, err = cli(capsys, "export", run, out)
    assert code == 0, err
    with tifffile.TiffFile(out) as tiff:
        ome = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]
        pixels = [series.asarray() for series in tiff.series]
        tags = tiff.pages[0].tags
        resolution = tags["XResolution"].value, tags["ResolutionUnit"].value
    images = ome["Image"]
    return images if isinstance(images, list) else [images], pixels, ome, resolution


def test_each_field_and_mode_is_a_series_with_what_it_was_taken_at(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, pixels, ome, resolution = exported(capsys, run, tmp_path / "run.ome.tif")
    names = [image["Name"] for image in images]
    assert names == [
        f"run, field {field}, {mode}" for field in (0, 1) for mode in ("sted", "confocal")
    ]
    raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
    taken = recorded(run).taken
    born = recorded(run).sessions[0]["at"]
    for at, image in enumerate(images):
        indices = [at, at + 4, at + 8]
        np.testing.assert_array_equal(pixels[at], np.stack([raw[i] for i in indices]))
        assert image["Pixels"]["SizeT"] == 3
        assert datetime.fromisoformat(image["AcquisitionDate"]) == datetime.fromisoformat(born)
        for plane, index in zip(image["Pixels"]["Plane"], indices, strict=True):
            assert plane["DeltaT"] == pytest.approx(taken[index].frame["time_s"])
            assert (plane["ExposureTime"], plane["ExposureTimeUnit"]) == (0.01, "s")
            assert (plane["PositionX"], plane["PositionY"]) == ((-5, 2) if at < 2 else (5, 2))
            assert plane["PositionXUnit"] == "µm"
        assert image["Pixels"]["Channel"]["Name"] == ("sted", "confocal")[at % 2]
    said = [
        {pair["K"]: pair["value"] for pair in annotation["Value"]["M"]}
        for annotation in ome["StructuredAnnotations"]["MapAnnotation"]
    ]
    assert said[0]["excitation_power"] == "5.0 mW"
    assert said[0]["depletion_power"] == "100.0 mW (T 0 to 1); 40.0 mW (T 2 to 2)"
    assert said[1]["depletion_power"] == "0.0 mW"
    # 20 nm are 500,000 pixels a centimetre, for those who read no OME.
    assert resolution[0][0] / resolution[0][1] == pytest.approx(500_000)
    assert resolution[1] == tifffile.RESUNIT.CENTIMETER


@pytest.mark.parametrize(("fields", "scaled"), [(1, True), (3, False), (1, False)])
def test_no_false_time_scale(fields: int, scaled: bool, tmp_path: Path) -> None:
    """Of several fields, and of frames that did not come at the same intervals."""
    camera = {} if scaled or fields > 1 else {"frame_s": 0.3, "slow_from": 1, "slow_to": 2}
    result, run = run_session(
        tmp_path,
        session={},
        plan="timelapse",
        timelapse={"frames": 4, "interval_s": 0.4 if scaled else 0.1, "fields": fields},
        camera={"options": camera},
    )
    assert result.status == "completed", result.reason
    ome: Any = zarr.open_group(run / "raw.ome.zarr", mode="r").attrs["ome"]
    (multiscale,) = ome["multiscales"]
    axis = multiscale["axes"][0]
    (scale,) = multiscale["datasets"][0]["coordinateTransformations"]
    times = np.array([taken.frame["time_s"] for taken in recorded(run).taken.values()])
    even = np.ptp(np.diff(times)) < 0.08 * np.diff(times).mean()
    if scaled and even:  # a busy machine may have kept it from that
        assert axis["unit"] == "second"
        assert scale["scale"][0] == pytest.approx(np.diff(times).mean())
    elif not scaled:
        assert "unit" not in axis and scale["scale"][0] == 1


@pytest.mark.parametrize("damage", ["missing", "cut", "changed"])
def test_a_damaged_frame_is_named_and_nothing_is_exported(
    damage: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    chunk = copy / "raw.ome.zarr" / "0" / "c" / "6" / "0" / "0"
    if damage == "missing":
        chunk.unlink()
    elif damage == "cut":
        chunk.write_bytes(chunk.read_bytes()[:100])
    else:
        chunk.write_bytes(bytes(2 * faulty.SIDE**2))
    code, _, err = cli(capsys, "export", copy, tmp_path / "run.ome.tif")
    assert code == 2 and "frame 6" in err and "Traceback" not in err, err
    assert [file.name for file in tmp_path.iterdir()] == ["run"]
