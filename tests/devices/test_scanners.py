"""Scanners as cameras: how long light is on follows from their settings."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import tifffile
from pydantic import ValidationError

from agent.config import load
from agent.offline.files.export import export
from agent.optimizer.memory.control import obstacle
from agent.record.ledger import Ledger
from devices.config import MicroscopeConfig
from devices.dwell import dwell_s
from devices.errors import BindingError
from devices.microscope import Microscope
from devices.shot import Shot
from tests import faulty
from tests.doubles import openscan
from tests.faulty import cli
from tests.helpers.runs import mean_score, recorded, run_session


def lsm(prop: str, **setting: Any) -> dict[str, Any]:
    return {"device": "OSc-LSM", "property": prop, **setting}


SETTINGS: dict[str, Any] = {
    "rate": lsm(
        "LSM-PixelRateHz",
        unit="Hz",
        kind="choice",
        choices=["1000000.0000", "1250000.0000"],
        start="1250000.0000",
    ),
    "resolution": lsm("LSM-Resolution", kind="choice", choices=["256"], start="256"),
    "zoom": lsm("LSM-ZoomFactor", range=[0.5, 20], start=2),
    "power": {
        "device": "Laser",
        "property": "Power_mW",
        "unit": "mW",
        "range": [0, 300],
        "start": 5,
        "safe": 0,
        "laser": "excitation",
    },
}
SCOPE: dict[str, Any] = {
    "python_devices": {
        "OSc-LSM": {"class": "tests.doubles.openscan:Lsm"},
        "OSc-Magnifier": {"class": "tests.doubles.openscan:Magnifier"},
        "Laser": faulty.device("Laser"),
        "Shutter": faulty.device("Shutter"),
        "Stage": faulty.device("Stage"),
    },
    "pixel_size_nm": 100,
    "exposure": {"dwell_time": "rate", "resolution": "resolution"},
    "settings": SETTINGS,
}


def scope(**changes: Any) -> MicroscopeConfig:
    settings = {**SETTINGS, **changes.pop("settings", {})}
    return MicroscopeConfig.model_validate({**SCOPE, "settings": settings, **changes})


@pytest.mark.parametrize(
    ("value", "unit", "seconds"),
    [
        (10, "µs", 1e-5),
        (50000, "Hz", 2e-5),
        ("50000.0000", "Hz", 2e-5),
        (2, "MHz", 5e-7),
        ("100", "kHz", 1e-5),
        ("2.00 us", "", 2e-6),
        ("4 μs/px", "", 4e-6),
        ("1.25 MHz", "Hz", 8e-7),
        ("1e5 hz", "", 1e-5),
    ],
)
def test_dwell_times_and_rates(value: float | str, unit: str, seconds: float) -> None:
    assert dwell_s(value, unit) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (10, "", "'10' is neither a time (s, ms, µs, us, ns) nor a rate (Hz, kHz, MHz)"),
        (10, "mW", "'10 mW' is neither"),
        ("fast", "Hz", "'fast' is not a number with a unit"),
        (0, "Hz", "a rate must be above 0"),
        ("-2 us", "", "is neither"),
    ],
)
def test_what_is_no_dwell_time(value: float | str, unit: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        dwell_s(value, unit)


def test_the_dose_follows_rate_and_resolution() -> None:
    settings = {"resolution": {**SETTINGS["resolution"], "choices": ["256", "1024"]}}
    config = scope(settings=settings)
    at = {**config.start(), "power": 10.0}
    assert config.dose_j(at, 1)["excitation"] == pytest.approx(0.01 * 256**2 / 1.25e6)
    slow = {**at, "rate": "1000000.0000", "resolution": "1024"}
    assert config.dose_j(slow, 1)["excitation"] == pytest.approx(0.01 * 1024**2 / 1e6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"settings": {"rate": {**SETTINGS["rate"], "unit": "lines"}}},
            "`settings.rate.choices`: is the dwell time, and '1000000.0000 lines' is neither",
        ),
        (
            {"settings": {"rate": lsm("LSM-PixelRateHz", unit="Hz", range=[0, 9], start=1)}},
            "`settings.rate.range`: is the dwell time, and 0.0: a rate must be above 0",
        ),
        (
            {
                "settings": {
                    "resolution": {**SETTINGS["resolution"], "choices": ["low"], "start": "low"}
                }
            },
            "`settings.resolution`: is a number of lines",
        ),
        ({"exposure": {"dwell_time": "rate", "resolution": "res"}}, "`exposure.resolution`: no"),
        ({"exposure": {"camera_ms": 1, "resolution": "resolution"}}, "needs `dwell_time`"),
    ],
)
def test_a_scanner_that_is_configured_wrong(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        scope(**changes)
    assert said in str(refused.value)


def test_frames_are_of_the_size_that_the_start_says() -> None:
    """The scanner comes up with another one."""
    with Microscope.open(scope()) as microscope:
        assert microscope.shape == (256, 256)
        shot = Shot("sted")
        microscope.core.mda.run(iter([microscope.event(shot, 0)]))
        got = microscope.received(microscope.settings(shot))
    assert got.expected_s == pytest.approx(256**2 / 1.25e6)
    assert openscan.made[-1].took[-1] == ("1250000.0000", "256", 2.0)


def test_a_resolution_that_is_another_property_is_refused() -> None:
    other = {
        "resolution": lsm("LSM-ZoomFactor", kind="integer", range=[1, 2], start=1),
        "zoom": lsm("LSM-Resolution", kind="choice", choices=["256"], start="256"),
    }
    with pytest.raises(BindingError) as refused, Microscope.open(scope(settings=other)):
        pass
    assert refused.value.path == ("exposure", "resolution")
    assert "'resolution' is 1, and frames are 256 × 256 px" in str(refused.value)


SIZES = {"resolution": {**SETTINGS["resolution"], "choices": ["256", "512"]}}


def test_a_resolution_changes_the_size_of_frames() -> None:
    with Microscope.open(scope(settings=SIZES)) as microscope:
        assert microscope.sizing == ("resolution",)
        assert (microscope.shape, microscope.shapes["sted"]) == ((512, 512), (256, 256))
        assert microscope.frame_bytes == 2 * 512 * 512


def test_simulated_sessions_say_nothing_about_a_rate() -> None:
    assert "a rate" in str(obstacle_of({"laser": "depletion"}))
    assert "pixels of one size" in str(
        obstacle_of({"laser": "depletion"}, rate={**SETTINGS["rate"], "unit": "ns"})
    )


def obstacle_of(depletion: dict[str, Any], **settings: Any) -> str | None:
    power = {**SETTINGS["power"], "device": "Other", **depletion}
    config = scope(settings={"depletion": power, **settings})
    return obstacle(config, ["power", "rate", "resolution"])


@pytest.mark.slow
def test_optimize_tunes_a_scanner(tmp_path: Path) -> None:
    """Its rate, resolution and zoom, with nothing written for it; the dose is each frame's own."""
    result, run = run_session(
        tmp_path,
        session={"scorer": mean_score},
        plan="optimize",
        analysis={"score": True},
        optimize={
            "trials": 4,
            "engine": "sobol",
            "retest_fields": 1,
            "search": {
                "rate": list(SETTINGS["rate"]["choices"]),
                "resolution": ["256", "512"],
                "zoom": [1, 8],
            },
        },
        microscope={
            **SCOPE,
            "settings": {**SETTINGS, **SIZES},
            "fields": {"rows": 3, "columns": 4},
            "modes": {"sted": {}, "confocal": {"power": 1}},
        },
    )
    assert (result.status, result.safe) == ("completed", True), result.reason
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = [entry.data for entry in ledger.entries("frame")]
    took = openscan.made[-1].took[1:]  # one in the dark
    assert [(row["settings"]["rate"], row["settings"]["zoom"]) for row in rows] == [
        (rate, pytest.approx(zoom)) for rate, _, zoom in took
    ]
    assert {rate for rate, _, _ in took} == set(SETTINGS["rate"]["choices"])
    for row, (rate, resolution, zoom) in zip(rows, took, strict=True):
        # The config's is that at the start, 256 pixels and a zoom of 2.
        assert row["shape"] == [int(resolution)] * 2
        size_nm = 100 * 2 / zoom * 256 / int(resolution)
        assert row.get("pixel_size_nm", 100) == pytest.approx(size_nm)
        assert row["expected_s"] == pytest.approx(int(resolution) ** 2 / float(rate))
        watts = 1e-3 * row["settings"]["power"]
        assert row["dose_J"]["excitation"] >= watts * row["expected_s"]
    assert any(note["topic"] == "recommendation" for note in recorded(run).notes)
    # A zoom changes the size of pixels alone: frames of one size are several series by it.
    export(run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(tmp_path / "run.ome.tif") as tiff:
        stated = re.findall(r'PhysicalSizeX="([^"]+)"', tiff.ome_metadata or "")
    assert {round(float(um), 9) for um in stated} == {
        round(row.get("pixel_size_nm", 100) * 1e-3, 9) for row in rows
    }


def test_a_starter_config_of_a_scanner_needs_nothing_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = faulty.write(tmp_path / "source.yaml", faulty.config(microscope={**SCOPE}))
    code, _, err = cli(capsys, "devices", source, "--write", tmp_path / "my.yaml")
    assert code == 0, err
    config = load(tmp_path / "my.yaml").microscope
    assert (config.exposure.dwell_time, config.exposure.resolution) == ("dwell_time", "resolution")
    rate, lines = config.settings["dwell_time"], config.settings["resolution"]
    assert (rate.property, rate.unit, rate.choices) == ("LSM-PixelRateHz", "Hz", openscan.RATES)
    assert (lines.property, lines.choices) == ("LSM-Resolution", openscan.RESOLUTIONS)
    code, out, err = cli(capsys, "check", tmp_path / "my.yaml")
    assert code == 0, err
    assert "512 × 512 px" in out and f"light on for {20 * 512**2 / 5e5:.3g} s" in " ".join(
        out.split()
    )
    # Its light sources stand among them, for whoever takes the comment marks away.
    text = (tmp_path / "my.yaml").read_text("utf-8")
    (tmp_path / "lit.yaml").write_text(text.replace("  #   ", "    "), encoding="utf-8")
    assert load(tmp_path / "lit.yaml").microscope.lasers == ("Laser",)
