"""An SQLite file, opened to look at: nothing is written beside it, wherever it lies."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import suppress
from pathlib import Path

State = tuple[int, int, bool]
_TRIES = 10
"""How often files that a session's end takes away meanwhile are looked at again."""


class Look:
    """A file that is only read, and SQLite's files beside it during writes.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log, self._index = (path.with_name(f"{path.name}-{part}") for part in ("wal", "shm"))
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._unchanging: State | None = None

    def connect(self) -> sqlite3.Connection:
        """Open it in the way that its place allows."""
        for _ in range(_TRIES - 1):
            # The session, or whatever mends what a killed one left, may end just now.
            with suppress(FileNotFoundError):
                return self._connect()
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        self._unchanging = None
        state = self._state()
        if not state[-1]:
            if not self._is_logged():
                return self._open("mode=ro")
            # An ordinary reader would make a log beside it, which a read-only medium refuses.
            self._unchanging = state
            return self._open("immutable=1")
        if self._index.exists():
            connection = self._open("mode=ro")
            with suppress(sqlite3.OperationalError):  # the medium does not let SQLite use it
                connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
                return connection
            connection.close()
        # No session is running, but the log has entries: its index needs a place to be made in.
        self._copy = self._copy or tempfile.TemporaryDirectory(prefix="stedfast-")
        for file in (self._path, self._log):
            shutil.copyfile(file, f"{self._copy.name}/{file.name}")
        return sqlite3.connect(f"{self._copy.name}/{self._path.name}", check_same_thread=False)

    @property
    def outdated(self) -> bool:
        """Whether a file that was opened as one that never changes was written to."""
        return self._unchanging is not None and self._unchanging != self._state()

    def close(self) -> None:
        """Clear up."""
        if self._copy is not None:
            self._copy.cleanup()

    def _open(self, how: str) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?{how}"
        return sqlite3.connect(uri, uri=True, check_same_thread=False)

    def _state(self) -> State:
        """When the file was last written, its size, and whether it has a log with entries."""
        found = self._path.stat()
        has_log = False
        with suppress(FileNotFoundError):
            has_log = self._log.stat().st_size > 0
        return found.st_mtime_ns, found.st_size, has_log

    def _is_logged(self) -> bool:
        """Whether the file says that it has a log, as SQLite's format does at byte 18."""
        with self._path.open("rb") as file:
            return file.read(20)[18:] == bytes([2, 2])
