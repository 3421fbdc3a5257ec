"""What a session needs to tune its interpolator: a process, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.plans.adaptive.error import Detector
from agent.record.journal import Journal
from agent.record.recording import TUNE, Recording
from agent.workers.rebuild import Rebuilding
from agent.workers.rebuild_process import RebuildProcess, Weights
from agent.workers.tune import Tuning
from agent.workers.tune_process import MakeTuner, Tuned, TuneProcess, open_tuner


@contextmanager
def tuning_process(
    config: RunConfig, folder: Path, tuner: MakeTuner | None
) -> Iterator[TuneProcess | None]:
    """What tunes the interpolator while the context lasts."""
    if not config.section.tunes():
        yield None
        return
    detector = Detector(**config.timelapse.detector.model_dump())
    pixel_size_um = config.microscope.pixel_size_nm * 1e-3
    process = TuneProcess(tuner or open_tuner, folder, detector, pixel_size_um)
    try:
        yield process
    finally:
        process.kill()


def begin_tuning(
    config: RunConfig,
    folder: Path,
    tunes: TuneProcess,
    rebuilds: RebuildProcess,
    rebuilding: Rebuilding,
    recording: Recording,
    journal: Journal,
) -> Tuning:
    """Go on with the weights that earlier sessions adopted, and with what they learned from.

    Parameters
    ----------
    config, folder
        What to do, and the run's folder.
    tunes, rebuilds, rebuilding
        The parts that tune and rebuild.
    recording
        Of the earlier sessions.
    journal
        Gets what attempts come to, and says what is rebuilt meanwhile.
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


def tune_recorder(journal: Journal) -> Callable[[Tuned | str], None]:
    """What writes down what attempts came to; a failure never ends the run."""

    def record(outcome: Tuned | str) -> None:
        if isinstance(outcome, str):
            what = f"fine-tuning the interpolator failed: {outcome}"
            journal.fault(what, "go on", part=TUNE)
            return
        verdict = outcome.verdict
        row = {
            "audits": outcome.audits,
            "learned": outcome.learned,
            "judged": verdict.audits,
            "before": [verdict.before.value, verdict.before.sd],
            "after": [verdict.after.value, verdict.after.sd],
            "gain": [verdict.gain.value, verdict.gain.sd],
            "kept": outcome.sha256 is not None,
            "started_from": outcome.started_from,
            "sha256": outcome.sha256,
            "file": outcome.file,
            "steps": outcome.steps,
            "seconds": outcome.seconds,
        }
        journal.add("tuned", row)

    return record
