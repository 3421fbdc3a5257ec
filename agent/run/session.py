"""One session of a run: open the microscope, let the loop work, and leave it safe.

The acquisition runs in a thread of its own; this one watches. It takes Ctrl-C, notices a
camera that hangs, writes the heartbeat, and makes the microscope safe as soon as that thread
is to end; whoever opened the microscope makes it safe on every way out.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from agent.config import RunConfig
from agent.config.own_code import PLAN
from agent.plan import Plan
from agent.plans.build import build_plan
from agent.record.anchor import FolderGone
from agent.record.dose import DoseGate
from agent.record.filtered import FilteredStore
from agent.record.folder import REPORT, lock, write_status
from agent.record.journal import Journal
from agent.record.planned import PlannedFrames
from agent.record.reconstructed import ReconstructedStore
from agent.run import ending
from agent.run.acquisition_thread import AcquisitionThread
from agent.run.ending import Result, Status
from agent.run.opening import open_microscope
from agent.run.pause import StopTold
from agent.run.prepare import prepare
from agent.run.progress import Progress
from agent.run.signals import Interrupts, interrupts
from agent.ui.report import live_page
from agent.workers.filter_process import Restore
from agent.workers.rebuild_process import Interpolate
from agent.workers.score import Compute
from agent.workers.start import Processes, processes
from agent.workers.tune_process import MakeTuner
from devices.errors import DeviceFault, Interrupted
from devices.microscope import Microscope
from devices.safety import SafeState

_TICK_S = 0.05
"""Time between two looks at the acquisition (s)."""
_HEARTBEAT_S = 1.0
"""Time between two heartbeats in `status.json` (s)."""


class Hung(DeviceFault):
    """A frame did not come in time."""


class _Watched:
    """What shows progress, until it fails: who only watches cannot end a run."""

    def __init__(self, watch: Callable[[Progress], None], journal: Journal) -> None:
        self._watch: Callable[[Progress], None] | None = watch
        self._journal = journal

    def __call__(self, progress: Progress) -> None:
        if self._watch is None:
            return
        try:
            self._watch(progress)
        except (Exception, SystemExit) as error:
            self._watch = None
            what = f"progress is shown no longer: {type(error).__name__}: {error}"
            with suppress(sqlite3.Error):
                self._journal.fault(what, "ignored")


class Session:
    """A run, from its folder to its end.

    Parameters
    ----------
    config
        What to do.
    source
        File the config came from; relative paths in it start there.
    folder
        The run's folder; an existing ledger in it is gone on with.
    microscope
        An open one, which the session lets go of at its end; otherwise it opens the config's.
    make_plan
        Another plan than the config's, for scripts: called with the config.
    scorer
        Scores frames instead of the quality network: their pixels in, a `Score` of each out.
    restore
        Makes what filters frames instead of the config's model, in the filter's process; there is
        one only if the config has a `filter`.
    interpolate
        Makes what rebuilds skipped frames instead of the config's model, likewise.
    tuner
        Makes what tunes the interpolator, in the tuner's process; there is one only if the config
        has `timelapse.tune`.
    accept_changes
        Go on with other weights than those that the run was begun with.
    """

    def __init__(
        self,
        config: RunConfig,
        source: Path,
        folder: Path,
        *,
        microscope: Microscope | None = None,
        make_plan: Callable[[RunConfig], Plan] | None = None,
        scorer: Compute | None = None,
        restore: Restore | None = None,
        interpolate: Interpolate | None = None,
        tuner: MakeTuner | None = None,
        accept_changes: bool = False,
    ) -> None:
        for own in config.own.values():
            if make_plan is None or own.part is not PLAN:
                own.maker()  # or it would be found missing once the microscope is open
        self.config = config
        self.folder = folder
        self._source = source
        self._microscope = microscope
        self._make_plan = make_plan or build_plan
        self._scorer = scorer
        self._restore = restore
        self._interpolate = interpolate
        self._tuner = tuner
        self._accept_changes = accept_changes
        self.longest_queue = 0
        """Most frames that waited for their score at once."""
        self.progress = Progress(
            config.plan,
            PlannedFrames(
                config.section.planned_frames() if make_plan is None else None,
                config.section.planned_trials(),
            ),
            config.optimize.bleaching_limit,
        )

    def run(self, watch: Callable[[Progress], None] = lambda progress: None) -> Result:
        """Work until the plan ends or something else does.

        Parameters
        ----------
        watch
            Called about twenty times a second, to show progress.

        Raises
        ------
        UserError
            The config does not fit the microscope; nothing was done.
        RunBusy
            Another process is at work in this run.
        Interrupted
            Somebody ended it before it began.
        """
        taken = lock(self.folder)
        try:
            with interrupts() as seen, ExitStack() as open_:
                beside = self._begin_beside(open_, seen)
                microscope = open_.enter_context(self._opened(seen))
                return self._locked(microscope, beside, seen, watch)
        finally:
            taken.release()

    def _begin_beside(self, open_: ExitStack, seen: Interrupts) -> Processes:
        """Start what works beside the loop; it may take long, and nothing is lit."""
        works = processes(
            self.config,
            self._source,
            self.folder,
            scorer=self._scorer,
            restore=self._restore,
            interpolate=self._interpolate,
            tuner=self._tuner,
            page=live_page.LivePage,
        )
        try:
            with seen.breaking():
                if not seen.asked:
                    return open_.enter_context(works)
        except KeyboardInterrupt:
            pass
        raise Interrupted("interrupted before the first frame")

    def _opened(self, seen: Interrupts) -> AbstractContextManager[Microscope]:
        if self._microscope is None:
            return open_microscope(self.config, self._source, seen)
        self._microscope.stop = seen
        return nullcontext(self._microscope)

    def _locked(
        self,
        microscope: Microscope,
        beside: Processes,
        seen: Interrupts,
        watch: Callable[[Progress], None],
    ) -> Result:
        # What was found out in opening it belongs to the run: its fields stay where they are,
        # wherever the stage is when it is gone on with.
        self.config = self.config.model_copy(update={"microscope": microscope.config})
        work = prepare(
            self.config,
            self.folder,
            microscope,
            self._make_plan,
            beside,
            self.progress,
            accept_changes=self._accept_changes,
        )
        watch = _Watched(watch, work.journal)
        reason = "failed"
        cause: BaseException | None = None
        try:
            reason = self._supervise(work, seen, watch)
            # What a thread says that is cut off below is no cause but a consequence.
            cause = work.error
        except Exception as error:
            cause = error
        finally:
            work.loop.close()
            microscope.make_safe(reason)
            work.join(ending.LET_GO_S)
            safe = microscope.make_safe(reason)  # whatever the thread still did in between
            result = self._finish(work, safe, reason, cause, seen)
            microscope.close(reason, hung=work.is_alive())
            if not microscope.closed:
                result = replace(result, thread_left=True)
            finish = not work.is_alive() and reason != "failed"
            self._finish_beside(work, result.status, seen, watch, finish=finish)
        return result

    def _finish(
        self,
        work: AcquisitionThread,
        safe: SafeState,
        reason: str,
        cause: BaseException | None,
        seen: Interrupts,
    ) -> Result:
        """Write down how it ended; the microscope is dark already."""
        done = work.loop.frames + self.progress.skipped
        status = ending.status_of(reason, cause, work.loop.finished, done, self.progress.planned)
        why = ending.why_of(reason, cause)
        if not safe.ok:
            status, why = "failed", f"{why}; not safe: {safe.wrong}"
        if work.analysis is not None:
            work.analysis.close(
                finish=not work.is_alive(),
                go_on=lambda left: seen.count < 2 and reason != "failed",
            )
            self.longest_queue = work.analysis.longest
        try:
            work.loop.give_up_shot()
            work.journal.add("safe_state", replace(safe, reason=why).as_dict())
            if status == "failed":
                work.journal.fault(why, "stop", work.loop.frames)
            if not work.is_alive() and (damage := self._finish_images(work)):
                status, why = "failed", f"{why}; and {damage}"
                work.journal.fault(damage, "stop", work.loop.frames)
            work.journal.add("end", {"status": status, "reason": why})
            self._heartbeat(work.gate, status)
        except FolderGone:  # of which `why` tells
            status = "failed"
        except (OSError, sqlite3.Error) as error:
            status, why = "failed", f"{why}; and the ledger cannot be written: {error}"
        return Result(self._place(work), status, why, safe.ok, work.is_alive())

    def _finish_images(self, work: AcquisitionThread) -> str:
        """Bring the images to their length; says what is wrong with them, if anything is."""
        try:
            # A session that ends while its plan is still being led through the frames
            # of earlier ones has counted only some of them.
            work.images.trim(max(work.loop.frames, work.stored))
            work.images.scale_time(work.loop.interval_s)
        except ValueError as error:  # somebody else wrote into them
            return f"the images cannot be read: {error}"
        return ""

    def _place(self, work: AcquisitionThread) -> Path:
        """The run's folder, also where somebody renamed it."""
        anchor = work.images.anchor
        with suppress(FolderGone):
            return self.folder if anchor is None else anchor.place()
        return self.folder

    def _finish_beside(
        self,
        work: AcquisitionThread,
        status: Status,
        seen: Interrupts,
        watch: Callable[[Progress], None],
        *,
        finish: bool,
    ) -> None:
        """Filter and rebuild what is left; the microscope is let go, so it may take long."""
        before, beat = seen.count, time.monotonic()
        if work.tuning is not None:
            work.tuning.close(finish=False)

        def go_on(doing: str, left: int) -> bool:
            nonlocal beat
            self.progress.doing = f"{doing}, frames left: {left}; Ctrl-C gives them up"
            watch(self.progress)
            if seen.suspended:
                seen.suspend()
            if time.monotonic() - beat > _HEARTBEAT_S:
                beat = time.monotonic()
                self._heartbeat(work.gate, status)
            return seen.count == before

        # A second Ctrl-C meant everything, and who sends SIGTERM will not wait.
        finish = finish and seen.count < 2 and seen.name in ("", "SIGINT")
        pixel_um = self.config.microscope.pixel_size_nm * 1e-3
        if work.rebuilding is not None:
            work.rebuilding.close(finish=finish, go_on=partial(go_on, "rebuilding"))
            with suppress(OSError, ValueError):
                movie = ReconstructedStore(self.folder, [], 0, pixel_size_um=pixel_um)
                movie.scale_time_by(work.loop.times_s)
        if work.filtering is not None:
            work.filtering.close(finish=finish, go_on=partial(go_on, "filtering"))
            with suppress(OSError, ValueError):
                filtered = FilteredStore(self.folder, pixel_size_um=pixel_um)
                filtered.trim(max(work.loop.frames, work.stored))
                filtered.scale_time(work.loop.interval_s)
                live_page.end(self.folder, REPORT)
        if work.rebuilding is not None or work.filtering is not None:
            self.progress.doing = "over"
            self._heartbeat(work.gate, status)
        with suppress(sqlite3.Error):
            work.journal.close()
        if work.images.anchor is not None:
            work.images.anchor.close()

    def _supervise(
        self, work: AcquisitionThread, seen: Interrupts, watch: Callable[[Progress], None]
    ) -> str:
        """Wait for the acquisition thread, or for a reason not to; returns that reason."""
        loop, gate = work.loop, work.gate
        parts = (work.analysis, work.filtering, work.rebuilding)
        beside = [part for part in parts if part is not None]
        self._await_filter(work, seen, watch)
        if seen.asked:
            work.asked_to_stop = True
            loop.stop()
        work.start()
        beat = 0.0
        suspending = paused = False
        while work.is_alive():
            work.join(_TICK_S)
            self.progress.budget_fraction = gate.budget_fraction
            watch(self.progress)
            work.heed()
            if time.monotonic() - beat > _HEARTBEAT_S:
                beat = time.monotonic()
                self._heartbeat(gate, "running")
            failure = next((part.failure for part in beside if part.failure is not None), None)
            if failure is not None and not work.asked_to_stop:
                work.asked_to_stop, work.error = True, failure
                loop.stop()
            if seen.count == 1 and not work.asked_to_stop:
                self.progress.doing = "finishing the frame, then stopping; again to stop now"
                work.asked_to_stop = True
                loop.stop()
                watch(self.progress)  # the loop may end before the next turn
            if seen.count > 1:
                return seen.name
            if seen.suspended and not suspending:
                suspending, paused = True, loop.pausing
                loop.pause()
            if suspending and loop.standing:
                seen.suspend()
                suspending = False
                if not paused:
                    loop.resume()
            deadline = loop.deadline
            if deadline is not None and time.monotonic() > deadline:
                work.error = Hung(
                    f"no frame within its exposure and {self.config.microscope.timeout_s:g} s "
                    f"(`microscope.timeout_s`): camera {loop.microscope.core.getCameraDevice()!r}, "
                    "or a device that is set before it, hangs"
                )
                return "hung"
        if loop.finished and isinstance(work.error, StopTold):
            work.error = None  # it came to its end before it could be stopped
        if seen.count and not loop.finished:
            return seen.name
        return "finished"

    def _await_filter(
        self, work: AcquisitionThread, seen: Interrupts, watch: Callable[[Progress], None]
    ) -> None:
        """Let the filter warm up while it is dark; who stops the run now gets no light at all."""
        if work.filtering is None:
            return
        while not seen.count and not work.filtering.ready.wait(_TICK_S):
            self.progress.doing = "warming the filter up"
            watch(self.progress)
            work.heed()
            if seen.suspended:  # nothing is lit yet
                seen.suspend()
            if work.asked_to_stop:
                return
        work.error = work.filtering.failure
        if seen.count or work.error is not None:
            work.asked_to_stop = True
            work.loop.stop()

    def _heartbeat(self, gate: DoseGate, status: str) -> None:
        beat = {
            "run": self.folder.name,
            "status": status,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "plan": self.config.plan,
            "frames": self.progress.frames,
            "planned": self.progress.planned,
            "doing": self.progress.doing,
            "paused": self.progress.paused,
            "score": self.progress.score,
            "budget_fraction": gate.budget_fraction,
            "faults": self.progress.faults,
            "filtered": self.progress.filtered,
            "uncertainty": self.progress.uncertainty,
            "skipped": self.progress.skipped,
            "rebuilt": self.progress.rebuilt,
        }
        # Where a monitor has the file open, Windows does not let it be replaced; a disk that is
        # full is told of by the next frame.
        with suppress(OSError):
            write_status(self.folder, beat)
