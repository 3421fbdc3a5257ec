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
from tests.helpers.runs import cut_after, recorded, run_session

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
        if annotation["Namespace"] == "stedfast/settings"
    ]
    assert said[0]["excitation_power"] == "5.0 mW"
    assert said[0]["depletion_power"] == "100.0 mW (T 0 to 1); 40.0 mW (T 2 to 2)"
    assert said[1]["depletion_power"] == "0.0 mW"
    # 20 nm are 500,000 pixels a centimetre, for those who read no OME.
    assert resolution[0][0] / resolution[0][1] == pytest.approx(500_000)
    assert resolution[1] == tifffile.RESUNIT.CENTIMETER


@pytest.mark.parametrize(("fields", "slow"), [(1, False), (3, False), (1, True)])
def test_no_false_time_scale(fields: int, slow: bool, tmp_path: Path) -> None:
    """A time axis has a scale where the time points of its field came at the same intervals."""
    camera = {"frame_s": 0.3, "slow_from": 1, "slow_to": 2} if slow else {}
    result, run = run_session(
        tmp_path,
        session={},
        plan="timelapse",
        timelapse={"frames": 4, "interval_s": 0.1 if slow else 0.4, "fields": fields},
        camera={"options": camera},
    )
    assert result.status == "completed", result.reason
    raw = run / "raw.ome.zarr"
    for field, image in enumerate([raw] if fields == 1 else [raw / str(i) for i in range(fields)]):
        ome: Any = zarr.open_group(image, mode="r").attrs["ome"]
        (multiscale,) = ome["multiscales"]
        axis = multiscale["axes"][0]
        scale, _ = multiscale["datasets"][0]["coordinateTransformations"]
        times = [one.frame["time_s"] for _, one in sorted(recorded(run).taken.items())]
        steps = np.diff(times[field::fields])
        if not slow and np.ptp(steps) < 0.08 * steps.mean():  # unless the machine is busy
            assert axis["unit"] == "second"
            assert scale["scale"][0] == pytest.approx(steps.mean())
        elif slow:
            assert "unit" not in axis and scale["scale"][0] == 1


@pytest.mark.slow
def test_a_field_with_channels_and_planes_is_a_series(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A time point that was left halfway is not lost."""
    devices = faulty.config()["microscope"]["python_devices"]
    result, run = run_session(
        tmp_path,
        session={"make_plan": cut_after(27)},
        plan="timelapse",
        timelapse={
            "frames": 3,
            "interval_s": 0,
            "fields": 2,
            "channels": ["confocal", "sted"],
            "z": {"range": 1, "step": 0.5},
        },
        microscope={
            "modes": MODES,
            "python_devices": devices | {"Focus": faulty.device("Focus", z_um=10.0)},
        },
    )
    assert result.status == "failed"
    images, pixels, ome, _ = exported(capsys, run, tmp_path / "run.ome.tif")
    assert [image["Name"] for image in images] == [
        "run, field 0",
        "run, field 1",
        "run, field 0, confocal, time point 2",
    ]
    assert [series.shape[:3] for series in pixels[:2]] == [(2, 2, 3), (2, 2, 3)]
    taken = recorded(run).taken
    for index, one in taken.items():
        image, at = one.shot["stored"]["image"], one.shot["stored"]["at"]
        stored = zarr.open_array(run / image / "0", mode="r")[tuple(at)]
        if at[0] < 2:
            np.testing.assert_array_equal(pixels[int(image[-1])][tuple(at)], stored)
        else:
            np.testing.assert_array_equal(pixels[2][index - 24], stored)
    first = images[0]["Pixels"]
    assert (first["PhysicalSizeZ"], first["PhysicalSizeZUnit"]) == (0.5, "µm")
    assert [channel["Name"] for channel in first["Channel"]] == ["confocal", "sted"]
    plane = first["Plane"][5]
    assert (plane["TheT"], plane["TheC"], plane["TheZ"]) == (0, 1, 2)
    assert (plane["PositionX"], plane["PositionZ"]) == (taken[0].shot["field"]["x_um"], 10.5)
    assert plane["DeltaT"] == pytest.approx(taken[5].frame["time_s"])
    said = ome["StructuredAnnotations"]["MapAnnotation"][0]["Value"]["M"]
    assert {"K": "confocal.depletion_power", "value": "0.0 mW"} in said


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
