"""The parts of a session, made from its config and from what earlier sessions left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from agent.config import RunConfig
from agent.config.loading import OWN
from agent.plan import AnalysisError, Plan
from agent.record.anchor import Anchor
from agent.record.dose import DoseGate
from agent.record.folder import versions, write_config
from agent.record.images import ImageStore
from agent.record.journal import Journal
from agent.record.ledger import Ledger
from agent.record.recording import Recording, score_as_dict
from agent.run.acquisition_thread import AcquisitionThread
from agent.run.catch_up import catch_up
from agent.run.clock import Clock
from agent.run.loop import Loop
from agent.run.origins import (
    beside_the_run,
    check_origins,
    code_of,
    keep_priors,
    plan_of,
)
from agent.run.pause import CommandHandler
from agent.run.progress import Progress
from agent.run.repair import mend
from agent.run.trust import sign
from agent.steering.inbox import PlanInbox, SessionInbox
from agent.ui.report import live_page
from agent.workers.filter import Filtering
from agent.workers.filter_setup import recorder
from agent.workers.rebuild import Rebuilding
from agent.workers.rebuild_setup import rebuild_recorder
from agent.workers.score import Analysis
from agent.workers.start import Processes
from agent.workers.tune import Tuning
from agent.workers.tune_setup import begin_tuning
from devices.microscope import Microscope
from models.quality.score import Score


def prepare(
    config: RunConfig,
    folder: Path,
    microscope: Microscope,
    make_plan: Callable[[RunConfig], Plan],
    beside: Processes,
    progress: Progress,
    *,
    accept_changes: bool = False,
) -> AcquisitionThread:
    """Everything a session needs, its thread not started yet.

    Parameters
    ----------
    config, folder
        What to do, and the run's folder.
    microscope
        An open one.
    make_plan
        Called with the config.
    beside
        What scores, filters and rebuilds frames.
    progress
        Brought up to date with what earlier sessions left, and told of every ledger entry.
    accept_changes
        Go on with other weights than those that the run was begun with.

    Raises
    ------
    UserError
        The run cannot be gone on with as it is, or an earlier run that it is to learn from cannot
        be read.
    """
    ledger = Ledger(folder)
    try:
        recording = Recording.read(ledger)
        plan = plan_of(make_plan)
        code = code_of(config, plan)
        check_origins(folder, recording, plan, code, beside.weights, accept=accept_changes)
        return _prepared(config, folder, microscope, make_plan, beside, progress, ledger, recording)
    except BaseException:
        ledger.close()
        raise


def _prepared(
    config: RunConfig,
    folder: Path,
    microscope: Microscope,
    make_plan: Callable[[RunConfig], Plan],
    beside: Processes,
    progress: Progress,
    ledger: Ledger,
    recording: Recording,
) -> AcquisitionThread:
    pixel_um = config.microscope.pixel_size_nm * 1e-3
    images = ImageStore(folder, pixel_size_um=pixel_um, anchor=Anchor(folder))
    if mend(folder, images, recording, ledger):
        recording = Recording.read(ledger)
    # They are equidistant no more.
    images.scale_time(0)
    gate = DoseGate.of(config.dose, recording)
    last = max(recording.taken, default=None)
    found = versions()
    if not recording.sessions:
        provenance: dict[str, Any] = {
            "versions": found,
            "weights": beside.weights,
            "simulated": microscope.simulated,
        }
        if config.own:
            provenance[OWN] = {part: own.name for part, own in config.own.items()}
        config = keep_priors(config, folder)
        write_config(folder, beside_the_run(config, folder), provenance)
        sign(folder)
    journal = Journal(ledger, progress.take)
    journal.add(
        "run",
        {
            "plan": config.plan,
            "session": len(recording.sessions) + 1,
            "simulated": microscope.simulated,
            "planned": progress.planned,
            "versions": found,
            "weights": beside.weights,
            "plan_of": plan_of(make_plan),
            "loose": [asdict(loose) for loose in microscope.loose],
            "code": code_of(config, plan_of(make_plan)),
        },
    )
    progress.skipped = sum(late["frames"] for late in recording.late)
    filters, rebuilds = beside.filters, beside.rebuilds
    analysis = None
    if beside.scorer is not None:
        analysis = Analysis(
            beside.scorer,
            queue=config.analysis.queue,
            timeout_s=config.analysis.timeout_s,
            done=_score_recorder(journal, config.analysis.on_error),
            again=_restart_recorder(journal),
        )
    filtering = None
    if filters is not None and config.filter is not None:
        progress.filtered = len(recording.filtered())
        live_page.begin(folder)
        filtering = Filtering(
            filters,
            shape=microscope.shape,
            modes=config.filtered_modes(),
            frames=config.filter.frames,
            timeout_s=config.filter.timeout_s,
            done=recorder(journal, config.filter.on_error),
        )
    rebuilding: Rebuilding | None = None
    tuning: Tuning | None = None
    if rebuilds is not None:
        rebuilding = Rebuilding(
            rebuilds,
            timeout_s=config.timelapse.timeout_s,
            done=rebuild_recorder(journal),
        )
        if beside.tunes is not None:
            tuning = begin_tuning(
                config, folder, beside.tunes, rebuilds, rebuilding, recording, journal
            )
        progress.rebuilt = sum(
            len(row["uncertainty"][: len(row["points"])]) for row in recording.rebuilt.values()
        )
    loop = Loop(
        microscope,
        make_plan(config),
        journal=journal,
        images=images,
        gate=gate,
        analysis=analysis,
        filtering=filtering,
        recording=recording,
        retries=config.faults.retries,
        clock=Clock.of(recording, lambda: microscope.simulated_time_s),
        catch_up=lambda go_on: catch_up(config, microscope, recording, go_on, progress.take),
        control=PlanInbox(folder, config, recording) if config.adjustable() else None,
        rebuilding=rebuilding,
    )
    commands = SessionInbox(
        folder,
        recording,
        journal,
        filters=filtering is not None,
        for_plan=bool(config.adjustable()),
    )
    obedience = CommandHandler(commands, pause=loop.pause, resume=loop.resume, filtering=filtering)
    stored = last + 1 if last is not None else 0
    return AcquisitionThread(
        loop, journal, images, gate, analysis, filtering, rebuilding, tuning, obedience, stored
    )


def _score_recorder(
    journal: Journal, policy: Literal["skip", "stop"]
) -> Callable[[int, Score | AnalysisError], None]:
    def record(index: int, outcome: Score | AnalysisError) -> None:
        if isinstance(outcome, AnalysisError):
            journal.fault(str(outcome), policy, index)
            if policy == "stop":
                raise outcome
        else:
            journal.add("score", score_as_dict(outcome), index)

    return record


def _restart_recorder(journal: Journal) -> Callable[[int, AnalysisError], None]:
    def record(index: int, error: AnalysisError) -> None:
        # Not the policy of frames that go without a score: this one is tried again.
        journal.fault(f"{error}; tried again", "go on", index)

    return record
