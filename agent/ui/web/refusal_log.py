"""Log of refused requests, one JSON object a line: when, from whom, what, and why."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.record.safe_files import open_to_append

_MOST_BYTES = 2_000_000
_LETTERS = 200
_A_MINUTE = 300
"""Lines; refusals beyond them are only counted."""


class Refusals:
    """A log that cannot fill the disk: so many lines a minute, and it ends, and says so, at 2 MB.

    Parameters
    ----------
    file
        Where to; appended to. A link is not followed.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.count = 0
        """How many there were since the start."""
        self._minute, self._lines, self._unsaid = 0.0, 0, 0
        try:
            self._bytes = file.stat().st_size
        except OSError:
            self._bytes = 0

    def add(self, status: int, who: str, what: str, why: str) -> None:
        """Write one down; what comes from outside is cut, and its control characters escaped."""
        self.count += 1
        now = time.monotonic()
        if now - self._minute > 60:
            self._minute, self._lines = now, 0
        if self._bytes > _MOST_BYTES or self._lines >= _A_MINUTE:
            self._unsaid += 1
            return
        entry: dict[str, Any] = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "status": status,
            "who": who[:_LETTERS],
            "what": what[:_LETTERS],
            "why": why[:_LETTERS],
        }
        if self._unsaid:
            entry["not_logged_before"], self._unsaid = self._unsaid, 0
        line = json.dumps(entry)
        self._lines += 1
        self._bytes += len(line) + 1
        if self._bytes > _MOST_BYTES:
            line = json.dumps({"at": entry["at"], "why": "the log is full, no more is logged"})
        # Whether a refusal can be logged must not decide whether it is one.
        with suppress(OSError):
            log = open_to_append(self._file)
            try:
                os.write(log, line.encode("ascii") + b"\n")
            finally:
                os.close(log)
