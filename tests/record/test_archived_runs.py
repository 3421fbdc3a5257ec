"""Runs that were copied, archived or put on read-only media, and what reading one leaves behind."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.record import looking
from agent.record.folder import read_config
from agent.record.ledger import Ledger
from agent.run import Session
from tests.faulty import cli
from tests.helpers.runs import cut_after, recorded, run_session

LOGS = ("ledger.sqlite-wal", "ledger.sqlite-shm")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that is complete; not to be changed."""
    result, run = run_session(tmp_path_factory.mktemp("plain"), session={}, live={"frames": 4})
    assert result.status == "completed"
    return run


@pytest.fixture
def run(plain: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(plain, copy)
    return copy


def written_by_earlier_versions(run: Path, *, killed: bool) -> None:
    """Leave the ledger as a session of an earlier version did: in SQLite's logged mode."""
    database = sqlite3.connect(run / "ledger.sqlite")
    database.execute("PRAGMA journal_mode=WAL")
    last = database.execute("SELECT * FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
    # SQLite writes no page that is as it was.
    with database:
        database.execute("DELETE FROM entries WHERE seq = ?", last[:1])
    with database:
        database.execute("INSERT INTO entries VALUES (?, ?, ?, ?, ?)", last)
    assert (run / LOGS[0]).stat().st_size > 0
    if killed:
        kept = {name: (run / name).read_bytes() for name in LOGS}
        main = (run / "ledger.sqlite").read_bytes()
    database.close()
    if killed:
        (run / "ledger.sqlite").write_bytes(main)
        for name, data in kept.items():
            (run / name).write_bytes(data)


def files(run: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(run)): (path.stat().st_mtime_ns, path.stat().st_size)
        for path in [run, *run.rglob("*")]
    }


def assert_read(capsys: pytest.CaptureFixture[str], run: Path, out: Path) -> None:
    """Everything that reads a run reads this one, and leaves it as it was."""
    before = files(run)
    code, said, err = cli(capsys, "show", run, "--json")
    assert code == 0, err
    assert json.loads(said)["frames"]["acquired"] == 4
    for args in (("replay", run), ("export", run, out / "run.ome.tif", "--overwrite")):
        code, _, err = cli(capsys, *args)
        assert code == 0, err
    code, _, err = cli(capsys, "report", run, "--out", out / "report.html")
    assert code == 0, err
    assert files(run) == before, "who looked at it wrote into it"


@pytest.mark.slow
def test_a_run_that_is_over_is_one_file_and_is_only_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not any((run / name).exists() for name in LOGS)
    assert_read(capsys, run, tmp_path)


def test_an_earlier_version_s_ledger_without_its_log_is_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written_by_earlier_versions(run, killed=False)
    assert not any((run / name).exists() for name in LOGS)
    assert_read(capsys, run, tmp_path)


def test_a_killed_run_that_was_copied_is_read_with_its_log(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written_by_earlier_versions(run, killed=True)
    (run / LOGS[1]).unlink()
    assert_read(capsys, run, tmp_path)


def test_a_log_that_is_cleared_up_meanwhile_is_not_missed(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by what mends the ledger of a killed run, between a reader's look and its copy."""
    written_by_earlier_versions(run, killed=True)
    (run / LOGS[1]).unlink()
    copyfile = shutil.copyfile

    def cleared_up(source: Path, target: str) -> None:
        if source.name == LOGS[0] and source.exists():
            Ledger(run).close()
            assert not source.exists()
        copyfile(source, target)

    monkeypatch.setattr(looking.shutil, "copyfile", cleared_up)
    assert len(recorded(run).taken) == 4


def test_a_medium_that_refuses_to_be_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where SQLite cannot open its index beside a log that has entries."""
    written_by_earlier_versions(run, killed=True)
    connect = sqlite3.connect

    class Refused(sqlite3.Connection):
        def execute(self, *args: object) -> sqlite3.Cursor:  # type: ignore[override]
            raise sqlite3.OperationalError("unable to open database file")

    def refusing(path: str, **options: object) -> sqlite3.Connection:
        if "mode=ro" in str(path):
            options["factory"] = Refused
        return connect(path, **options)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(looking.sqlite3, "connect", refusing)
    assert_read(capsys, run, tmp_path)


@pytest.mark.slow
def test_who_looks_on_sees_what_a_later_session_adds(tmp_path: Path) -> None:
    """A reader that found no running session also sees what a later session writes."""
    result, run = run_session(tmp_path, session={"make_plan": cut_after(2)}, live={"frames": 5})
    assert result.status == "failed"
    written_by_earlier_versions(run, killed=False)
    with closing(Ledger(run, readonly=True)) as looking:
        assert sum(1 for _ in looking.entries("frame")) == 2
        assert Session(read_config(run), run / "config.yaml", run).run().status == "completed"
        assert sum(1 for _ in looking.entries("frame")) == 5
    assert len(recorded(run).taken) == 5


def test_a_reader_does_not_keep_a_session_from_ending(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={"make_plan": cut_after(2)}, live={"frames": 5})
    assert result.status == "failed"
    with closing(Ledger(run)) as other:
        assert list(other.entries("end"))
        assert Session(read_config(run), run / "config.yaml", run).run().status == "completed"
    assert len(recorded(run).taken) == 5


def test_what_is_on_one_frame_is_found_by_the_index(run: Path) -> None:
    with closing(Ledger(run, readonly=True)) as ledger:
        said: list[str] = []
        ledger._db.set_trace_callback(said.append)
        assert [entry.kind for entry in ledger.of_frame(2)] == ["shot", "frame"]
        plan = ledger._db.execute(f"EXPLAIN QUERY PLAN {said[-1]}").fetchall()
    assert "SEARCH entries USING INDEX by_kind" in str(plan), plan
