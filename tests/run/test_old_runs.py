"""Runs that an earlier version left are shown, reported, exported, replayed and continued."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from agent.record.folder import read_config
from agent.record.recording import Recording
from agent.run import Session
from agent.run.replay import replay
from tests.doubles.interpolators import Blend
from tests.doubles.restorers import Doubling
from tests.faulty import cli
from tests.helpers.runs import assert_left_well, frames_in, mean_score, recorded, show

PACKED = Path(__file__).parents[1] / "old_runs"
RUNS: dict[str, dict[str, Any]] = {
    "optimize": {"scorer": mean_score},
    "live": {"restore": Doubling()},
    "timelapse": {"interpolate": Blend()},
}


@pytest.fixture(params=RUNS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / str(request.param)
    with zipfile.ZipFile(PACKED / f"{request.param}.zip") as packed:
        packed.extractall(folder)
    return folder


def assert_read(capsys: pytest.CaptureFixture[str], run: Path, out: Path) -> Recording:
    """Every command that reads a run reads this one."""
    found = recorded(run)
    frames = len(found.taken)
    summary = show(capsys, run)
    assert summary["frames"]["acquired"] == frames == len(frames_in(run))
    code, _, err = cli(capsys, "report", run, "--out", out / "report.html")
    assert code == 0, err
    assert run.name in (out / "report.html").read_text(encoding="utf-8")
    code, said, err = cli(capsys, "replay", run, "--json")
    assert code == 0, err
    replayed = json.loads(said)
    assert replayed["difference"] is None
    assert (replayed["frames"], replayed["notes"]) == (frames, len(found.notes))
    code, _, err = cli(capsys, "export", run, out / "run.ome.tif", "--overwrite")
    assert code == 0, err
    return found


@pytest.mark.process
@pytest.mark.slow
def test_an_old_run_is_read_and_gone_on_with(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = assert_read(capsys, run, tmp_path)
    assert show(capsys, run)["status"] == "stopped"

    # Its plan has to decide as it did then, or it would not get past the stored frames.
    result = Session(read_config(run), run / "config.yaml", run, **RUNS[run.name]).run()
    assert (result.status, result.safe) == ("completed", True), result.reason
    assert_left_well(capsys, run, "completed")

    after = assert_read(capsys, run, tmp_path)
    assert len(after.taken) > len(before.taken)
    assert after.notes[: len(before.notes)] == before.notes
    for index, taken in before.taken.items():
        assert (after.taken[index].shot, after.taken[index].frame) == (taken.shot, taken.frame)


def test_a_replay_of_an_old_run_still_compares(run: Path) -> None:
    chunk = run / "raw.ome.zarr" / "0" / "c" / "3" / "0" / "0"
    chunk.write_bytes(bytes(reversed(chunk.read_bytes())))
    found = replay(run).difference
    assert found is not None
    assert (found.frame, found.key) == (3, "crc32")
