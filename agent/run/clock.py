"""The three times of a run: that of its schedule, that of its frames, and a simulated one.

The schedule says when a time point is due. It stands still while nothing could be taken: until the
first frame of a session is asked for (a filter warms up, stored frames are played to the plan),
through a pause, and between sessions. A time point that is too late all the same shifts it, or is
left out.

A frame's time is the true one, from the birth of the run on, pauses included: a living sample does
not pause. Where the sample is simulated, its own clock is both.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from agent.record.recording import Recording
from devices.autofocus import Autofocus
from devices.shot import Shot

_SLEPT_S = 0.05
"""How far the clock comes ahead of `time.monotonic` only where the computer slept (s)."""
_Step = TypeVar("_Step", Shot, Autofocus)


def elapsed_s() -> float:
    """A clock (s) that is never set, and that continues while the computer sleeps."""
    if hasattr(time, "CLOCK_BOOTTIME"):  # Linux, whose monotonic clock sleeps as well
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_MONOTONIC"):  # macOS, where `time.monotonic` is another one
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.perf_counter()


class Clock:
    """The times of one session of a run.

    Parameters
    ----------
    simulated_s
        Time of a simulated sample (s); None on a microscope that lives in ours.
    schedule_s
        Where the schedule stood when the last session ended (s).
    age_s
        How long ago the run was born (s).
    shifted_s
        By how much a simulated schedule was shifted so far (s).
    now
        The computer's clock (s).
    """

    def __init__(
        self,
        simulated_s: Callable[[], float | None] = lambda: None,
        *,
        schedule_s: float = 0.0,
        age_s: float = 0.0,
        shifted_s: float = 0.0,
        now: Callable[[], float] = elapsed_s,
    ) -> None:
        self._simulated_s, self._now = simulated_s, now
        self._born = now() - age_s
        self._stood_at = schedule_s
        self._since: float | None = None
        self._shifted_s = shifted_s
        self._ahead_s = 0.0

    @classmethod
    def of(cls, recording: Recording, simulated_s: Callable[[], float | None]) -> Clock:
        """The clock of a run's next session, from what the earlier ones left."""
        frames = [taken.frame for taken in recording.taken.values()]
        age_s = max((frame["time_s"] for frame in frames), default=0.0)
        if recording.sessions:
            born = datetime.fromisoformat(recording.sessions[0]["at"])
            set_s = sum(one["by_s"] for one in recording.clock if one["event"] == "jump")
            # It may have been set between two sessions; no frame is older than one before it.
            age_s = max(age_s, (datetime.now(UTC) - born).total_seconds() - set_s)
        return cls(
            simulated_s,
            # In runs of earlier versions the two were one.
            schedule_s=max((f.get("schedule_s", f["time_s"]) for f in frames), default=0.0),
            age_s=age_s,
            shifted_s=sum(one["by_s"] for one in recording.late if one["policy"] == "shift"),
        )

    @property
    def schedule_s(self) -> float:
        """Time of the schedule (s)."""
        simulated = self._simulated_s()
        if simulated is not None:
            return simulated - self._shifted_s
        return self._stood_at + (0.0 if self._since is None else self._now() - self._since)

    @property
    def time_s(self) -> float:
        """Time of a frame that is taken now (s)."""
        simulated = self._simulated_s()
        return self._now() - self._born if simulated is None else simulated

    def times_s(self, at_s: float | None = None) -> tuple[float, float]:
        """Time of a frame, and of the schedule (s).

        Parameters
        ----------
        at_s
            When it was taken, on `time.monotonic`; now if absent, or if the sample is simulated.
        """
        if at_s is None or self._simulated_s() is not None:
            return self.time_s, self.schedule_s
        # Read one after the other, the second may be late: the largest difference is the true one.
        ahead_s = self._now() - time.monotonic()
        if not 0 <= self._ahead_s - ahead_s <= _SLEPT_S:
            self._ahead_s = ahead_s
        moment = at_s + self._ahead_s
        since = moment if self._since is None else self._since
        return moment - self._born, self._stood_at + moment - since

    def go(self) -> None:
        """Let the schedule continue."""
        if self._since is None:
            self._since = self._now()

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Let the schedule stand still while the context lasts, as a simulated one does anyway."""
        went_on = self._since is not None
        if self._since is not None:
            self._stood_at, self._since = self._stood_at + self._now() - self._since, None
        try:
            yield
        finally:
            if went_on:
                self.go()

    def shift(self, by_s: float) -> None:
        """Have everything that is scheduled due later (s)."""
        self._stood_at -= by_s
        self._shifted_s += by_s

    def dated(self, step: _Step) -> _Step:
        """A step with its time on the clock of the sample, where that is simulated."""
        if step.at_s is None or self._simulated_s() is None:
            return step
        return replace(step, at_s=step.at_s + self._shifted_s)
