"""What `stedfast bench imspector` compares, and that it sees what goes wrong."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("specpy")

from agent.bench.imspector import results
from agent.bench.imspector.client import specpy_of
from agent.bench.imspector.driven import drive
from agent.bench.imspector.scans import pattern
from agent.bench.imspector.server import FakeImspector
from agent.config import load
from devices.config import MicroscopeConfig
from devices.microscope import Microscope
from devices.shot import Shot
from tests.faulty import cli
from tests.helpers.imspector import take


def test_the_noise_is_that_of_the_difference_of_two_means() -> None:
    assert results.apart([0.50, 0.52, 0.54], [0.51, 0.53, 0.55]) < 2
    assert results.apart([0.50, 0.52, 0.54], [0.60, 0.62, 0.64]) > 2
    assert results.apart([], [0.5]) == results.apart([0.4], [0.5]) == math.inf
    assert results.apart([0.5], [0.5]) == 0


@pytest.mark.slow
def test_a_laser_that_is_out_of_tune_gives_another_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEDFAST_STATE", str(tmp_path))
    monkeypatch.setattr(results, "_SIDE", 32)

    def frame(server: FakeImspector | None = None) -> Any:
        data = results.config_of("timelapse", 1, quick=True, through=server is not None)
        config = MicroscopeConfig.model_validate(data["microscope"])
        with (
            specpy_of(server) if server is not None else nullcontext(),
            Microscope.open(config, seed=1) as microscope,
        ):
            return take(microscope, Shot.sted(microscope.fields[1], {"dwell_time": 20}))

    direct = frame()
    assert direct.max() > 10
    assert np.array_equal(frame(results.double("timelapse", 1)), direct)
    assert not np.array_equal(frame(results.double("timelapse", 1, share=0.9)), direct)


def test_a_frame_with_another_power_than_its_row_is_counted(tmp_path: Path) -> None:
    """The server says that it has what it was asked for, and scans at something else."""
    server = FakeImspector(
        pixels=lambda values, channel, shape: pattern(values, channel, shape) + 5
    )
    ran = drive(server, tmp_path / "run", 2)
    assert ran.result.status == "completed" and ran.untrue == ran.frames == 2


@pytest.mark.slow
def test_a_scan_that_runs_against_its_stage_is_calibrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Imspector's does along x, unless it is told otherwise."""
    monkeypatch.setenv("STEDFAST_STATE", str(tmp_path))
    against = {"structure": "tubulin", "stage_mirrored": True, "stage_rotation_deg": 180}
    monkeypatch.setattr(results, "_SAMPLES", {"timelapse": against})
    file = tmp_path / "config.yaml"
    data = results.config_of("timelapse", 1, quick=True, through=True)
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    with specpy_of(results.double("timelapse", 1)):
        code, _, said = cli(
            capsys, "calibrate", file, "--mode", "confocal", "--out", tmp_path / "moves"
        )
    assert code == 0, said
    affine = load(file).microscope.affine
    assert affine == pytest.approx((-0.02, 0, 0, 0, 0.02, 0), abs=0.001)
