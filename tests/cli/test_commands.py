"""The commands as a person types them, on small virtual and demo microscopes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
import zarr
from PIL import Image

from agent.cli import command
from agent.config import load
from agent.record.recording import Recording

CONFIGS = Path(__file__).parents[2] / "configs"
MOVIES = Path(__file__).resolve().parents[3] / "shared" / "data" / "movies"
SIDE = 32
SMALL = [
    "--set",
    f"microscope.virtual_sted.width_px={SIDE}",
    "--set",
    f"microscope.virtual_sted.height_px={SIDE}",
]
EVERY = ["--set", "timelapse.acquire=every"]


class Command:
    """Runs `stedfast …` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.code = 0
        self.err = ""

    def __call__(self, *words: str | Path) -> str:
        self._monkeypatch.setattr(sys, "argv", ["stedfast", *map(str, words)])
        with pytest.raises(SystemExit) as left:
            command()
        self.code = int(left.value.code or 0)
        out, self.err = self._capsys.readouterr()
        return out


@pytest.fixture
def stedfast(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.mark.parametrize("config", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_config_that_comes_along_is_valid(config: Path) -> None:
    assert load(config).microscope.pixel_size_nm == 20


@pytest.mark.process
@pytest.mark.slow
def test_optimize_from_check_to_export(stedfast: Command, tmp_path: Path) -> None:
    config, run = CONFIGS / "optimize.yaml", tmp_path / "run"
    trials = ["--set", "optimize.trials=4", "--set", "optimize.initial=3"]
    # Smaller frames are blank, and have no score that counts.
    large = (f"--set microscope.virtual_sted.{side}_px=48" for side in ("width", "height"))
    # What the engine believes of four settings takes longer to explain than all else.
    search = "optimize.search={excitation_power: [0.5, 15], depletion_power: [10, 300]}"
    small = [*" ".join(large).split(), *trials, "--set", "optimize.retest_fields=2"]
    small += ["--set", search]
    assert "ready to run" in stedfast("check", config, *small)
    out = stedfast("run", config, "--out", run, "--seed", "7", *small)
    assert stedfast.code == 0, stedfast.err
    assert "completed" in stedfast.err and "best" in out

    summary = json.loads(stedfast("show", run, "--json"))
    assert summary["status"] == "completed" and summary["simulated"] is True
    assert summary["seed"] == 7
    assert summary["frames"] == {"planned": 24, "acquired": 24, "skipped": 0, "reconstructed": 0}
    assert len(summary["trials"]) == 4
    for which in ("start", "best"):
        part = summary[which]
        # A score that is flagged does not count.
        assert part["bleaching"]["n"] == 2 and part["score"]["n"] in (1, 2)
        assert 0 <= part["score"]["mean"] <= 1
    assert summary["best"]["settings"].keys() == summary["trials"][0]["settings"].keys()
    assert summary["safe_state"]["ok"] and summary["faults"] == []
    assert 0 < summary["dose"]["budget_fraction"] < 1

    saved = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert saved["seed"] == 7 and saved["provenance"]["weights"]["quality"]
    assert "numpy" in saved["provenance"]["versions"]
    assert "24 frames gave the same 10 decisions" in stedfast("replay", run)
    assert "complete already" in (stedfast("resume", run) + stedfast.err)

    stedfast("export", run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(tmp_path / "run.ome.tif") as tiff:
        # Four trials and two tests of two settings: each on a field of its own, in two modes.
        assert len(tiff.series) == 16
        images = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]
        pixels = images[0]["Pixels"]
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.02, "µm")
        raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
        before, after = np.asarray(raw[0]), np.asarray(raw[2])
        np.testing.assert_array_equal(tiff.series[0].asarray(), np.stack([before, after]))
        np.testing.assert_array_equal(tiff.series[1].asarray().squeeze(), np.asarray(raw[1]))
    stedfast("export", run, tmp_path / "run.ome.tif")
    assert stedfast.code == 2 and "--overwrite" in stedfast.err

    rows = json.loads(stedfast("score", tmp_path / "run.ome.tif", "--series", "1", "--json"))
    assert len(rows) == 1 and rows[0]["pixel_size_from"] == "file"
    assert rows[0]["pixel_size_nm"] == pytest.approx(20)


@pytest.mark.slow
def test_dose_in_the_ledger_is_power_times_time(stedfast: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    two = ["--set", "timelapse.frames=2", "--set", "timelapse.fields=2", *EVERY]
    stedfast("run", CONFIGS / "timelapse.yaml", "--out", run, *SMALL, *two)
    assert stedfast.code == 0, stedfast.err
    dose = json.loads(stedfast("show", run, "--json"))["dose"]
    seconds = 4 * SIDE * SIDE * 10e-6
    assert dose["excitation_J"] == pytest.approx(6e-6 * seconds)
    assert dose["depletion_J"] == pytest.approx(30e-3 * seconds)


@pytest.mark.slow
def test_timelapse_keeps_its_interval_on_the_simulated_clock(
    stedfast: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    three = ["--set", "timelapse.frames=3", "--set", "timelapse.fields=1", *EVERY]
    stedfast("run", CONFIGS / "timelapse.yaml", "--out", run, *SMALL, *three)
    from agent.record.ledger import Ledger

    taken = Recording.read(Ledger(run, readonly=True)).taken
    exposure = SIDE * SIDE * 10e-6
    times = [taken[i].frame["time_s"] for i in range(3)]
    assert times == pytest.approx([exposure, 30 + exposure, 60 + exposure])


@pytest.mark.slow
def test_live_on_the_cpp_demo_camera(stedfast: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    stedfast("run", CONFIGS / "demo_camera.yaml", "--out", run, "--set", "live.frames=5")
    assert stedfast.code == 0, stedfast.err
    raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
    assert raw.shape == (5, 512, 512) and raw.dtype == np.uint16
    assert np.asarray(raw[4]).any()


@pytest.mark.skipif(not MOVIES.is_dir(), reason="no recorded movies here")
def test_a_recorded_movie_goes_through_the_whole_loop(stedfast: Command, tmp_path: Path) -> None:
    run, movie = tmp_path / "run", MOVIES / "mitosis_C1.tif"
    changes = [f"microscope.replay.file={movie}", "live.frames=4"]
    stedfast(
        "run", CONFIGS / "replay.yaml", "--out", run, *(w for c in changes for w in ("--set", c))
    )
    assert stedfast.code == 0, stedfast.err
    raw = np.asarray(zarr.open_array(run / "raw.ome.zarr" / "0", mode="r"))
    np.testing.assert_array_equal(raw, tifffile.imread(movie)[:4])
    assert json.loads(stedfast("show", run, "--json"))["score"]["n"] > 0


def test_devices_lists_and_writes_a_config_that_checks(stedfast: Command, tmp_path: Path) -> None:
    starter = tmp_path / "my.yaml"
    listed = json.loads(stedfast("devices", "demo", "--json"))
    camera = next(device for device in listed if device["label"] == "Camera")
    assert camera["library"] == "DemoCamera"
    assert any(prop["limits"] for prop in camera["properties"])
    stedfast("devices", "demo", "--write", starter)
    assert "# check:" in starter.read_text(encoding="utf-8")
    assert "ready to run" in stedfast("check", starter)
    stedfast("devices", "demo", "--write", starter)
    assert stedfast.code == 2 and "is there already" in stedfast.err


@pytest.mark.slow
def test_score_refuses_what_is_no_image(stedfast: Command, tmp_path: Path) -> None:
    noise = tmp_path / "noise.tif"
    noise.write_bytes(b"not a tiff")
    for file in (noise, tmp_path / "missing.tif"):
        stedfast("score", file)
        assert stedfast.code == 2 and file.name in stedfast.err
        assert len(stedfast.err.strip().splitlines()) <= 3
    good = tmp_path / "good.tif"
    tifffile.imwrite(good, np.random.default_rng(0).poisson(3, (64, 64)).astype(np.uint16))
    stedfast("score", good, "--pixel-size", "-3")
    assert stedfast.code == 2 and "--pixel-size" in stedfast.err
    stedfast("score", good, "--weights", tmp_path / "none.safetensors")
    assert stedfast.code == 2 and "none.safetensors: no such file" in stedfast.err
    stedfast("score", good, good, "--heatmap", tmp_path / "heat.png")
    assert stedfast.code == 2 and "found 2 files; accepted: one" in stedfast.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frame", "code", "said"),
    [
        (np.full((64, 64), 9, np.uint8), 0, "0.000 ± 0.000"),
        (np.full((64, 64), np.nan, np.float32), 2, "4096 values not finite"),
        (np.zeros((1, 1), np.uint8), 2, "accepted: at least 320 nm"),
        (np.zeros((64, 64), np.complex64), 2, "accepted: real numbers"),
        (np.zeros((64, 64, 3), np.uint8), 2, "a colour image"),
        (np.random.default_rng(0).normal(-5, 1, (64, 64)), 0, "flagged: blank"),
        (np.random.default_rng(0).poisson(1.0, (2, 1, 5, 64, 64)).astype("u1"), 0, "[9]"),
    ],
    ids=["constant", "nan", "1x1", "complex", "rgb", "negative float64", "5-D 8-bit"],
)
def test_no_frame_is_scored_without_a_word(
    stedfast: Command, tmp_path: Path, frame: Any, code: int, said: str
) -> None:
    file = tmp_path / "frame.tif"
    photometric = "rgb" if frame.shape[-1] == 3 else "minisblack"
    tifffile.imwrite(file, frame, photometric=photometric)
    out = stedfast("score", file)
    assert stedfast.code == code
    assert said in out + stedfast.err
    if code == 0:
        assert "flagged: blank" in out and "20 nm was assumed" in stedfast.err


@pytest.mark.slow
def test_score_draws_what_drives_it(stedfast: Command, tmp_path: Path) -> None:
    frame = np.random.default_rng(0).poisson(3, (100, 230)).astype(np.uint16)
    file, picture = tmp_path / "frame.tif", tmp_path / "heat.png"
    tifffile.imwrite(file, frame, resolution=(1e7 / 15, 1e7 / 15), resolutionunit="CENTIMETER")
    out = stedfast("score", file, "--heatmap", picture, "--json")
    (row,) = json.loads(out)
    assert row["pixel_size_nm"] == pytest.approx(15) and row["sd"] > 0
    assert row["flags"] == ["blank"]
    with Image.open(picture) as drawn:
        assert drawn.size[0] > 800 and len(np.unique(np.asarray(drawn.convert("L")))) > 50


@pytest.mark.slow
def test_simulate_and_train_a_quality_network(stedfast: Command, tmp_path: Path) -> None:
    data, weights = tmp_path / "data", tmp_path / "mine"
    asked = ("--frames", "10", "--seed", "3", "--workers", "1")
    stedfast("simulate", "quality", data, "--set", "robitaille", *asked)
    assert stedfast.code == 0
    config = CONFIGS / "quality" / "robitaille.yaml"
    tiny = "{network: robitaille, channels: [2, 2, 2, 2, 2, 2], hidden: 4}"
    words = ["--set", f"architecture={tiny}", "--set", "epochs=2", "--set", "column=rating"]
    out = stedfast("train", "quality", config, "--data", data, "--out", weights, *words)
    assert stedfast.code == 0, stedfast.err
    assert "validation: 1 frames, RMSE" in out and "mine.safetensors" in out
    card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["recipe"]["column"] == "rating" and card["training"]["epochs"] == 2
    with Image.open(weights.with_suffix(".png")) as picture:
        assert picture.size[0] > 800
    frame = data / "00000.tif"
    (row,) = json.loads(
        stedfast("score", frame, "--weights", tmp_path / "mine.safetensors", "--json")
    )
    assert 0 <= row["score"] <= 1

    stedfast("simulate", "quality", data, "--set", "actn")
    assert stedfast.code == 2 and "accepted: training, actin" in stedfast.err
    for wrong, said in (
        (["--set", "epocs=3"], "did you mean `epochs`?"),
        (["--set", "epochs=0"], "`epochs`"),
        (["--set", "start_from=shipped"], "one of `architecture` and `start_from`"),
        (["--set", "architecture={network: resnet}"], "accepted: stedfast, robitaille"),
        (
            ["--data", tmp_path / "none"],
            "none: no such folder or file; accepted: folder with frames.csv",
        ),
    ):
        places = ("--data", data, "--out", weights, "--overwrite")
        stedfast("train", "quality", config, *places, *map(str, wrong))
        assert stedfast.code == 2 and said in stedfast.err, stedfast.err
    stedfast("train", "quality", config, "--data", data, "--out", weights)
    assert stedfast.code == 2 and "--overwrite replaces it" in stedfast.err
    stedfast("train", "quality", config)
    assert stedfast.code == 2 and "`data`: missing" in stedfast.err
    stedfast("train", "quality", config, "--data", tmp_path / "none")
    assert stedfast.code == 2 and "none: no such folder or file" in stedfast.err
    assert "frames ━" not in stedfast.err and len(stedfast.err.splitlines()) == 1


@pytest.mark.process
@pytest.mark.slow
def test_bench_prints_checks_computed_from_its_figures(
    stedfast: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_QUICK_FRAMES", 20), ("_SIDE", 64)):
        monkeypatch.setattr(f"agent.bench.loop.{name}", value)
    monkeypatch.setattr("agent.bench.stacks._QUICK_STACKS", 1)
    data: dict[str, Any] = json.loads(
        stedfast("bench", "loop", "--quick", "--seeds", "1", "--json")
    )
    assert data["quick"] and data["versions"]["numpy"]
    for check in data["checks"]:
        assert {"name", "value", "target", "unit", "holds"} <= set(check)
        assert check["holds"] == (check["value"] <= check["target"])
    stedfast("bench", "lop")
    assert stedfast.code == 2 and "did you mean `loop`?" in stedfast.err
    assert len(stedfast.err) < 250
