"""Ledgers that no run wrote: whatever reads a run says what is wrong, and where."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from agent.config.reading import UserError
from agent.record.folder import lock
from agent.record.ledger import DamagedLedger, Ledger, reading
from agent.record.recording import Recording
from agent.record.rows import LARGEST
from agent.steering.tell import tell
from agent.ui.view.reader import Reader
from tests.faulty import cli
from tests.helpers.stories import Story, a_config, completed


def changed(folder: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as db, db:
        db.execute(sql, values)


def row_of(folder: Path, kind: str, like: str = "%") -> int:
    with closing(sqlite3.connect(folder / "ledger.sqlite")) as db:
        found = db.execute(
            "SELECT min(seq) FROM entries WHERE kind = ? AND data LIKE ?", (kind, like)
        )
        return int(found.fetchone()[0])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose ledger is as it should be; not to be changed."""
    return completed(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "run")
    return tmp_path / "run"


def commands(run: Path) -> list[tuple[str, ...]]:
    out = str(run.parent / "out.ome.tif")
    return [
        ("show", str(run)),
        ("show", str(run), "--json"),
        ("report", str(run)),
        ("replay", str(run)),
        ("resume", str(run)),
        ("export", str(run), out, "--overwrite"),
    ]


# What a row is replaced by, and what has to be said of it: one of each kind.
KINDS = [
    ("shot", "[]", "accepted: an object"),
    ("frame", '{"shape": [4], "dtype": "u1", "crc32": 1, "time_s": 1e300}', "`time_s`"),
    ("score", '{"value": "0.5"}', "`value`: found '0.5'"),
    ("end", '{"status": ["completed"], "reason": "x"}', "`status`"),
    ("run", '{"plan": "optimize", "simulated": "no", "planned": 3}', "`simulated`: found 'no'"),
    (
        "safe_state",
        '{"ok": true, "reason": "", "at": "noon", "readback": {}}',
        "`at`: found 'noon'",
    ),
    ("note", '{"topic": "x", "data": ' + "[" * 5000 + "]" * 5000 + "}", "no JSON"),
]
# What else a row of these kinds may be.
OTHERS = [
    ("frame", "5", "accepted: an object"),
    ("score", "null", "accepted: an object"),
    ("shot", "{}", "`mode`: missing"),
    (
        "frame",
        '{"shape": [4], "dtype": "u1", "crc32": 1, "time_s": "soon"}',
        "`time_s`: found 'soon'",
    ),
    ("note", '{"topic": "trial", "data": {"settings": {}}}', "`objectives`: missing"),
    ("note", '{"topic": "trial", "data": 7}', "`data`: found 7"),
    ("note", '{"topic": "x", "data": {', "no JSON"),
    ("note", "", "no JSON"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "text", "said"), KINDS)
def test_every_command_names_the_row_that_is_wrong(
    run: Path, capsys: pytest.CaptureFixture[str], kind: str, text: str, said: str
) -> None:
    row = row_of(run, kind)
    changed(run, "UPDATE entries SET data = ? WHERE seq = ?", text, row)
    for command in commands(run):
        code, _, err = cli(capsys, *command)
        assert code == 2, command
        assert f"ledger.sqlite, row {row} ({kind})" in err and said in err, err
        assert "Traceback" not in err
    reader = Reader(run)
    reader.refresh()
    assert f"row {row}" in reader.damage and said in reader.damage


@pytest.mark.parametrize(("kind", "text", "said"), OTHERS)
def test_the_row_that_is_wrong_is_named(run: Path, kind: str, text: str, said: str) -> None:
    """By what all commands read a run with, and by the view."""
    row = row_of(run, kind)
    changed(run, "UPDATE entries SET data = ? WHERE seq = ?", text, row)
    with pytest.raises(DamagedLedger) as raised, reading(run) as ledger:
        Recording.read(ledger)
    assert f"ledger.sqlite, row {row} ({kind})" in str(raised.value) and said in str(raised.value)
    reader = Reader(run)
    reader.refresh()
    assert f"row {row}" in reader.damage and said in reader.damage


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE entries SET at = 'noon' WHERE seq = 3", "`at`: found 'noon'"),
        ("UPDATE entries SET at = '2026-01-01T00:00:00' WHERE seq = 3", "time zone"),
        ("UPDATE entries SET frame = 'one' WHERE seq = 3", "`frame`: found 'one'"),
        ("UPDATE entries SET frame = -1 WHERE seq = 3", "`frame`: found -1"),
        ("UPDATE entries SET frame = NULL WHERE seq = 3", "`frame`: found nothing"),
        ("UPDATE entries SET data = x'00ff' WHERE seq = 3", "accepted: a text"),
        ("DELETE FROM entries WHERE kind = 'shot'", "was not announced"),
    ],
)
def test_wrong_columns_are_named(run: Path, sql: str, said: str) -> None:
    changed(run, sql)
    with pytest.raises(DamagedLedger, match="row 3") as raised, reading(run) as ledger:
        Recording.read(ledger)
    assert said in str(raised.value)


def test_a_row_without_bounds_is_not_read(run: Path) -> None:
    huge = json.dumps({"topic": "x", "data": {"x": "a" * (LARGEST + 1)}})
    changed(run, "UPDATE entries SET data = ? WHERE kind = 'end'", huge)
    with pytest.raises(DamagedLedger, match="more than"), reading(run) as ledger:
        list(ledger.entries())


def endless(db: sqlite3.Connection) -> None:
    db.execute("DROP TABLE entries")
    db.execute(
        "CREATE VIEW entries AS WITH RECURSIVE n(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM n)"
        " SELECT seq, '2026-01-01T00:00:00+00:00' AS at, 'void' AS kind, 1 AS frame,"
        " '{}' AS data FROM n"
    )


def computed(db: sqlite3.Connection) -> None:
    db.execute("DROP TABLE entries")
    db.execute(
        "CREATE TABLE entries (seq INTEGER PRIMARY KEY, at TEXT, kind TEXT, frame INTEGER,"
        " data TEXT AS (hex(zeroblob(1000000))))"
    )


def watching(db: sqlite3.Connection) -> None:
    db.execute("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END")


def other(db: sqlite3.Connection) -> None:
    db.execute("DROP TABLE entries")
    db.execute("CREATE TABLE cakes (name TEXT)")


@pytest.mark.slow
@pytest.mark.parametrize("made", [endless, computed, watching, other])
def test_what_only_looks_like_a_ledger_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], made: Callable[[sqlite3.Connection], None]
) -> None:
    with closing(sqlite3.connect(run / "ledger.sqlite")) as db, db:
        made(db)
    for command in commands(run):
        code, _, err = cli(capsys, *command)
        assert code == 2 and "not the ledger of a run" in err, err
    reader = Reader(run)
    reader.refresh()
    assert "not the ledger of a run" in reader.damage
    with pytest.raises(DamagedLedger):
        Ledger(run)


def test_what_this_version_does_not_know_is_passed_over(run: Path) -> None:
    with closing(Ledger(run)) as ledger:
        ledger.add("later", {"more": [1, {"a": None}]})  # type: ignore[arg-type]
        ledger.add("later", {}, 3)  # type: ignore[arg-type]
        ledger.add("note", {"topic": "focus", "data": {"z_um": 1.5}})
        ledger.add("fault", {"what": "\udcff.tif", "policy": "ignored", "more": 1})
    with reading(run) as ledger:
        last = list(ledger.entries())[-4:]
    assert [entry.data for entry in last] == [
        {"more": [1, {"a": None}]},
        {},
        {"topic": "focus", "data": {"z_um": 1.5}},
        {"what": "\udcff.tif", "policy": "ignored", "more": 1},
    ]


def test_a_trial_at_settings_that_the_config_does_not_have_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trial = {"settings": {"depletion_power": 10.0}, "objectives": None}
    row = row_of(run, "note", "%trial%")
    text = json.dumps({"topic": "trial", "data": trial})
    changed(run, "UPDATE entries SET data = ? WHERE seq = ?", text, row)
    code, _, err = cli(capsys, "report", run)
    assert code == 2 and "trial 1" in err and "dwell_time" in err, err


@pytest.mark.slow
def test_a_frame_at_a_word_where_a_number_belongs_is_named(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = row_of(run, "shot")
    sql = "UPDATE entries SET data = json_set(data, '$.settings.dwell_time', 'red') WHERE seq = ?"
    changed(run, sql, row)
    for command in commands(run):
        code, _, err = cli(capsys, *command)
        assert code == 2 and "frame 0: `dwell_time` is 'red'" in err, (command, err)


# ---------------------------------------------------------------------- telling


def test_a_command_needs_neither_the_config_nor_the_whole_ledger(tmp_path: Path) -> None:
    story = Story(tmp_path / "run", a_config("live")).begin(None)
    folder = story.closed()
    (folder / "config.yaml").write_text("plan: [", encoding="utf-8")
    changed(folder, "INSERT INTO entries VALUES (9, 'noon', 'shot', 1, 'half')")
    taken = lock(folder)
    try:
        assert "at once" in tell(folder, ["stop=true"])
        assert "at once" in tell(folder, ["pause=true"])
        with pytest.raises(UserError, match="YAML"):
            tell(folder, ["filter=all"])
    finally:
        taken.release()
    with pytest.raises(UserError, match="no session of this run is running"):
        tell(folder, ["stop=true"])


def test_a_frame_without_a_setting_that_its_time_follows_from_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = {"device": "Camera", "property": "Exposure", "unit": "ms", "range": [1, 20], "start": 5}
    file, run = tmp_path / "config.yaml", tmp_path / "run"
    scope = {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera": "time"}}
    data = {
        "plan": "live",
        "live": {"frames": 2},
        "microscope": scope | {"settings": {"time": times}},
    }
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    assert cli(capsys, "run", file, "--out", run)[0] == 0
    for kind in ("shot", "frame"):
        changed(
            run,
            "UPDATE entries SET data = json_remove(data, '$.settings.time') WHERE kind = ?",
            kind,
        )
    code, _, err = cli(capsys, "export", run, tmp_path / "run.ome.tif")
    assert code == 2 and "frame 0: `time` is None" in " ".join(err.split())
