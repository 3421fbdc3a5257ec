"""The heartbeat of a session: a file that a person or a monitor can read."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.record.dose import DoseGate
from agent.record.folder import write_status
from agent.run.progress import Progress

_EVERY_S = 1.0
"""Time between two heartbeats in `status.json` (s)."""


class Heartbeat:
    """Writes a run's `status.json`.

    Parameters
    ----------
    folder
        The run's.
    progress, gate
        The state that it writes.
    pulse
        Called with each look, whether it writes or not.
    """

    def __init__(
        self,
        folder: Path,
        progress: Progress,
        gate: DoseGate,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder, self._progress, self._gate = folder, progress, gate
        self._pulse = pulse
        self._last = -math.inf

    def keep(self, status: str) -> None:
        """Write it if the last one is a second old."""
        self._pulse()
        if time.monotonic() - self._last > _EVERY_S:
            self.beat(status)

    def beat(self, status: str) -> None:
        """Write it."""
        self._last = time.monotonic()
        beat = {
            "run": self._folder.name,
            "status": status,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "plan": self._progress.plan,
            "frames": self._progress.frames,
            "planned": self._progress.planned,
            "doing": self._progress.doing,
            "due": self._due(),
            "paused": self._progress.paused,
            "score": self._progress.score,
            "budget_fraction": self._gate.budget_fraction,
            "faults": self._progress.faults,
            "filtered": self._progress.filtered,
            "uncertainty": self._progress.uncertainty,
            "skipped": self._progress.skipped,
            "rebuilt": self._progress.rebuilt,
        }
        # Where a monitor has the file open, Windows does not let it be replaced; a disk that is
        # full is told of by the next frame.
        with suppress(OSError):
            write_status(self._folder, beat)

    def _due(self) -> str | None:
        """When the next frame is due, where it is waited for (ISO 8601, UTC)."""
        if (due_s := self._progress.due_s) is None:
            return None
        left = timedelta(seconds=due_s - time.monotonic())
        return (datetime.now(UTC) + left).isoformat(timespec="seconds")
