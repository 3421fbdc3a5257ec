"""Runs as arrays and tables: what the ledger and the images say, and nothing else."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest

from agent.config.reading import UserError
from agent.record.reader import StoredRun, open_run
from tests.helpers.runs import recorded

PACKED = Path(__file__).parents[1] / "old_runs"


def unpacked(name: str, folder: Path) -> StoredRun:
    with ZipFile(PACKED / f"{name}.zip") as packed:
        packed.extractall(folder)
    return open_run(folder)


def test_a_search_is_read_as_tables(tmp_path: Path) -> None:
    run = unpacked("optimize", tmp_path)
    ledger = recorded(tmp_path)
    frames, trials = run.frames(), run.trials()
    assert {len(column) for column in frames.values()} == {len(run)} == {len(ledger.taken)}
    scored = [number for number, taken in sorted(ledger.taken.items()) if taken.score is not None]
    assert np.flatnonzero(np.isfinite(frames["score"])).tolist() == scored
    assert frames["dose_J.depletion"].sum() == pytest.approx(run.summary["dose"]["depletion_J"])
    assert frames["frame"].dtype == np.int64 and set(frames["mode"]) == {"sted", "confocal"}
    notes = run.notes("trial")
    assert trials["trial"].tolist() == list(range(1, len(notes) + 1))
    assert trials["settings.depletion_power"].tolist() == [
        note["settings"]["depletion_power"] for note in notes
    ]
    assert trials["score"].tolist() == [note["objectives"]["score"] for note in notes]
    for index in (0, len(run) - 1):
        assert np.array_equal(run.frame(index), run.raw[index])
    with pytest.raises(IndexError, match=f"frames 0 to {len(run) - 1}"):
        run.frame(len(run))
    with pytest.raises(FileNotFoundError, match="no filtered"):
        _ = run.filtered


def test_what_was_filtered_and_rebuilt_is_read(tmp_path: Path) -> None:
    live = unpacked("live", tmp_path / "live")
    known = np.isfinite(live.frames()["uncertainty"])
    assert known.any()
    for index in np.flatnonzero(known):
        assert np.isfinite(live.filtered[index]).all()
    lapse = unpacked("timelapse", tmp_path / "lapse")
    for mark in lapse.marks():
        if mark["kind"] == "measured":
            movie = lapse.reconstructed[mark["point"], mark["field"]]
            assert np.array_equal(movie, lapse.frame(mark["frame"]))


def test_a_run_without_frames_and_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.yaml"):
        open_run(tmp_path)
