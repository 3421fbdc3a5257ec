"""What happens to the clocks of the computer while a run works: sleep, a jump, summer time.

None of it changes a schedule, which follows a clock that is never set (`agent.run.clock`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from agent.run.clock import elapsed_s

_EVERY_S = 1.0
"""Time between two looks (s)."""
_NOTED_S = 1.0
"""A sleep or a jump that is shorter is none (s): a clock that is adjusted moves by less."""
_AT_ONCE_S = 0.05
"""Clocks that were read within this time were read at once (s)."""
_TRIES = 5


class Clocks(NamedTuple):
    """The computer's clocks, read at once (s).

    Attributes
    ----------
    awake
        Stands still while the computer sleeps.
    elapsed
        Goes on.
    wall
        UTC; it may be set.
    zone
        Local time less UTC.
    """

    awake: float
    elapsed: float
    wall: float
    zone: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the clocks.

    Attributes
    ----------
    event
        What: `sleep`, `jump` of the wall clock, or another `zone` for local time.
    by_s
        How long, or by how much (s).
    """

    event: Literal["sleep", "jump", "zone"]
    by_s: float

    @property
    def what(self) -> str:
        """In words.

        Examples
        --------
        >>> Event("sleep", 3600.2).what
        'the computer slept for 3600 s'
        """
        if self.event == "sleep":
            return f"the computer slept for {self.by_s:.0f} s"
        if self.event == "jump":
            way = "forward" if self.by_s > 0 else "back"
            return f"the computer's clock was set {way} by {abs(self.by_s):.0f} s"
        hours = f"{self.by_s / 3600:+g} h"
        return f"local time changed by {hours}; times of this run are in UTC"

    def as_dict(self) -> dict[str, Any]:
        """For the ledger."""
        return {"event": self.event, "by_s": round(self.by_s, 3), "what": self.what}


def awake_s() -> float:
    """A clock (s) that stands still while the computer sleeps."""
    if sys.platform == "win32":
        import ctypes

        found = ctypes.c_ulonglong()
        ctypes.windll.kernel32.QueryUnbiasedInterruptTime(ctypes.byref(found))
        return found.value * 1e-7
    return time.monotonic()


def read_clocks() -> Clocks:
    """Read all clocks, again if something came in between."""
    for _ in range(_TRIES):
        began = time.perf_counter()
        wall = time.time()
        found = Clocks(awake_s(), elapsed_s(), wall, float(time.localtime(wall).tm_gmtoff))
        if time.perf_counter() - began < _AT_ONCE_S:
            break
    return found


class TimeWatch:
    """Compares the clocks from one look to the next.

    Parameters
    ----------
    clocks
        Reads them.
    """

    def __init__(self, clocks: Callable[[], Clocks] = read_clocks) -> None:
        self._clocks = clocks
        self._last = clocks()

    def look(self) -> list[Event]:
        """What happened since the last look."""
        last, now = self._last, self._clocks()
        if 0 <= now.elapsed - last.elapsed < _EVERY_S:
            return []
        self._last = now
        elapsed = now.elapsed - last.elapsed
        found = []
        if (slept := elapsed - (now.awake - last.awake)) >= _NOTED_S:
            found.append(Event("sleep", slept))
        if abs(jumped := now.wall - last.wall - elapsed) >= _NOTED_S:
            found.append(Event("jump", jumped))
        if now.zone != last.zone:
            found.append(Event("zone", now.zone - last.zone))
        return found
