"""What a session needs to tune its interpolator: a process, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.plans.adaptive.error import Detector
from agent.record.ledger import Ledger
from agent.record.recording import TUNE, Recording
from agent.workers.rebuild import Rebuilding
from agent.workers.rebuild_process import RebuildProcess, Weights
from agent.workers.tune import Tuning
from agent.workers.tune_process import MakeTuner, Tuned, TuneProcess, open_tuner

Tell = Callable[[str, dict[str, Any]], None]


@contextmanager
def tuning_process(
    config: RunConfig, folder: Path, tuner: MakeTuner | None
) -> Iterator[TuneProcess | None]:
    """What tunes the interpolator while the context lasts."""
    if not config.tunes():
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
    ledger: Ledger,
    tell: Tell,
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
    ledger, tell
        See `tune_recorder`.
    """
    asked, fault = config.timelapse, tune_fault(ledger, tell)

    def refused(why: str) -> None:
        fault(f"tuned weights cannot be used: {why}")

    model: str | Path = asked.model
    kept = [row for row in recording.tuned if row["kept"]]
    if kept:
        weights = Weights(folder / kept[-1]["file"], kept[-1]["sha256"])
        try:
            rebuilds.adopt(weights, asked.timeout_s)
            model = weights.file
        except Exception as error:
            refused(str(error) or type(error).__name__)
    return Tuning(
        tunes,
        folder,
        model,
        rebuilt=list(recording.rebuilt.values()),
        attempts=recording.tuned,
        done=tune_recorder(ledger, tell),
        adopt=lambda found: rebuilding.adopt(found, refused),
    )


def tune_recorder(ledger: Ledger, tell: Tell) -> Callable[[Tuned | str], None]:
    """What writes down what attempts came to; a failure never ends the run.

    Parameters
    ----------
    ledger
        Where to.
    tell
        Called with (kind, data) after each entry.
    """
    failed = tune_fault(ledger, tell)

    def record(outcome: Tuned | str) -> None:
        if isinstance(outcome, str):
            failed(f"fine-tuning the interpolator failed: {outcome}")
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
        ledger.add("tuned", row)
        tell("tuned", row)

    return record


def tune_fault(ledger: Ledger, tell: Tell) -> Callable[[str], None]:
    """What writes down a fault of the fine-tuning."""

    def record(what: str) -> None:
        entry = {"what": what, "policy": "go on", "part": TUNE}
        ledger.add("fault", entry)
        tell("fault", entry)

    return record
