"""The parts of a session, made from its config and from what earlier sessions left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.config.loading import OWN
from agent.config.own_code import PLAN
from agent.config.reading import UserError
from agent.config.schema import ADJUSTABLE, OBJECTIVE
from agent.plan import Plan
from agent.record.anchor import Anchor
from agent.record.dose import DoseGate
from agent.record.folder import versions, write_config
from agent.record.journal import Journal
from agent.record.layout import Layout
from agent.record.ledger import Ledger
from agent.record.raw import RawFrames
from agent.record.recording import TUNE, Recording
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
from agent.run.parts import RunParts
from agent.run.pause import CommandHandler
from agent.run.progress import Progress
from agent.run.repair import mend
from agent.run.trust import sign
from agent.steering.inbox import PlanInbox, SessionInbox
from agent.ui.report import live_page
from agent.workers.filter import Filtering
from agent.workers.rebuild import Rebuilding
from agent.workers.rebuild_process import RebuildProcess, Weights
from agent.workers.recorders import (
    filter_recorder,
    rebuild_recorder,
    restart_recorder,
    score_recorder,
    tune_recorder,
)
from agent.workers.score import Analysis
from agent.workers.start import Processes
from agent.workers.tune import Tuning
from agent.workers.tune_process import TuneProcess
from devices.microscope import Microscope


def prepare(
    config: RunConfig,
    folder: Path,
    microscope: Microscope,
    make_plan: Callable[[RunConfig], Plan],
    beside: Processes,
    progress: Progress,
    *,
    accept_changes: bool = False,
    awake: str | None = None,
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
        They score, filter and rebuild frames.
    progress
        Brought up to date with what earlier sessions left, and told of every ledger entry.
    accept_changes
        Continue with other weights than those that the run was begun with.
    awake
        What keeps the computer awake.

    Raises
    ------
    UserError
        The run cannot be resumed as it is, or an earlier run that it is to learn from cannot be
        read.
    """
    ledger = Ledger(folder)
    try:
        recording = Recording.read(ledger)
        plan = plan_of(make_plan)
        code = code_of(config, plan)
        check_origins(folder, recording, plan, code, beside.weights, accept=accept_changes)
        return _prepared(
            config, folder, microscope, make_plan, beside, progress, ledger, recording, awake
        )
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
    awake: str | None,
) -> AcquisitionThread:
    _check_cameras(folder, config.microscope.camera_channels, recording)
    microscope.stacks = config.section.planes() != (None,)
    anchor = Anchor(folder)
    images = _images(config, folder, recording, anchor)
    if mend(folder, images, recording, ledger):
        recording = Recording.read(ledger)
        images = _images(config, folder, recording, anchor)
    images.begin()
    gate = DoseGate.of(config.dose, recording)
    found = versions()
    if not recording.sessions:
        provenance: dict[str, Any] = {
            "versions": found,
            "weights": beside.weights,
            "simulated": microscope.simulated,
        }
        if config.own:
            provenance[OWN] = {part: own.name for part, own in config.own.items()}
        if PLAN.word in config.own:
            edges = {name: list(config.edges(name)) for name in config.adjustable()}
            provenance[ADJUSTABLE] = edges
        if (objective := config.objective()) is not None:
            provenance[OBJECTIVE] = objective.as_dict()
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
            "state": microscope.state.whole(),
            "whole": {mode: list(size) for mode, size in microscope.whole.items()},
            "code": code_of(config, plan_of(make_plan)),
            "awake": awake,
        },
    )
    progress.skipped = sum(late["frames"] for late in recording.late)
    plan = make_plan(config)  # before there are threads, since it may fail
    filters, rebuilds = beside.filters, beside.rebuilds
    analysis = None
    if beside.scorer is not None:
        analysis = Analysis(
            beside.scorer,
            queue=config.analysis.queue,
            timeout_s=config.analysis.timeout_s,
            done=score_recorder(journal, config.analysis.on_error),
            again=restart_recorder(journal),
            modes=config.scored_modes(),
        )
    filtering = None
    if filters is not None and config.filter is not None:
        progress.filtered = len(recording.filtered())
        live_page.begin(folder)
        filtering = Filtering(
            filters,
            shape=microscope.shapes[next(iter(config.filtered_modes()))],
            modes=config.filtered_modes(),
            frames=config.filter.frames,
            timeout_s=config.filter.timeout_s,
            done=filter_recorder(journal, config.filter.on_error),
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
            tuning = _begin_tuning(
                config, folder, beside.tunes, rebuilds, rebuilding, recording, journal
            )
        progress.rebuilt = sum(
            len(row["uncertainty"][: len(row["points"])]) for row in recording.rebuilt.values()
        )
    parts = RunParts(
        journal,
        images,
        gate,
        recording,
        Clock.of(recording, lambda: microscope.clock.seconds),
        analysis,
        filtering,
        rebuilding,
        tuning,
        PlanInbox(folder, config, recording, microscope) if config.listens else None,
    )
    loop = Loop(
        microscope,
        plan,
        parts,
        retries=config.faults.retries,
        catch_up=lambda go_on: catch_up(config, microscope, recording, go_on, progress.take),
    )
    commands = SessionInbox(
        folder,
        recording,
        journal,
        filters=filtering is not None,
        for_plan=config.listens,
    )
    handler = CommandHandler(commands, pause=loop.pause, resume=loop.resume, filtering=filtering)
    return AcquisitionThread(loop, parts, handler)


def _check_cameras(folder: Path, now: Sequence[str], recording: Recording) -> None:
    """A run continues with the camera channels that it was begun with."""
    cameras = [one.shot["camera"] for one in recording.taken.values() if "camera" in one.shot]
    begun = tuple(dict.fromkeys(camera["name"] for camera in cameras))
    if recording.taken and begun != tuple(now):
        raise UserError(
            f"{folder}: was begun with {_frames_of(begun)} a shot, and the camera now gives "
            f"{_frames_of(now)}; accepted: the same"
        )


def _frames_of(cameras: Sequence[str]) -> str:
    return f"frames of {', '.join(cameras)}" if cameras else "one frame"


def _images(config: RunConfig, folder: Path, recording: Recording, anchor: Anchor) -> RawFrames:
    """Raw frames, laid out as the run was begun."""
    layout = Layout.of(config)
    begun_earlier = any("stored" not in taken.shot for taken in recording.taken.values())
    return RawFrames(
        folder,
        pixel_size_um=config.microscope.pixel_size_nm * 1e-3,
        layout=Layout() if begun_earlier and not layout.plain else layout,
        recording=recording,
        mounting=config.microscope.mounting,
        anchor=anchor,
    )


def _begin_tuning(
    config: RunConfig,
    folder: Path,
    tunes: TuneProcess,
    rebuilds: RebuildProcess,
    rebuilding: Rebuilding,
    recording: Recording,
    journal: Journal,
) -> Tuning:
    """Continue with the weights that earlier sessions adopted, and with their audits.

    Parameters
    ----------
    config, folder
        What to do, and the run's folder.
    tunes, rebuilds, rebuilding
        The parts that tune and rebuild.
    recording
        Of the earlier sessions.
    journal
        Gets the results of attempts, and says which frames are rebuilt meanwhile.
    """
    asked = config.timelapse

    def refused(why: str) -> None:
        journal.fault(f"tuned weights cannot be used: {why}", "go on", part=TUNE)

    model: str | Path = asked.model
    kept = [row for row in recording.tuned if row["kept"]]
    if kept:
        weights = Weights(folder / kept[-1]["file"], kept[-1]["sha256"])
        try:
            rebuilds.adopt(weights, asked.timeout_s)
            model = weights.file
        except Exception as error:
            refused(str(error) or type(error).__name__)
    tuning = Tuning(
        tunes,
        folder,
        model,
        rebuilt=list(recording.rebuilt.values()),
        attempts=recording.tuned,
        done=tune_recorder(journal),
        adopt=lambda found: rebuilding.adopt(found, refused),
    )

    def learn(kind: str, data: dict[str, Any]) -> None:
        if kind == "rebuilt":
            tuning.learn(data)

    journal.listen(learn)
    return tuning
