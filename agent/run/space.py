"""Room on a run's disk: a run stops before it is full, while all that was taken can be written."""

from __future__ import annotations

import math
import shutil
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.run.pause import Stopped
from agent.run.progress import Progress

ROOM_S = 120.0
"""How much longer there must be room, at the pace measured (s)."""
_EVERY_S = 1.0
"""Time between two looks (s)."""
_SHORTEST_S = 5.0
"""The first frames count as if they had taken that long (s)."""
_END_BYTES = 8 << 20
"""What the end of a run writes: ledger, metadata, report (bytes); chosen, of a night's run."""
FILTERED_BYTES = 8
"""Of a pixel of a filtered frame: its value and its deviation, in single precision."""
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


class OutOfRoom(Stopped):
    """The disk is nearly full."""


class _Look(NamedTuple):
    at_s: float
    free: int
    written: float


class Space:
    """Looks at the free space on a run's disk.

    What the run itself writes is counted by its frames, and is no more than the frames still to
    come take. Other programs are taken to write as much as in the last two minutes.

    Parameters
    ----------
    progress
        Of the session: how many shots there were, and are to be.
    frames_a_shot
        Frames that the camera gives at once.
    now
        A clock (s).
    """

    def __init__(
        self,
        progress: Progress,
        frames_a_shot: int = 1,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress, self._now = progress, now
        self._frames_a_shot = frames_a_shot
        self._looks: deque[_Look] = deque()
        self._written = 0.0
        self._taken = 0
        self._pixels = self._frame_bytes = 0
        self._last = -math.inf

    def hear(self, kind: str, data: dict[str, Any]) -> None:
        """Count the pixels of a ledger entry, as a listener of its journal."""
        if kind == "frame" and "shape" in data:  # not one of an earlier session
            self._pixels = math.prod(data["shape"])
            self._frame_bytes = self._pixels * np.dtype(data["dtype"]).itemsize
            self._written += self._frame_bytes * self._frames_a_shot
            self._taken += 1
        elif kind == "filtered":
            self._written += self._pixels * FILTERED_BYTES
        elif kind == "rebuilt":
            self._written += len(data["points"]) * self._frame_bytes

    def look(self, folder: Path) -> OutOfRoom | None:
        """Why the run is to stop, once its disk has room for two minutes and not much more.

        Parameters
        ----------
        folder
            The run's, on that disk.
        """
        now = self._now()
        if now - self._last < _EVERY_S or (free := free_bytes(folder)) is None:
            return None
        self._last = now
        looks = self._looks
        looks.append(_Look(now, free, self._written))
        while looks[0].at_s < now - ROOM_S:
            looks.popleft()
        began = looks[0]
        own = self._written - began.written
        others = max(0.0, began.free - free - own)
        pace = own / max(now - began.at_s, _SHORTEST_S)
        used = others + min(pace * ROOM_S, self._to_come)
        if free > used + _END_BYTES:
            return None
        return OutOfRoom(
            f"the disk of {folder} has {in_words(free)} left, and two minutes of this run take "
            f"{in_words(used)}; make room, and `stedfast resume {folder}` goes on"
        )

    def scarce(self, folder: Path) -> bool:
        """Whether only the end of a run should be written to its disk any more."""
        free = free_bytes(folder)
        return free is not None and free < _END_BYTES

    @property
    def _to_come(self) -> float:
        """Bytes of the frames that are still to come, at most."""
        planned, done = self._progress.planned, self._progress.frames + self._progress.skipped
        if planned is None or self._taken == 0:
            return math.inf
        return max(0, planned - done) * self._written / self._taken


def free_bytes(place: Path) -> int | None:
    """Free space on the disk that a folder is on, or is to be on; None where that is not known."""
    place = place.absolute()
    try:
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        return shutil.disk_usage(there).free
    except OSError:
        return None


def in_words(size: float) -> str:
    """A number of bytes for a person.

    Examples
    --------
    >>> in_words(41_000), in_words(2_500_000), in_words(3.21e12)
    ('41.0 kB', '2.5 MB', '3210.0 GB')
    """
    scale, unit = next((one for one in _UNITS if size >= one[0]), _UNITS[-1])
    return f"{size / scale:.1f} {unit}"
