"""Watching the acquisition thread.

Another thread acquires, so that Ctrl-C, a camera that hangs and a queue that failed are noticed
even while that thread is busy.
"""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress

from agent.record.journal import Journal
from agent.run.acquisition_thread import AcquisitionThread
from agent.run.attendants import Attendants
from agent.run.guard import Guard
from agent.run.heartbeat import Heartbeat
from agent.run.pause import Stopped
from agent.run.progress import Progress
from agent.run.signals import Interrupts
from agent.run.time_watch import TimeWatch
from devices.errors import DeviceFault

_TICK_S = 0.05
"""Time between two looks at the acquisition (s)."""


class Hung(DeviceFault):
    """A frame did not come in time."""


class Watch:
    """The progress display, until it fails: it cannot end a run.

    Parameters
    ----------
    show
        Called with the progress.
    journal
        Is told if it fails.
    """

    def __init__(self, show: Callable[[Progress], None], journal: Journal) -> None:
        self._show: Callable[[Progress], None] | None = show
        self._journal = journal

    def __call__(self, progress: Progress) -> None:
        """Show it."""
        if self._show is None:
            return
        try:
            self._show(progress)
        except (Exception, SystemExit) as error:
            self._show = None
            what = f"progress is shown no longer: {type(error).__name__}: {error}"
            with suppress(sqlite3.Error):
                self._journal.fault(what, "ignored")


class Supervisor:
    """Lets an acquisition thread work, and pauses or stops it when it is to be.

    Parameters
    ----------
    work
        The thread, not started yet.
    seen
        Signals so far.
    watch
        Shows progress.
    progress, heartbeat
        Of the session.
    attendants
        They say when the run is to end for what is beside it.
    guard
        Replaced if its process dies; None where there is none.
    """

    def __init__(
        self,
        work: AcquisitionThread,
        seen: Interrupts,
        watch: Watch,
        progress: Progress,
        heartbeat: Heartbeat,
        attendants: Attendants,
        guard: Guard | None = None,
    ) -> None:
        self._work, self._seen, self._watch = work, seen, watch
        self._progress, self._heartbeat = progress, heartbeat
        self._guard, self._attendants = guard, attendants
        self._clocks = TimeWatch()
        self._woke = -math.inf

    def run(self) -> str:
        """Wait for the acquisition thread, or for a reason not to.

        Returns
        -------
        str
            `finished`, `hung`, or the name of a signal; `AcquisitionThread.error` says more.
        """
        work, loop, seen = self._work, self._work.loop, self._seen
        self._await_filter()
        if seen.asked:
            self._stop()
        else:
            self._attendants.begin()
            if (trouble := self._attendants.trouble()) is not None:
                self._stop(trouble)
        work.start()
        suspending = paused = False
        while work.is_alive():
            work.join(_TICK_S)
            self._progress.budget_fraction = work.parts.gate.budget_fraction
            self._progress.due_s = loop.due_s
            self._watch(self._progress)
            work.heed()
            self._heartbeat.keep("running")
            if self._guard is not None and (what := self._guard.check()) is not None:
                work.parts.journal.fault(what, "go on", part="guard")
            failure = work.parts.failure or self._attendants.trouble()
            if failure is not None and not work.asked_to_stop:
                self._stop(failure)
            if seen.count == 1 and not work.asked_to_stop:
                self._progress.doing = "finishing the frame, then stopping; again to stop now"
                self._stop()
                self._watch(self._progress)  # the loop may end before the next turn
            if seen.count > 1:
                return seen.name
            # What was on its way when the computer fell asleep is made dark, and set anew.
            if (seen.suspended or self._slept()) and not suspending:
                suspending, paused = True, loop.pausing
                loop.pause()
            if suspending and loop.standing:
                if seen.suspended:
                    seen.suspend()
                suspending = False
                if not paused:
                    loop.resume()
            deadline = loop.deadline
            # On some systems the clock went on while all devices slept.
            if deadline is not None and time.monotonic() > max(deadline, self._woke + self._limit):
                work.error = self._hung()
                return "hung"
        if loop.finished and isinstance(work.error, Stopped):
            work.error = None  # it came to its end before it could be stopped
        if seen.count and not loop.finished:
            return seen.name
        return "finished"

    def _await_filter(self) -> None:
        """Let the filter warm up while it is dark; a stop now prevents all light."""
        filtering = self._work.parts.filtering
        if filtering is None:
            return
        while not self._seen.count and not filtering.ready.wait(_TICK_S):
            self._progress.doing = "warming the filter up"
            self._watch(self._progress)
            self._heartbeat.keep("running")
            self._work.heed()
            if self._seen.suspended:  # nothing is lit yet
                self._seen.suspend()
            if self._work.asked_to_stop:
                return
        if self._seen.count or filtering.failure is not None:
            self._stop(filtering.failure)

    def _slept(self) -> bool:
        """Note what happened to the clocks; whether the computer slept."""
        slept = False
        for event in self._clocks.look():
            self._work.parts.journal.add("clock", event.as_dict())
            slept = slept or event.event == "sleep"
        if slept:
            self._woke = time.monotonic()
        return slept

    @property
    def _limit(self) -> float:
        """How long a device has after a sleep (s)."""
        return self._work.loop.microscope.config.timeout_s

    def _stop(self, error: Exception | None = None) -> None:
        """Have the loop end behind the frame under way, with an error or without."""
        if error is not None:
            self._work.error = error
        self._work.asked_to_stop = True
        self._work.loop.stop()

    def _hung(self) -> Hung:
        microscope = self._work.loop.microscope
        if self._work.loop.finished:
            return Hung(
                f"focus drive {microscope.core.getFocusDevice()!r} hangs: it was not put back "
                f"within {microscope.config.timeout_s:g} s (`microscope.timeout_s`)"
            )
        return Hung(
            f"no frame within its exposure and {microscope.config.timeout_s:g} s "
            f"(`microscope.timeout_s`): camera {microscope.core.getCameraDevice()!r}, "
            "or a device that is set before it, hangs"
        )
