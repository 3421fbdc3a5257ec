"""Reads a run's folder for its pages: ledger, heartbeat, and whether a session is running."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.record.folder import STATUS, is_running, read_config
from agent.record.ledger import FILE as LEDGER
from agent.record.ledger import DamagedLedger, Ledger
from agent.ui.view.run_state import RunState

_CHUNK = 2000
Made = TypeVar("Made")
_FRESH_S = 0.08
"""Data read less than this ago is not read again for the next page."""
_SILENT_S = 4.0
"""A heartbeat that is older may be that of a process that was killed."""
_TRY_EVERY_S = 2.0


class Reader:
    """A run's folder, read as it grows; safe to use from several threads.

    Parameters
    ----------
    folder
        The run's; its session may not have begun yet.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.resolve().name
        self.config: RunConfig | None = None
        self.course: RunState | None = None
        self.status: dict[str, Any] = {}
        """The heartbeat."""
        self.version = 0
        """Changes with anything that a page shows."""
        self.news = 0
        """Changes with the parts shown at once: phase, damage, commands, faults, settings."""
        self.phase = "waiting"
        self.damage = ""
        """Why the folder cannot be read; empty where it can."""
        self._ledger: Ledger | None = None
        self._told = self._news()
        self._lock = threading.RLock()
        self._read_at = 0.0
        self._beat: tuple[int, int] | None = None
        self._killed_at: tuple[Any, ...] | None = None
        self._tried_at = 0.0

    def refresh(self) -> int:
        """Read new entries; returns the version."""
        with self._lock:
            if self.fresh:
                return self.version
            changed = self._open() | self._read_entries() | self._read_status()
            phase = self._phase()
            if changed or phase != self.phase:
                self.version += 1
            self.phase = phase
            if (news := self._news()) != self._told:
                self.news, self._told = self.news + 1, news
            self._read_at = time.monotonic()
            return self.version

    @property
    def fresh(self) -> bool:
        """Whether it was read only just now."""
        return time.monotonic() - self._read_at < _FRESH_S

    def look(self, make: Callable[[Reader], Made]) -> Made:
        """Call `make` with this reader, while nothing more is read."""
        with self._lock:
            return make(self)

    @property
    def over(self) -> bool:
        """Whether no session is running."""
        return self.phase in ("completed", "stopped", "interrupted", "failed", "killed")

    def entries_of(self, index: int) -> list[Any]:
        """What the ledger says of a frame."""
        with self._lock:
            return self._ledger.of_frame(index) if self._ledger is not None else []

    def _open(self) -> bool:
        if self._ledger is not None or not (self.folder / LEDGER).is_file():
            return False
        # The config is written between the ledger's birth and its first entry.
        with suppress(UserError):
            self.config = read_config(self.folder)
            try:
                self._ledger = Ledger(self.folder, readonly=True)
            except DamagedLedger as error:
                return self._is_damaged(error)
            self.course = RunState(self.config)
            return True
        return False

    def _is_damaged(self, error: Exception) -> bool:
        """Say what is wrong, without where the folder lies; whether that is new."""
        text = str(error).removeprefix(f"{self.folder}{os.sep}") or type(error).__name__
        why = text if LEDGER in text else f"{LEDGER}: {text}"
        new, self.damage = why != self.damage, why
        return new

    def _read_entries(self) -> bool:
        if self._ledger is None or self.course is None:
            return False
        changed = False
        try:
            while self.course.take(self._ledger.entries(after=self.course.read, most=_CHUNK)):
                changed = True
                if self.course.outdated:
                    self.course = RunState(self.course.config)
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            changed = self._is_damaged(error)
        else:
            changed, self.damage = changed or bool(self.damage), ""
        return changed

    def _read_status(self) -> bool:
        file = self.folder / STATUS
        try:
            found = file.stat()
            beat = found.st_mtime_ns, found.st_size
            if beat == self._beat:
                return False
            read = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        self._beat = beat
        status = read if isinstance(read, dict) else {}
        changed = {**status, "at": ""} != {**self.status, "at": ""}
        self.status = status
        return changed

    def _phase(self) -> str:
        course = self.course
        if course is None or not course.sessions:
            return "waiting"
        if course.end is not None:
            return str(course.end["status"])
        if self._was_killed(course):
            return "killed"
        if course.stopping:
            return "stopping"
        if course.paused:
            return "paused"
        if course.pausing:
            return "pausing"
        return "running" if course.acquired else "starting"

    def _news(self) -> tuple[Any, ...]:
        versions = self.course.versions if self.course is not None else {}
        return self.phase, self.damage, versions.get("log"), versions.get("settings")

    def _was_killed(self, course: RunState) -> bool:
        """Whether the session ended without a word.

        A running session holds the run's lock, but trying the lock means holding it for a moment,
        and a session that begins just then would fail. So it is tried once for each silence.
        """
        seen = (course.read, self._beat)
        if self._killed_at is not None and seen == self._killed_at:
            return True
        self._killed_at = None
        if self.silent_s() > _SILENT_S and time.monotonic() > self._tried_at + _TRY_EVERY_S:
            self._tried_at = time.monotonic()
            if not is_running(self.folder):
                self._killed_at = seen
        return self._killed_at is not None

    def silent_s(self) -> float:
        """Time since the run's last sign of life (s)."""
        signs = [self.status.get("at")]
        if self.course is not None and self.course.sessions:
            signs.append(self.course.sessions[-1]["at"])
        times = [at for sign in signs if (at := _time_of(sign)) is not None]
        if not times:
            return 0.0
        return (datetime.now(UTC) - max(times)).total_seconds()


def _time_of(sign: object) -> datetime | None:
    """When it was; None where it is no time with its zone."""
    try:
        at = datetime.fromisoformat(sign) if isinstance(sign, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None
