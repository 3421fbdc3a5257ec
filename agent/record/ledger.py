"""The ledger: everything a run did and decided, in order, in one SQLite table.

Entries are only ever added. SQLite's write-ahead log makes each survive the process from the moment
`add` returns. With ``synchronous=FULL`` they survive a power cut, too. The disk takes the row of a
frame while the next one is exposed, as it takes the pixels: a power cut can take away the last
frame, and the announcement of one that never came. Nor is the disk waited for with entries of the
scorer, the filter, the interpolator or its fine-tuning, which must not keep the acquisition
waiting: the next frame or note makes them permanent, and a plan's decision on them is such a note.

A session that ends leaves one file, without SQLite's log beside it. A reader writes nothing, so
that runs on read-only media can be read as well.

If a power cut took away pixels of a frame all the same, a `cut` declares that frame void, with the
frames, decisions and instructions that followed: readers do not see them any more. The light of
these frames was on the sample, and still counts.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

from agent.config.reading import UserError
from agent.record.durable import LateSync
from agent.record.looking import Look
from agent.record.rows import LARGEST, checked

Kind = Literal[
    "run",  # a session of the run starts: what, where, versions
    "shot",  # about to be taken: settings, field, light
    "void",  # that shot left no frame: what light fell, or none
    "frame",  # its pixels are on disk; what light fell, and what the devices had
    "score",  # what the quality network says of a frame
    "filtered",  # what the filter made of it is on disk, and how unsure it is of that
    "autofocus",  # the autofocus device looked for the focus: what it found, or why nothing
    "rebuilt",  # frames rebuilt between two measured ones are on disk, or why they are not
    "tuned",  # result of fine-tuning the interpolator, and whether its weights are used
    "note",  # a plan's decision or finding
    "told",  # what a person told the run, and how far the control file was read for it
    "command",  # what a person told the running session: pause, resume, stop, filter
    "late",  # a time point came too late: by how much, and the consequence
    "cut",  # pixels of a frame were lost with the power: it and all that follows is void
    "pause",  # it stands still in the dark, or continues
    "clock",  # the computer slept, its clock was set, or local time changed
    "fault",
    "safe_state",
    "end",  # the session is over: status and why
]
FILE = "ledger.sqlite"
_AT_ONCE = 1000
"""Rows that are fetched from the file at once."""
_OF_FRAMES = ("shot", "void", "frame", "score", "filtered", "fault", "cut")
"""Kinds that concern a frame each."""
_CUT = ("frame", "score", "filtered", "autofocus", "rebuilt", "note", "told", "late")
"""Kinds that a cut makes void, with the faults of void frames; a plan knows of no others."""
_LATE = "frame"
"""Kind that the disk takes while the acquisition goes on."""
_UNSYNCED = ("shot", "score", "filtered", "rebuilt", "tuned")
"""Kinds that the disk takes with an entry of another kind that follows."""


class DamagedLedger(UserError):
    """A ledger that no run wrote, or that was changed since; names file, row and the error."""


class Entry(NamedTuple):
    """One row of the ledger; `frame` is the frame's number where it concerns one."""

    seq: int
    at: str
    kind: Kind
    frame: int | None
    data: dict[str, Any]


class Ledger:
    """An open ledger; safe to use from several threads.

    All rows read from it are checked: see `agent.record.rows`.

    Parameters
    ----------
    folder
        The run's folder.
    readonly
        Look only: fails where there is no ledger, and never waits for a running session.

    Raises
    ------
    DamagedLedger
        The file is not the ledger of a run.
    """

    def __init__(self, folder: Path, *, readonly: bool = False) -> None:
        self.path = path = folder / FILE
        self._lock = threading.Lock()
        self._look: Look | None = None
        if readonly:
            if not path.is_file():
                raise FileNotFoundError(f"{folder}: not a run folder, it has no {FILE}")
            self._look = Look(path)
            self._db = self._look.connect()
            self._check()
            return
        old = path.is_file() and path.stat().st_size > 0
        self._db = sqlite3.connect(path, check_same_thread=False)
        if old:
            self._check()
        self._db.execute("PRAGMA journal_mode=WAL")
        with self._db:
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS entries ("
                "seq INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, "
                "frame INTEGER, data TEXT NOT NULL)"
            )
            self._db.execute("CREATE INDEX IF NOT EXISTS by_kind ON entries (kind, frame)")
        self._log: BinaryIO | None = None
        self._sync = LateSync()

    def _check(self) -> None:
        """Refuse a file whose rows are not stored but made up as they are read, or written to."""
        # One row of a stranger's file shall not fill the memory.
        self._db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
        try:
            made = self._db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
            columns = self._db.execute("PRAGMA table_xinfo(entries)").fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            self._db.close()
            raise DamagedLedger(f"{self.path}: not the ledger of a run: {error}") from None
        kinds = {name: kind for kind, name, _ in made}
        virtual = any((sql or "").upper().startswith("CREATE VIRTUAL") for *_, sql in made)
        computed = any(column[6] for column in columns)
        plain = kinds.get("entries") == "table" and not {"view", "trigger"} & set(kinds.values())
        if virtual or computed or not plain:
            self._db.close()
            raise DamagedLedger(f"{self.path}: not the ledger of a run: it has no table of entries")

    def add(self, kind: Kind, data: dict[str, Any], frame: int | None = None) -> None:
        """Write one entry, which from here on outlives the process.

        It outlives a power cut, too; but a `frame` only once the next one is added, and a `shot`,
        `score`, `filtered`, `rebuilt` or `tuned` once an entry of another kind has followed.

        Raises
        ------
        OSError
            The disk did not take the frame before.
        sqlite3.Error
            The file cannot be written.
        """
        self.add_all(kind, [(frame, data)])

    def add_all(self, kind: Kind, rows: Sequence[tuple[int | None, dict[str, Any]]]) -> None:
        """Write several entries, (frame, data) each: all of them or none, also in a power cut.

        Raises
        ------
        sqlite3.Error
            The file cannot be written.
        """
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        with self._lock:
            log = self._open_log() if kind == _LATE else None
            waits = log is None and kind not in _UNSYNCED
            self._db.execute(f"PRAGMA synchronous={'FULL' if waits else 'NORMAL'}")
            with self._db:
                self._db.executemany(
                    "INSERT INTO entries (at, kind, frame, data) VALUES (?, ?, ?, ?)",
                    [(at, kind, frame, json.dumps(data)) for frame, data in rows],
                )
            if log is not None:
                self._sync.begin(log.fileno())

    def _open_log(self) -> BinaryIO | None:
        """SQLite's write-ahead log, to sync it; None where the file system allows none.

        SQLite holds no lock on this file, which closing it would release.
        """
        if self._log is None:
            with suppress(FileNotFoundError):
                self._log = self.path.with_name(f"{FILE}-wal").open("rb+")
        return self._log

    def entries(self, *kinds: Kind, after: int = 0, most: int = -1) -> Iterator[Entry]:
        """Entries in order, of these kinds or of all: the first `most` that follow number `after`.

        All that follow where `most` is below 0.
        """
        where = f" AND kind IN ({_marks(kinds)})" if kinds else ""
        return self._read(f"seq > ?{where}", (after, *kinds), most, after)

    def of_frame(self, index: int) -> list[Entry]:
        """Entries on one frame, in order."""
        # With their kinds named, the index is of use in ledgers of every version.
        where = f"kind IN ({_marks(_OF_FRAMES)}) AND frame = ?"
        return list(self._read(where, (*_OF_FRAMES, index)))

    def cut(self, frame: int, why: str, set_aside: list[int]) -> None:
        """Declare a frame void, and all that came after its pixels should have been on disk."""
        rows = [entry for entry in self.of_frame(frame) if entry.kind == "frame"]
        self.add("cut", {"first": rows[-1].seq, "why": why, "set_aside": set_aside}, frame)

    def _read(
        self, which: str, values: Sequence[Any], most: int = -1, after: int = 0
    ) -> Iterator[Entry]:
        with self._lock:
            if self._look is not None and self._look.outdated:
                self._db.close()
                self._db = self._look.connect()
                self._check()
            cuts = self._db.execute(
                "SELECT seq, at, kind, frame, data FROM entries WHERE kind = 'cut'"
            ).fetchall()
        for seq, at, kind, frame, data in cuts:
            first = self._checked(seq, at, kind, frame, data)["first"]
            which += (
                " AND NOT (seq >= ? AND seq < ?"
                f" AND (kind IN ({_marks(_CUT)}) OR (kind = 'fault' AND frame >= ?)))"
            )
            values = (*values, first, seq, *_CUT, frame)
        with self._lock:
            rows = self._db.execute(
                f"SELECT seq, at, kind, frame, data FROM entries WHERE {which} "
                "ORDER BY seq LIMIT ?",
                (*values, most),
            )
        with closing(rows):
            while True:
                try:
                    with self._lock:
                        some = rows.fetchmany(_AT_ONCE)
                except sqlite3.DataError:
                    raise DamagedLedger(
                        f"{self.path}: a row after {after} has more than {LARGEST} bytes"
                    ) from None
                if not some:
                    return
                for seq, at, kind, frame, data in some:
                    # A damaged file may lead in circles.
                    if type(seq) is not int or seq <= after:
                        raise DamagedLedger(f"{self.path}: a row after {after} is out of order")
                    after = seq
                    yield Entry(seq, at, kind, frame, self._checked(seq, at, kind, frame, data))

    def _checked(self, seq: int, at: Any, kind: Any, frame: Any, data: Any) -> dict[str, Any]:
        try:
            return checked(at, kind, frame, data)
        except ValueError as error:
            raise self.wrong(seq, kind, str(error)) from None

    def wrong(self, seq: int, kind: str, why: str) -> DamagedLedger:
        """What to raise of a row that no run would have written."""
        return DamagedLedger(f"{self.path}, row {seq} ({str(kind)[:20]}): {why}")

    def close(self) -> None:
        """Let go of the file; a writer leaves one file, without a log beside it."""
        with self._lock:
            if self._look is not None:
                self._db.close()
                self._look.close()
                return
            with suppress(OSError):  # the last entry has waited for the disk, and failed as well
                self._sync.wait()
            if self._log is not None:
                self._log.close()
            with suppress(sqlite3.Error):
                self._db.execute("PRAGMA busy_timeout=0")
                try:
                    self._db.execute("PRAGMA journal_mode=DELETE")
                except sqlite3.OperationalError:  # another process reads it
                    self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()


@contextmanager
def reading(folder: Path) -> Iterator[Ledger]:
    """A run's ledger, to look at.

    Raises
    ------
    DamagedLedger
        It is not the ledger of a run.
    """
    with closing(Ledger(folder, readonly=True)) as ledger:
        try:
            yield ledger
        except sqlite3.Error as error:
            raise DamagedLedger(f"{ledger.path}: not the ledger of a run: {error}") from None


def _marks(values: Sequence[Any]) -> str:
    """A question mark for each value."""
    return ",".join("?" * len(values))
