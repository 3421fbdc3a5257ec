"""One session of a run: open the microscope, let the loop work, and leave it safe.

The acquisition runs in a thread of its own; this one watches it (`agent.run.supervisor`), and
makes the microscope safe as soon as that thread is to end. The opener of the microscope makes it
safe on every way out.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from agent.config import RunConfig
from agent.config.own_code import PLAN
from agent.plan import Plan
from agent.plans.build import build_plan
from agent.record.anchor import FolderGone
from agent.record.filtered import By
from agent.record.filtered_frames import FilteredFrames
from agent.record.folder import REPORT, lock
from agent.record.ledger import FILE as LEDGER
from agent.record.planned import PlannedFrames
from agent.record.reconstructed_stacks import movies
from agent.run import ending
from agent.run.acquisition_thread import AcquisitionThread
from agent.run.attendants import Attendants
from agent.run.awake import kept_awake
from agent.run.ending import Result, Status
from agent.run.guard import Guard
from agent.run.heartbeat import Heartbeat
from agent.run.opening import choose_autofocus, open_microscope
from agent.run.prepare import prepare
from agent.run.progress import Progress
from agent.run.signals import Interrupts, interrupts
from agent.run.supervisor import Supervisor, Watch
from agent.ui.report import live_page
from agent.workers.filter_process import Restore
from agent.workers.rebuild_process import Interpolate
from agent.workers.score import Compute
from agent.workers.start import Processes, processes
from agent.workers.tune_process import MakeTuner
from devices.errors import Interrupted
from devices.microscope import Microscope
from devices.safety import SafeState


class Session:
    """A run, from its folder to its end.

    Parameters
    ----------
    config
        What to do.
    source
        File the config came from; relative paths in it start there.
    folder
        The run's folder; an existing ledger in it is continued.
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
        Continue with other weights than those that the run was begun with.
    guard
        What makes the microscope dark if this process dies; see `agent.run.guard`.
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
        guard: Guard | None = None,
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
        self._guard = guard
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
            The run is already running in another process.
        Interrupted
            It was ended before it began.
        """
        taken = lock(self.folder)
        try:
            with interrupts() as seen, ExitStack() as open_:
                awake = open_.enter_context(kept_awake())
                beside = self._begin_beside(open_, seen)
                microscope = open_.enter_context(self._opened(seen))
                if self._guard is not None:
                    self._guard.ready()
                return self._locked(microscope, beside, seen, watch, awake)
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

    @property
    def _begun(self) -> bool:
        """An earlier session has left something."""
        return (self.folder / LEDGER).exists()

    def _opened(self, seen: Interrupts) -> AbstractContextManager[Microscope]:
        if self._microscope is None:
            return open_microscope(self.config, self._source, seen, begun=self._begun)
        self._microscope.stop = seen
        choose_autofocus(self.config, self._microscope, self._source)
        return nullcontext(self._microscope)

    def _locked(
        self,
        microscope: Microscope,
        beside: Processes,
        seen: Interrupts,
        show: Callable[[Progress], None],
        awake: str | None,
    ) -> Result:
        # Values read on opening belong to the run: its fields stay where they are, wherever the
        # stage is when the run is resumed.
        scope = microscope.config
        if self._begun:
            # A run from before there were calibrations goes on without one.
            scope = scope.model_copy(update={"affine": self.config.microscope.affine})
        self.config = self.config.model_copy(update={"microscope": scope})
        work = prepare(
            self.config,
            self.folder,
            microscope,
            self._make_plan,
            beside,
            self.progress,
            accept_changes=self._accept_changes,
            awake=awake,
        )
        if self._guard is not None:
            self._guard.watch(self.folder)
        journal = work.parts.journal
        attendants = Attendants(
            self.config, microscope, journal, self.progress, lambda: self._place(work)
        )
        beat = Heartbeat(self.folder, self.progress, work.parts.gate, attendants.pulse)
        watch = Watch(show, journal)
        reason = "failed"
        cause: BaseException | None = None
        try:
            reason = Supervisor(
                work, seen, watch, self.progress, beat, attendants, self._guard
            ).run()
            # An error of a thread that is cut off below is no cause but a consequence.
            cause = work.error
        except Exception as error:
            cause = error
        finally:
            work.loop.close()
            microscope.make_safe(reason)
            work.join(ending.LET_GO_S)
            refused = None if work.is_alive() else microscope.shut_down(reason)
            safe = microscope.make_safe(reason)  # the thread may have lit something in between
            attendants.dark()
            result = self._finish(work, safe, refused, reason, cause, seen, beat)
            microscope.close(reason, hung=work.is_alive() or attendants.hangs)
            if not microscope.closed:
                result = replace(result, thread_left=True)
            elif self._guard is not None:
                self._guard.end()  # from here on the microscope may be another's
            finish = not work.is_alive() and reason != "failed"
            self._finish_beside(work, result.status, seen, watch, beat, attendants, finish=finish)
            attendants.close(lambda: not seen.now)
            with suppress(sqlite3.Error):
                journal.close()
        return result

    def _finish(
        self,
        work: AcquisitionThread,
        safe: SafeState,
        refused: str | None,
        reason: str,
        cause: BaseException | None,
        seen: Interrupts,
        beat: Heartbeat,
    ) -> Result:
        """Write down how it ended; the microscope is dark already."""
        done = work.loop.shots + self.progress.skipped
        status = ending.status_of(reason, cause, work.loop.finished, done, self.progress.planned)
        why = ending.why_of(reason, cause)
        if not safe.ok:
            status, why = "failed", f"{why}; not safe: {safe.wrong}"
        parts = work.parts
        if parts.analysis is not None:
            parts.analysis.close(
                finish=not work.is_alive(),
                go_on=lambda left: seen.count < 2 and reason != "failed",
            )
            self.longest_queue = parts.analysis.longest
        try:
            work.loop.give_up_shot()
            parts.journal.add("safe_state", replace(safe, reason=why).as_dict())
            if refused is not None:
                parts.journal.fault(f"the .cfg's Shutdown preset: {refused}", "go on")
            if status == "failed":
                parts.journal.fault(why, "stop", work.loop.frames)
            if not work.is_alive() and (damage := self._finish_images(work)):
                status, why = "failed", f"{why}; and {damage}"
                parts.journal.fault(damage, "stop", work.loop.frames)
            parts.journal.add("end", {"status": status, "reason": why})
            beat.beat(status)
        except FolderGone:  # of which `why` tells
            status = "failed"
        except (OSError, sqlite3.Error) as error:
            status, why = "failed", f"{why}; and the ledger cannot be written: {error}"
        return Result(self._place(work), status, why, safe.ok, work.is_alive())

    def _finish_images(self, work: AcquisitionThread) -> str:
        """Bring the images to their length; returns their damage, in words."""
        try:
            # A session that ends while its plan is still being led through the frames
            # of earlier ones has counted only some of them.
            work.parts.images.finish(
                max(work.loop.frames, work.parts.stored),
                work.loop.times_s,
                work.loop.interval_s,
            )
        except ValueError as error:  # another program wrote into them
            return f"the images cannot be read: {error}"
        except OSError as error:
            return f"the images cannot be written: {error}"
        return ""

    def _place(self, work: AcquisitionThread) -> Path:
        """The run's folder, also after it was renamed."""
        anchor = work.parts.images.anchor
        with suppress(FolderGone):
            return self.folder if anchor is None else anchor.place()
        return self.folder

    def _finish_beside(
        self,
        work: AcquisitionThread,
        status: Status,
        seen: Interrupts,
        watch: Watch,
        beat: Heartbeat,
        attendants: Attendants,
        *,
        finish: bool,
    ) -> None:
        """Filter and rebuild remaining frames; the microscope is let go, so it may take long."""
        before, parts = seen.count, work.parts
        if parts.tuning is not None:
            parts.tuning.close(finish=False)

        def go_on(doing: str, left: int) -> bool:
            self.progress.doing = f"{doing}, frames left: {left}; Ctrl-C gives them up"
            watch(self.progress)
            if seen.suspended:
                seen.suspend()
            beat.keep(status)
            return seen.count == before and not attendants.scarce

        # A second Ctrl-C means everything, and SIGTERM leaves no time.
        finish = finish and seen.count < 2 and seen.name in ("", "SIGINT")
        pixel_um = self.config.microscope.pixel_size_nm * 1e-3
        if parts.rebuilding is not None:
            parts.rebuilding.close(finish=finish, go_on=partial(go_on, "rebuilding"))
            with suppress(OSError, ValueError):
                for movie in movies(self.folder, pixel_um):
                    movie.scale_time_by(work.loop.times_s)
        if parts.filtering is not None:
            parts.filtering.close(finish=finish, go_on=partial(go_on, "filtering"))
            with suppress(OSError, ValueError):
                filtered = FilteredFrames(
                    self.folder, pixel_size_um=pixel_um, by=By.of(self.config)
                )
                filtered.finish(max(work.loop.frames, parts.stored), work.loop.interval_s)
                live_page.end(self.folder, REPORT)
        if parts.rebuilding is not None or parts.filtering is not None:
            self.progress.doing = "over"
            beat.beat(status)
        if parts.images.anchor is not None:
            parts.images.anchor.close()
