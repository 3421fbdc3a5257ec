"""What a power cut, a stubborn disk or a person leaves of a run, and how the run is continued."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.config.reading import UserError
from agent.record import durable
from agent.record.folder import read_config
from agent.record.ledger import FILE, Kind, Ledger
from agent.record.summary import summarize
from agent.run import Session
from agent.run.replay import replay
from agent.ui.view.reader import Reader
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import (
    Work,
    assert_left_well,
    cut_after,
    frames_in,
    mean_score,
    recorded,
    run_session,
    until,
)
from tests.helpers.searches import config_data_of_a_run

BYTES = faulty.SIDE * faulty.SIDE * 2


def cut_run(base: Path, **parts: Any) -> Path:
    session = {"make_plan": cut_after(7), "scorer": mean_score}
    result, run = run_session(base, session=session, **parts)
    assert result.status == "failed" and len(frames_in(run)) == 7
    return run


@pytest.fixture(scope="module")
def cut_short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended after 7 of 18 frames."""
    return cut_run(tmp_path_factory.mktemp("live"), live={"frames": 18})


@pytest.fixture(scope="module")
def cut_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search that ended after 7 of 18 frames: two trials, and one frame of the third."""
    data = config_data_of_a_run()
    parts = {key: data[key] for key in ("plan", "analysis", "optimize")}
    parts["microscope"] = {key: data["microscope"][key] for key in ("fields", "modes")}
    return cut_run(tmp_path_factory.mktemp("search"), **parts)


def chunk(run: Path, frame: int) -> Path:
    return run / "raw.ome.zarr" / "0" / "c" / str(frame) / "0" / "0"


def empty(run: Path) -> None:
    chunk(run, 6).write_bytes(b"")


def missing(run: Path) -> None:
    shutil.rmtree(chunk(run, 6).parent.parent)


def half(run: Path) -> None:
    chunk(run, 6).write_bytes(chunk(run, 6).read_bytes()[: BYTES // 2])


def zeros(run: Path) -> None:
    chunk(run, 6).write_bytes(bytes(BYTES))


def several(run: Path) -> None:
    """The last but one is gone, the last is whole: their order on disk is not that of time."""
    chunk(run, 5).write_bytes(b"")


def of_a_trial_that_was_judged(run: Path) -> None:
    chunk(run, 4).write_bytes(b"")
    chunk(run, 6).unlink()


def metadata(run: Path) -> None:
    (run / "raw.ome.zarr" / "0" / "zarr.json").write_bytes(b"")
    (run / "raw.ome.zarr" / "zarr.json").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "left"),
    [(empty, 6), (missing, 6), (half, 6), (zeros, 6), (several, 5), (metadata, 7)],
)
def test_the_newest_files_may_be_lost(
    damage: Callable[[Path], None],
    left: int,
    cut_short: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert_mended(capsys, cut_short, tmp_path / "run", damage, left)


@pytest.mark.slow
def test_decisions_on_frames_that_were_lost_are_taken_again(
    cut_search: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert_mended(capsys, cut_search, run, of_a_trial_that_was_judged, 4)
    trials = recorded(run).notes_on("trial")
    assert len(trials) == read_config(run).optimize.trials, "a trial is there twice"


def assert_mended(
    capsys: pytest.CaptureFixture[str],
    cut: Path,
    run: Path,
    damage: Callable[[Path], None],
    left: int,
) -> None:
    """A damaged run is completed, and nothing of it is lost that was whole."""
    shutil.copytree(cut, run)
    pixels = {index: chunk(run, index).read_bytes() for index in range(7)}
    before = recorded(run)
    spent = summarize(run)["dose"]["excitation_J"]
    damage(run)
    result = Session(read_config(run), run / "config.yaml", run, scorer=mean_score).run()
    assert result.status == "completed", result.reason

    summary = assert_left_well(capsys, run, "completed", acquired=18)
    assert summary["dose"]["lost_shots"] == 7 - left
    assert summary["dose"]["excitation_J"] > spent
    after = recorded(run)
    assert [after.taken[i].frame for i in range(left)] == [
        before.taken[i].frame for i in range(left)
    ]
    told = [fault["frame"] for fault in after.faults if "as after a power cut" in fault["what"]]
    assert told == ([left] if left < 7 else [])
    aside = sorted((run / "set_aside").glob("*")) if (run / "set_aside").exists() else []
    for file in aside:
        assert file.read_bytes() == pixels[int(file.stem.removeprefix("frame_"))]
    assert len(aside) == (damage in (several, of_a_trial_that_was_judged))
    assert replay(run).difference is None
    code, _, err = cli(capsys, "export", run, run.with_suffix(".ome.tif"))
    assert code == 0, err


def test_an_open_page_forgets_what_has_become_void(cut_search: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(cut_search, run)
    reader = Reader(run)
    reader.refresh()
    assert reader.course is not None and len(reader.course.trials) == 2
    of_a_trial_that_was_judged(run)
    with closing(Ledger(run)) as ledger:
        ledger.cut(4, "frame 4: is cut", [5])
    until(lambda: reader.refresh() and reader.course and reader.course.acquired == 4)
    assert len(reader.course.trials) == 1


@pytest.mark.slow
def test_a_frame_that_is_not_one_of_the_last_is_no_power_cut(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={"make_plan": cut_after(70)}, live={"frames": 80})
    assert result.status == "failed"
    chunk(run, 3).write_bytes(b"")
    seq = len(recorded(run).sessions)
    with pytest.raises(UserError, match=r"frame 3: is cut.*66 whole frames follow it"):
        Session(read_config(run), run / "config.yaml", run).run()
    assert len(recorded(run).sessions) == seq and len(recorded(run).taken) == 70


def test_a_replay_names_a_frame_that_is_missing(
    cut_short: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(cut_short, run)
    chunk(run, 2).unlink()
    code, _, err = cli(capsys, "replay", run)
    assert code == 1 and "frame 2" in err and "is missing" in err and "Traceback" not in err


# ---------------------------------------------------------------------- a disk that is slow to obey


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="says not which file is synced")
def test_a_frame_is_synced_before_the_row_of_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut can take the last frame alone, however slow the disk is."""
    seen: list[str] = []
    sync, add = durable.os.fsync, Ledger.add

    def slow(number: int) -> None:
        parts = Path(f"/dev/fd/{number}").resolve().parts
        late = "c" in parts or parts[-1] == f"{FILE}-wal"
        time.sleep(0.02 * late)
        sync(number)
        if late:
            seen.append(f"synced {parts[parts.index('c') + 1]}" if "c" in parts else "synced row")

    def told(ledger: Ledger, kind: Kind, data: dict[str, Any], frame: int | None = None) -> None:
        add(ledger, kind, data, frame)
        if kind in ("frame", "end"):
            seen.append(kind if frame is None else f"{kind} {frame}")

    monkeypatch.setattr(durable.os, "fsync", slow)
    monkeypatch.setattr(Ledger, "add", told)
    result, _ = run_session(tmp_path, session={}, live={"frames": 3})
    assert result.status == "completed", result.reason
    for index in range(3):
        after = "end" if index == 2 else f"frame {index + 1}"
        assert seen.index(f"synced {index}") < seen.index(after)
        if index < 2:  # SQLite itself waits with the row of the end
            assert seen[: seen.index(after)].count("synced row") == index + 1


def test_a_disk_that_does_not_take_a_frame_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = durable.os.fsync

    def failing(number: int) -> None:
        if threading.current_thread().name.startswith("sync"):
            raise OSError(5, "Input/output error")
        sync(number)

    monkeypatch.setattr(durable.os, "fsync", failing)
    for frames in (1, 4):  # told by the end of the run, or by the next frame
        (tmp_path / str(frames)).mkdir()
        result, _ = run_session(tmp_path / str(frames), session={}, live={"frames": frames})
        assert (result.status, result.safe) == ("failed", True)
        assert "Input/output error; the disk did not take the frame before" in result.reason


def test_a_rename_that_is_refused_for_a_moment_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a virus scanner does on Windows, with a file that was just written."""
    refused: dict[str, float] = {}
    replace = Path.replace

    def scanned(source: Path, target: Path) -> Path:
        first = refused.setdefault(str(target), time.monotonic())
        if "c/3/" in str(target) and time.monotonic() - first < 0.2:
            raise PermissionError(13, "The process cannot access the file", str(source))
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", scanned)
    result, run = run_session(tmp_path, session={}, live={"frames": 6})
    assert result.status == "completed", result.reason
    assert_left_well(capsys, run, "completed", acquired=6)


def test_a_rename_that_is_refused_for_good_says_where_the_pixels_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def scanned(source: Path, target: Path) -> Path:
        if "c/3/" in str(target):
            raise PermissionError(13, "Permission denied", str(source))
        return replace(source, target)

    monkeypatch.setattr(durable, "PATIENCE_S", 0.1)
    monkeypatch.setattr(Path, "replace", scanned)
    result, run = run_session(tmp_path, session={}, live={"frames": 6})
    assert (result.status, result.safe) == ("failed", True)
    kept = chunk(run, 3).with_name("0.partial")
    assert str(kept) in result.reason
    assert kept.stat().st_size == BYTES


# ---------------------------------------------------------------------- a folder that goes away


@pytest.mark.skipif(durable.os.name == "nt", reason="Windows renames no folder that is in use")
@pytest.mark.parametrize("deleted", [False, True])
def test_a_folder_that_goes_away_ends_the_run_safely(
    deleted: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(tmp_path, live={"frames": 200, "interval_s": 0.05}).start()
    until(lambda: work.progress.frames >= 3)
    elsewhere = tmp_path / "elsewhere"
    work.run.rename(elsewhere)
    if deleted:
        shutil.rmtree(elsewhere, ignore_errors=True)
        shutil.rmtree(elsewhere, ignore_errors=True)
    result = work.ended()
    assert (result.status, result.safe) == ("failed", True)
    assert result.reason.startswith(str(work.run)) and "while the run wrote in it" in result.reason
    assert not work.run.exists(), "the folder was made anew"
    if deleted:
        return
    assert str(elsewhere) in result.reason and result.folder == elsewhere
    assert_left_well(capsys, elsewhere, "failed", acquired=work.progress.frames)
    assert replay(elsewhere).difference is None
