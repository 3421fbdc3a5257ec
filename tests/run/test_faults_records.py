"""Disks that fail, and records from which a run continues to the same end; replay sees changes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from agent.config import RunConfig, load
from agent.plan import Plan
from agent.plans.build import build_plan
from agent.record.folder import new_folder, read_config
from agent.record.images import ImageStore
from agent.record.ledger import Ledger
from agent.run import Result, Session
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import (
    assert_left_well,
    checked,
    cut_after,
    fails_at,
    frames_in,
    mean_score,
    posix,
    recorded,
    resume,
    run_session,
    show,
)

ROOT = faulty.ROOT

# ---------------------------------------------------------------------- disk


@pytest.mark.slow
def test_disk_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ImageStore.write

    stored = 0

    def full(store: ImageStore, *given: Any) -> None:
        nonlocal stored
        if stored >= 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(store, *given)
        stored += 1

    monkeypatch.setattr(ImageStore, "write", full)
    result, run = run_session(tmp_path, session={}, faults={"retries": 3})
    assert result.status == "failed"
    summary = assert_left_well(capsys, run, "failed", acquired=6)
    assert os.strerror(errno.ENOSPC) in summary["reason"]
    monkeypatch.undo()
    resume(capsys, run, 20)


@posix
def test_image_folder_becomes_unwritable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with suppress(OSError):
        (closed / "file").touch()
        pytest.skip("this user may write anywhere")

    config, file, run = checked(tmp_path)
    write, stored = ImageStore.write, 0

    def allow(mode: int) -> None:
        for folder in (run / "raw.ome.zarr").rglob("*"):
            if folder.is_dir():
                folder.chmod(mode)

    def closes(store: ImageStore, *given: Any) -> None:
        nonlocal stored
        if stored == 6:
            allow(0o500)
        write(store, *given)
        stored += 1

    monkeypatch.setattr(ImageStore, "write", closes)
    result = Session(config, file, run).run()
    allow(0o700)
    monkeypatch.undo()
    assert result.status == "failed"
    assert_left_well(capsys, run, "failed", acquired=6)
    resume(capsys, run, 20)


def test_the_ledger_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No place is left to write down the safe state; it is reached nevertheless."""
    add = Ledger.add
    full = threading.Event()

    def fills_up(ledger: Ledger, kind: Any, data: Any, frame: int | None = None) -> None:
        if frame == 6:
            full.set()
        if full.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        add(ledger, kind, data, frame)

    monkeypatch.setattr(Ledger, "add", fills_up)
    result, run = run_session(tmp_path, session={})
    assert (result.status, result.safe) == ("failed", True)
    assert "disk is full" in result.reason
    assert faulty.made["Laser"][-1].power == faulty.made["Laser"][-2].power == 0
    assert not faulty.made["Shutter"][-1].open
    assert frames_in(run) == list(range(6))


def test_heartbeat_that_cannot_be_written_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a monitor that reads `status.json` keeps it from being replaced."""

    def locked(*args: Any) -> None:
        raise PermissionError(errno.EACCES, "used by another process")

    monkeypatch.setattr("agent.run.heartbeat.write_status", locked)
    result, run = run_session(tmp_path, session={})
    assert result.status == "completed", result.reason
    assert_left_well(capsys, run, "completed", acquired=20)


@pytest.mark.slow
def test_a_short_session_keeps_the_frames_of_long_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan that fails while it is led through stored frames must not cost any of them."""

    result, run = run_session(tmp_path, session={"make_plan": cut_after(12)})
    assert result.status == "failed"
    config = read_config(run)
    again = Session(config, run / "config.yaml", run, make_plan=cut_after(4)).run()
    assert again.status == "failed"
    assert_left_well(capsys, run, "failed", acquired=12)
    resume(capsys, run, 20)


@pytest.mark.slow
def test_a_movie_named_relatively_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The config's file stands beside the config, not in the run's folder."""
    movie = np.random.default_rng(1).integers(0, 4096, (20, faulty.SIDE, faulty.SIDE), np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    scope = {
        "replay": {"file": "movie.tif"},
        "pixel_size_nm": 20,
        "exposure": {"camera_ms": 10},
    }
    file = faulty.write(
        tmp_path / "config.yaml", {"plan": "live", "live": {"frames": 20}, "microscope": scope}
    )
    config = load(file)
    run = new_folder(config, tmp_path, tmp_path / "run")

    assert Session(config, file, run, make_plan=cut_after(7)).run().status == "failed"
    result = Session(read_config(run), run / "config.yaml", run).run()
    assert result.status == "completed", result.reason
    raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
    np.testing.assert_array_equal(np.asarray(raw[:]), movie)


# ---------------------------------------------------------------------- the same again

SMALL = [
    "optimize.trials=3",
    "optimize.initial=2",
    "optimize.retest_fields=1",
    "optimize.search={excitation_power: [0.5, 15], depletion_power: [10, 300]}",
    "microscope.virtual_sted.width_px=32",
    "microscope.virtual_sted.height_px=32",
    "microscope.virtual_sted.size_um=20",
    "microscope.fields.pitch_um=2.2",  # no field gets light meant for its neighbour
    "rules=1",  # so small frames are blank, of which later rules retest nothing
]


def optimize(
    run: Path,
    make_plan: Callable[[RunConfig], Plan] = build_plan,
    asked: Sequence[str] = (),
    **session: Any,
) -> Result:
    """A small automated optimization on the virtual microscope, new or resumed."""
    source = ROOT / "configs" / "optimize.yaml"
    if run.exists():
        return Session(read_config(run), run / "config.yaml", run, make_plan=make_plan).run()
    config = load(source, [*SMALL, *asked])
    folder = new_folder(config, run.parent, run)
    return Session(config, source, folder, make_plan=make_plan, **session).run()


@pytest.fixture(scope="module")
def optimized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing came between."""
    run = tmp_path_factory.mktemp("optimized") / "run"
    assert optimize(run).status == "completed"
    return run


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with an engine that takes no time, for what a replay sees with any engine."""
    run = tmp_path_factory.mktemp("searched") / "run"
    assert optimize(run, asked=["optimize.engine=random"], scorer=mean_score).status == "completed"
    return run


def decisions(run: Path) -> list[dict[str, Any]]:
    return recorded(run).notes


@pytest.mark.process
@pytest.mark.slow
def test_same_config_and_seed_give_the_same_trials(optimized: Path, tmp_path: Path) -> None:
    assert optimize(tmp_path / "again").status == "completed"
    notes = decisions(optimized)
    assert [note["topic"] for note in notes] == [
        *["trial"] * 3,
        "recommendation",
        "belief",
        "retest",
        "retest",
    ]
    assert decisions(tmp_path / "again") == notes
    assert len({str(note["data"]["settings"]) for note in notes[:3]}) == 3


@pytest.mark.process
@pytest.mark.slow
def test_resumed_optimization_gives_the_same_trials(optimized: Path, tmp_path: Path) -> None:
    """Between two trials, and again within the next one."""
    run = tmp_path / "run"
    for frames in (6, 8):
        assert optimize(run, cut_after(frames)).status == "failed"
        assert frames_in(run) == list(range(frames))
    result = optimize(run)
    assert result.status == "completed", result.reason
    assert frames_in(run) == list(range(15))
    assert decisions(run) == decisions(optimized)


def tampered(whole: Path, tmp_path: Path, sql: str = "", *values: Any) -> Path:
    """A copy of a run, with its ledger changed."""
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    if sql:
        with closing(sqlite3.connect(run / "ledger.sqlite")) as ledger, ledger:
            assert ledger.execute(sql, values).rowcount > 0
    return run


@pytest.mark.slow
def test_replay_agrees(optimized: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = cli(capsys, "replay", optimized)
    assert (code, err) == (0, "")
    assert "15 frames" in out
    assert "7 decisions" in out


@pytest.mark.slow
def test_replay_sees_a_changed_pixel(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tampered(searched, tmp_path)
    raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r+")
    raw[4, 20, 20] = int(np.asarray(raw[4, 20, 20])) + 1
    code, _, err = cli(capsys, "replay", run)
    assert code == 1
    assert "frame 4" in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sql", "named"),
    [
        (
            'UPDATE entries SET data = replace(data, \'"score":\', \'"score": 0.9, "was":\') '
            "WHERE kind = 'note' AND data LIKE '{\"topic\": \"trial\"%'",
            "trial",
        ),
        ("UPDATE entries SET data = '{\"value\": 0.99}' WHERE kind = 'score'", "trial"),
        (
            'UPDATE entries SET data = replace(data, \'"mode": "sted"\', \'"mode": "confocal"\') '
            "WHERE kind = 'shot' AND frame = 7",
            "frame 7",
        ),
    ],
    ids=["note", "score", "shot"],
)
def test_replay_sees_a_changed_ledger(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sql: str, named: str
) -> None:
    code, _, err = cli(capsys, "replay", tampered(searched, tmp_path, sql))
    assert code == 1
    assert named in err
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("DELETE FROM entries WHERE kind = 'frame' AND frame = 5", id="frame"),
        pytest.param(
            "DELETE FROM entries WHERE kind = 'note' AND data LIKE '%recommendation%'", id="note"
        ),
        pytest.param(
            "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries WHERE kind = 'note')",
            id="last note",
        ),
        pytest.param(
            "INSERT INTO entries (at, kind, frame, data) SELECT at, kind, frame, data "
            "FROM entries WHERE kind = 'note' ORDER BY seq DESC LIMIT 1",
            id="note too many",
        ),
    ],
)
def test_replay_sees_what_is_missing_or_too_much(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sql: str
) -> None:
    """The run says that it is complete; half of it must not pass for agreement."""
    code, out, err = cli(capsys, "replay", tampered(searched, tmp_path, sql))
    assert code == 1, out
    assert "Traceback" not in err


def nudged(data: Any) -> Any:
    """The same with every float's last digit changed, as another machine's kernels would."""
    if isinstance(data, dict):
        return {key: nudged(value) for key, value in data.items()}
    if isinstance(data, list):
        return [nudged(value) for value in data]
    return float(np.nextafter(data, np.inf)) if isinstance(data, float) else data


@pytest.mark.slow
def test_replay_on_another_machine_tells_rounding_from_other_decisions(
    searched: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tampered(searched, tmp_path)
    with closing(sqlite3.connect(run / "ledger.sqlite")) as ledger, ledger:
        rows = ledger.execute("SELECT seq, data FROM entries WHERE kind IN ('note', 'shot')")
        for seq, data in rows.fetchall():
            other = json.dumps(nudged(json.loads(data)))
            ledger.execute("UPDATE entries SET data = ? WHERE seq = ?", (other, seq))
    code, out, err = cli(capsys, "replay", run)
    assert code == 0, err
    assert "6 decisions" in out
    assert "by rounding only" in err and "another machine" in err
    code, out, _ = cli(capsys, "replay", run, "--json")
    found = json.loads(out)
    assert (code, found["difference"]) == (0, None)
    assert found["rounded"]["values"] > len(found["rounded"]["first"]) > 0


@pytest.mark.slow
def test_replay_agrees_on_a_trial_without_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ROOT / "configs" / "optimize.yaml"
    config = load(source, [*SMALL, "analysis.on_error=skip"])
    run = new_folder(config, tmp_path, tmp_path / "run")
    assert Session(config, source, run, scorer=fails_at(1)).run().status == "completed"
    trials = recorded(run).notes_on("trial")
    assert [trial["objectives"] is None for trial in trials] == [False, True, False]
    code, _, err = cli(capsys, "replay", run)
    assert code == 0, err


@pytest.mark.slow
def test_replay_agrees_on_a_run_that_ended_for_want_of_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ROOT / "configs" / "optimize.yaml"
    config = load(source, SMALL)
    run = new_folder(config, tmp_path, tmp_path / "run")
    assert Session(config, source, run, scorer=fails_at(1)).run().status == "failed"
    assert len(recorded(run).notes_on("trial")) == 1
    code, out, err = cli(capsys, "replay", run)
    assert code == 0, err
    assert "6 frames" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "said"),
    [("ledger.sqlite*", "ledger cannot be written"), ("raw.ome.zarr/**/*.json", "images")],
)
def test_what_somebody_else_writes_over_fails_the_run_and_is_told(
    files: str,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The run ends as it has, without a traceback, however little of it can still be read."""
    snap = faulty.FlakyCamera.snap

    def overwrite(camera: faulty.FlakyCamera, buffer: Any) -> Any:
        if camera.count == 2:
            for file in (tmp_path / "run").glob(files):
                file.write_bytes(b"{" * 400)
        return snap(camera, buffer)

    monkeypatch.setattr(faulty.FlakyCamera, "snap", overwrite)
    file = faulty.write(tmp_path / "c.yaml", faulty.config(live={"frames": 4}))
    code, _, err = cli(capsys, "run", file, "--out", tmp_path / "run")
    assert code == 1
    assert said in err
    if "images" in said:
        summary = show(capsys, tmp_path / "run")
        assert summary["status"] == "failed"
        assert said in summary["reason"]
    assert not faulty.made["Shutter"][-1].open
    assert faulty.made["Laser"][-1].power == 0
