"""One session of a run: open the microscope, let the loop work, and leave it safe.

The acquisition runs in a thread of its own; this one watches. It takes Ctrl-C, notices a
camera that hangs, writes the heartbeat, and owns the one `finally` that makes the microscope
safe on every way out.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from agent import live_page
from agent.analysis import Analysis, Compute
from agent.catch_up import catch_up
from agent.commands import Commands, Obedience, StopTold
from agent.config import RunConfig
from agent.control import Control
from agent.dose import BudgetReached, DoseGate
from agent.filter_process import FilterProcess, Restore
from agent.filter_setup import check_filter, filtering_process, recorder
from agent.filtered import Filtering
from agent.filtered_images import FilteredStore
from agent.folder import REPORT, RunBusy, lock, versions, write_config, write_status
from agent.images import ImageStore
from agent.ledger import Ledger
from agent.loop import Loop
from agent.plan import AnalysisError, Plan
from agent.planning import build_plan, planned_frames
from agent.reading import located
from agent.rebuild_process import Interpolate, RebuildProcess
from agent.rebuild_setup import check_interpolator, rebuild_recorder, rebuilding_process
from agent.rebuilding import Rebuilding
from agent.recording import LAPSE, Recording, score_as_dict
from agent.scorer_process import ScorerProcess
from agent.signals import Interrupts, interrupts
from agent.trial import FRAMES_EACH
from devices.errors import BindingError, DeviceFault
from devices.microscope import Microscope
from devices.safety import SafeState
from models.quality.score import Score, doubtful

Status = Literal["completed", "stopped", "interrupted", "failed"]
Images = TypeVar("Images", bound=ImageStore)
EXIT_CODES: dict[Status, int] = {"completed": 0, "stopped": 0, "interrupted": 130, "failed": 1}
_TICK_S = 0.05
_HEARTBEAT_S = 1.0
_LET_GO_S = 2.0


class Hung(DeviceFault):
    """A frame did not come in time."""


@dataclass(slots=True)
class Progress:
    """What a person wants to know of a run that is going on; refreshed by the loop."""

    plan: str
    planned: int | None
    """Frames of the whole run; changes with the number of trials, and grows where a flagged one
    is taken again."""
    trials: int
    bleaching_limit: float = 1.0
    frames: int = 0
    trial: int = 0
    score: float | None = None
    best: float | None = None
    bleaching: float | None = None
    budget_fraction: float | None = None
    doing: str = "starting"
    paused: bool = False
    faults: int = 0
    filtered: int | None = None
    """Frames that were filtered; None where nobody filters."""
    uncertainty: float | None = None
    """The filter's, of the frame it filtered last."""
    skipped: int = 0
    """Frames that were deliberately not taken."""
    rebuilt: int = 0
    """Those of them that were rebuilt."""

    def take(self, kind: str, data: dict[str, Any]) -> None:
        """Learn from a ledger entry."""
        if kind == "catching up":
            self.doing = f"bringing the virtual sample up to date, {data['frame']}/{data['of']}"
        elif kind == "shot":
            self.doing = data["purpose"] or data["mode"]
        elif kind == "frame":
            self.frames += 1
        elif kind == "score":
            self.score = data["value"]
        elif kind == "pause":
            self.paused = data["paused"]
            self.doing = "paused" if self.paused else "going on"
        elif kind == "filtered":
            self.filtered = (self.filtered or 0) + 1
            self.uncertainty = data["uncertainty"]
        elif kind == "rebuilt":
            self.rebuilt += len(data["uncertainty"][: len(data["points"])])
        elif kind == "fault":
            self.faults += 1
        elif kind == "note" and data["topic"] == LAPSE:
            self.skipped += sum(mark["frame"] is None for mark in data["data"]["frames"])
        elif kind == "note" and data["topic"] == "flagged":
            if self.planned is not None:
                self.planned += FRAMES_EACH
        elif kind == "note" and data["topic"] in ("told", "enough"):
            trials = data["data"].get("trials", self.trials)
            if self.planned is not None:
                self.planned += FRAMES_EACH * (trials - self.trials)
            self.trials = trials
        elif kind == "note" and data["topic"] == "trial":
            self.trial += 1
            if (found := data["data"]["objectives"]) is not None:
                self.bleaching = found["bleaching"]
                if found["bleaching"] <= self.bleaching_limit and not doubtful(
                    found.get("flags", ())
                ):
                    self.best = max(found["score"], self.best or 0.0)


@dataclass(frozen=True, slots=True)
class Result:
    """How a session ended."""

    folder: Path
    status: Status
    reason: str
    safe: bool
    thread_left: bool
    """A thread still hangs in a driver: end the process without waiting for it."""


def open_microscope(config: RunConfig, source: Path) -> Microscope:
    """Open the config's microscope; a mismatch becomes a `ConfigError` that says where."""
    check_filter(config, source)
    check_interpolator(config, source)
    try:
        microscope = Microscope.open(config.microscope, base=source.parent, seed=config.seed)
    except BindingError as error:
        raise located(source, ("microscope", *error.path), str(error)) from None
    if config.plan != "live" and not microscope.core.getXYStageDevice():
        microscope.close()
        raise located(
            source,
            ("microscope",),
            f"has no XY stage, and `plan: {config.plan}` moves to its fields",
        )
    return microscope


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
        An open one, which the session closes at its end; otherwise the config's is opened.
    make_plan
        Another plan than the config's, for scripts: called with the config.
    scorer
        Scores frames instead of the quality network: their pixels in, a `Score` of each out.
    restore
        Makes what filters frames instead of the config's model, in the filter's process; there is
        one only if the config has a `filter`.
    interpolate
        Makes what rebuilds skipped frames instead of the config's model, likewise.
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
    ) -> None:
        self.config = config
        self.folder = folder
        self._source = source
        self._microscope = microscope
        self._make_plan = make_plan or build_plan
        self._scorer = scorer
        self._restore = restore
        self._interpolate = interpolate
        self.longest_queue = 0
        """Most frames that waited for their score at once."""
        optimizing = config.plan == "optimize"
        self.progress = Progress(
            config.plan,
            planned_frames(config) if make_plan is None else None,
            config.optimize.trials if optimizing else 0,
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
        ConfigError
            The config does not fit the microscope; nothing was done.
        RunBusy
            Another process is at work in this run.
        """
        taken = lock(self.folder)
        try:
            with (
                interrupts() as seen,
                _scoring(self.config, self._source, self._scorer) as (scorer, weights),
                filtering_process(self.config, self._source, self.folder, self._restore) as filters,
                rebuilding_process(
                    self.config, self._source, self.folder, self._interpolate
                ) as rebuilds,
            ):
                if filters is not None:
                    weights = {**weights, "filter": filters.weights_hash}
                if rebuilds is not None:
                    weights = {**weights, "interpolator": rebuilds.weights_hash}
                return self._locked(scorer, filters, rebuilds, weights, seen, watch)
        finally:
            taken.release()

    def _locked(
        self,
        scorer: Compute | None,
        filters: FilterProcess | None,
        rebuilds: RebuildProcess | None,
        weights: dict[str, str],
        seen: Interrupts,
        watch: Callable[[Progress], None],
    ) -> Result:
        microscope = self._microscope or open_microscope(self.config, self._source)
        try:
            work = self._prepare(microscope, scorer, filters, rebuilds, weights)
        except BaseException:
            with microscope:
                raise
        reason = "failed"
        cause: BaseException | None = None
        try:
            reason = self._supervise(work, seen, watch)
            # What a thread says that is cut off below is no cause but a consequence.
            cause = work.error
        finally:
            # The one place that owns the safe state; nothing above may return around it.
            work.loop.close()
            safe = microscope.make_safe(reason)
            work.join(_LET_GO_S)
            safe = microscope.make_safe(reason)  # whatever the thread still did in between
            result = self._finish(work, safe, reason, cause, seen)
            if not work.is_alive() and not _let_go(microscope, safe):
                result = replace(result, thread_left=True)
            finish = not work.is_alive() and reason != "failed"
            self._finish_beside(work, result.status, seen, watch, finish=finish)
        return result

    def _prepare(
        self,
        microscope: Microscope,
        scorer: Compute | None,
        filters: FilterProcess | None,
        rebuilds: RebuildProcess | None,
        weights: dict[str, str],
    ) -> _Work:
        """Everything a session needs, from what earlier sessions left."""
        config = self.config
        ledger = Ledger(self.folder)
        recording = Recording.read(ledger)
        gate = DoseGate.of(config.dose, recording)
        last = max(recording.taken, default=None)
        found = versions()
        if not recording.sessions:
            provenance = {
                "versions": found,
                "weights": weights,
                "simulated": microscope.simulated,
            }
            write_config(self.folder, config, provenance)
        images = self._images(ImageStore)
        ledger.add(
            "run",
            {
                "plan": config.plan,
                "session": len(recording.sessions) + 1,
                "simulated": microscope.simulated,
                "planned": self.progress.planned,
                "versions": found,
                "weights": weights,
            },
        )
        analysis = None
        if scorer is not None:
            analysis = Analysis(
                scorer,
                queue=config.analysis.queue,
                timeout_s=config.analysis.timeout_s,
                done=self._score_recorder(ledger),
            )
        filtering = None
        if filters is not None and config.filter is not None:
            core = microscope.core
            self.progress.filtered = len(recording.filtered())
            live_page.begin(self.folder)
            filtering = Filtering(
                filters,
                shape=(core.getImageHeight(), core.getImageWidth()),
                modes=config.filtered_modes(),
                frames=config.filter.frames,
                timeout_s=config.filter.timeout_s,
                done=recorder(ledger, config.filter.on_error, self.progress.take),
            )
        rebuilding = None
        if rebuilds is not None:
            rebuilding = Rebuilding(
                rebuilds,
                timeout_s=config.timelapse.timeout_s,
                done=rebuild_recorder(ledger, self.progress.take),
            )
            self.progress.rebuilt = sum(
                len(row["uncertainty"][: len(row["points"])]) for row in recording.rebuilt.values()
            )
        loop = Loop(
            microscope,
            self._make_plan(config),
            ledger=ledger,
            images=images,
            gate=gate,
            analysis=analysis,
            filtering=filtering,
            recording=recording,
            retries=config.faults.retries,
            tell=self.progress.take,
            elapsed_s=_age(recording),
            catch_up=lambda go_on: catch_up(
                config, microscope, recording, go_on, self.progress.take
            ),
            control=Control(self.folder, config, recording) if config.adjustable() else None,
            rebuilding=rebuilding,
        )
        commands = Commands(
            self.folder,
            recording,
            ledger,
            self.progress.take,
            filters=filtering is not None,
            for_plan=bool(config.adjustable()),
        )
        obedience = Obedience(commands, pause=loop.pause, resume=loop.resume, filtering=filtering)
        stored = last + 1 if last is not None else 0
        return _Work(loop, ledger, images, gate, analysis, filtering, rebuilding, obedience, stored)

    def _finish(
        self,
        work: _Work,
        safe: SafeState,
        reason: str,
        cause: BaseException | None,
        seen: Interrupts,
    ) -> Result:
        """Write down how it ended; the microscope is dark already."""
        done = work.loop.frames + self.progress.skipped
        status = _status(reason, cause, work.loop.finished, done, self.progress.planned)
        why = _why(reason, cause)
        if not safe.ok:
            status, why = "failed", f"{why}; not safe: {_unsafe(safe)}"
        if work.analysis is not None:
            work.analysis.close(
                finish=not work.is_alive(), hurry=lambda: seen.count > 1 or reason == "failed"
            )
            self.longest_queue = work.analysis.longest
        try:
            work.loop.void_unlit()
            work.ledger.add("safe_state", replace(safe, reason=why).as_dict())
            if status == "failed":
                work.ledger.add("fault", {"what": why, "policy": "stop"}, work.loop.frames)
            if not work.is_alive():
                # A session that ends while its plan is still being led through the frames
                # of earlier ones has counted only some of them.
                work.images.trim(max(work.loop.frames, work.stored))
            work.ledger.add("end", {"status": status, "reason": why})
            self._heartbeat(work.gate, status)
        except (OSError, sqlite3.Error) as error:
            status, why = "failed", f"{why}; and the ledger cannot be written: {error}"
        return Result(self.folder, status, why, safe.ok, work.is_alive())

    def _finish_beside(
        self,
        work: _Work,
        status: Status,
        seen: Interrupts,
        watch: Callable[[Progress], None],
        *,
        finish: bool,
    ) -> None:
        """Filter and rebuild what is left; the microscope is let go, so it may take long."""
        before, beat = seen.count, time.monotonic()

        def go_on(doing: str, left: int) -> bool:
            nonlocal beat
            self.progress.doing = f"{doing}, frames left: {left}; Ctrl-C gives them up"
            watch(self.progress)
            if time.monotonic() - beat > _HEARTBEAT_S:
                beat = time.monotonic()
                self._heartbeat(work.gate, status)
            return seen.count == before

        # A second Ctrl-C meant everything, and who sends SIGTERM will not wait.
        finish = finish and seen.count < 2 and seen.name in ("", "SIGINT")
        if work.rebuilding is not None:
            work.rebuilding.close(finish=finish, go_on=partial(go_on, "rebuilding"))
        if work.filtering is not None:
            work.filtering.close(finish=finish, go_on=partial(go_on, "filtering"))
            with suppress(OSError):
                filtered = self._images(FilteredStore)
                filtered.trim(max(work.loop.frames, work.stored))
                live_page.end(self.folder, REPORT)
        if work.rebuilding is not None or work.filtering is not None:
            self.progress.doing = "over"
            self._heartbeat(work.gate, status)
        with suppress(sqlite3.Error):
            work.ledger.close()

    def _supervise(self, work: _Work, seen: Interrupts, watch: Callable[[Progress], None]) -> str:
        """Wait for the acquisition thread, or for a reason not to; returns that reason."""
        loop, gate = work.loop, work.gate
        parts = (work.analysis, work.filtering, work.rebuilding)
        beside = [part for part in parts if part is not None]
        self._await_filter(work, seen, watch)
        work.start()
        beat = 0.0
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
            if seen.count > 1:
                return seen.name
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

    def _score_recorder(self, ledger: Ledger) -> Callable[[int, Score | AnalysisError], None]:
        def record(index: int, outcome: Score | AnalysisError) -> None:
            if isinstance(outcome, AnalysisError):
                policy = self.config.analysis.on_error
                fault = {"what": str(outcome), "policy": policy}
                ledger.add("fault", fault, index)
                self.progress.take("fault", fault)
                if policy == "stop":
                    raise outcome
            else:
                entry = score_as_dict(outcome)
                ledger.add("score", entry, index)
                self.progress.take("score", entry)

        return record

    def _await_filter(
        self, work: _Work, seen: Interrupts, watch: Callable[[Progress], None]
    ) -> None:
        """Let the filter warm up while it is dark; who stops the run now gets no light at all."""
        if work.filtering is None:
            return
        while not seen.count and not work.filtering.ready.wait(_TICK_S):
            self.progress.doing = "warming the filter up"
            watch(self.progress)
            work.heed()
            if work.asked_to_stop:
                return
        work.error = work.filtering.failure
        if seen.count or work.error is not None:
            work.asked_to_stop = True
            work.loop.stop()

    def _images(self, kind: type[Images]) -> Images:
        """An image of this run on disk."""
        return kind(
            self.folder,
            pixel_size_um=self.config.microscope.pixel_size_nm * 1e-3,
            interval_s=self.config.fixed_interval_s(),
        )

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


class _Work(threading.Thread):
    """The acquisition thread with its parts, and what it ended with."""

    def __init__(
        self,
        loop: Loop,
        ledger: Ledger,
        images: ImageStore,
        gate: DoseGate,
        analysis: Analysis | None,
        filtering: Filtering | None,
        rebuilding: Rebuilding | None,
        obedience: Obedience,
        stored: int,
    ) -> None:
        # A driver that never returns must not keep the process alive.
        super().__init__(name="acquisition", daemon=True)
        self.loop = loop
        self.ledger = ledger
        self.images = images
        self.gate = gate
        self.analysis = analysis
        self.filtering = filtering
        self.rebuilding = rebuilding
        self.obedience = obedience
        self.stored = stored
        """Frames that earlier sessions left."""
        self.error: BaseException | None = None
        self.asked_to_stop = False

    def run(self) -> None:
        try:
            self.loop.run()
        except BaseException as error:
            if self.error is None or isinstance(self.error, StopTold):
                self.error = error

    def heed(self) -> None:
        """Do what a person told the session meanwhile."""
        told = self.obedience.heed()
        if told is not None and not self.asked_to_stop:
            self.asked_to_stop, self.error = True, told
            self.loop.stop()


def _status(
    reason: str, cause: BaseException | None, finished: bool, done: int, planned: int | None
) -> Status:
    if isinstance(cause, BudgetReached | StopTold):
        return "stopped"
    if cause is not None:
        return "failed"
    if reason == "finished" and finished:
        return "completed" if planned in (None, done) else "failed"
    return "failed" if reason == "failed" else "interrupted"


def _why(reason: str, cause: BaseException | None) -> str:
    if cause is None:
        return reason
    if isinstance(cause, DeviceFault | BudgetReached | StopTold):
        return str(cause)
    return f"{type(cause).__name__}: {cause}"


def _unsafe(safe: SafeState) -> str:
    return ", ".join(
        f"{entry.name} reads {entry.value}, not {entry.expected}"
        for entry in safe.readback
        if not entry.ok
    )


def _let_go(microscope: Microscope, safe: SafeState) -> bool:
    """Close the microscope; False where a device that could not be made safe hangs in that."""
    if safe.ok:
        microscope.close()
        return True

    def close() -> None:
        with suppress(Exception):  # it is a faulty device's; its fault is in the ledger
            microscope.close()

    thread = threading.Thread(target=close, name="close", daemon=True)
    thread.start()
    thread.join(_LET_GO_S)
    return not thread.is_alive()


def _age(recording: Recording) -> float:
    """Age of a run whose frames carry its own time (s)."""
    return max((taken.frame["time_s"] for taken in recording.taken.values()), default=0.0)


@contextmanager
def _scoring(
    config: RunConfig, source: Path, scorer: Compute | None
) -> Iterator[tuple[Compute | None, dict[str, str]]]:
    """What scores frames while the context lasts, and the hashes of its weights."""
    if not config.analysis.score or scorer is not None:
        yield (scorer if config.analysis.score else None), {}
        return
    weights = config.analysis.weights
    try:
        process = ScorerProcess(
            source.parent / weights if weights else None, config.microscope.pixel_size_nm
        )
    except (OSError, ValueError) as error:
        raise located(source, ("analysis", "weights"), str(error)) from None
    try:
        yield process, {"quality": process.weights_hash}
    finally:
        process.close()


__all__ = ["EXIT_CODES", "Progress", "Result", "RunBusy", "Session", "Status"]
