"""What was refused, one JSON object a line: when, to whom, what, and why."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

_MOST_BYTES = 2_000_000
_LETTERS = 200


class Refusals:
    """A log that cannot fill the disk: it ends, and says so, at 2 MB.

    Parameters
    ----------
    file
        Where to; appended to.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.count = 0
        """How many there were since the start."""
        try:
            self._bytes = file.stat().st_size
        except OSError:
            self._bytes = 0

    def add(self, status: int, who: str, what: str, why: str) -> None:
        """Write one down; what comes from outside is cut, and its control characters escaped."""
        self.count += 1
        if self._bytes > _MOST_BYTES:
            return
        entry = {
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "status": status,
            "who": who[:_LETTERS],
            "what": what[:_LETTERS],
            "why": why[:_LETTERS],
        }
        line = json.dumps(entry)
        self._bytes += len(line) + 1
        if self._bytes > _MOST_BYTES:
            line = json.dumps({"at": entry["at"], "why": "the log is full, no more is logged"})
        # Whether a refusal can be logged must not decide whether it is one.
        with suppress(OSError), self._file.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")
