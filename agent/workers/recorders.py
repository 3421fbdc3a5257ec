"""Recorders: the results of work beside the acquisition go into the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from agent.plan import AnalysisError, Rebuild
from agent.record.journal import Journal
from agent.record.recording import FILTER, REBUILD, TUNE, rebuild_as_dict, score_as_dict
from agent.workers.filter_process import Filtered
from agent.workers.rebuild_process import Done
from agent.workers.tune_process import Tuned
from models.quality.score import Score

OnError = Literal["skip", "stop"]
"""What a failure leads to: the frame goes without, or an `AnalysisError` ends the run."""


def score_recorder(
    journal: Journal, policy: OnError
) -> Callable[[int, Score | AnalysisError], None]:
    """What writes scores down."""

    def record(index: int, outcome: Score | AnalysisError) -> None:
        if isinstance(outcome, AnalysisError):
            journal.fault(str(outcome), policy, index)
            if policy == "stop":
                raise outcome
        else:
            journal.add("score", score_as_dict(outcome), index)

    return record


def restart_recorder(journal: Journal) -> Callable[[int, AnalysisError], None]:
    """What writes down that a frame is scored once more, as its process ended."""

    def record(index: int, error: AnalysisError) -> None:
        # Not the policy of frames that go without a score: this one is tried again.
        journal.fault(f"{error}; tried again", "go on", index)

    return record


def filter_recorder(
    journal: Journal, policy: OnError
) -> Callable[[int | None, Filtered | AnalysisError], None]:
    """What writes down what the filter did, or that it could not warm up."""

    def record(index: int | None, outcome: Filtered | AnalysisError) -> None:
        if isinstance(outcome, AnalysisError):
            journal.fault(str(outcome), policy, index, part=FILTER)
            if policy == "stop":
                raise outcome
            return
        if outcome.fault is not None:
            journal.fault(outcome.fault, "go on", index, part=FILTER)
        row = {
            "uncertainty": outcome.uncertainty,
            "device": outcome.device,
            "ms": round(outcome.ms, 3),
        }
        journal.add("filtered", row, index)

    return record


def rebuild_recorder(
    journal: Journal,
) -> Callable[[int | None, Rebuild | None, Done | str], None]:
    """A recorder of the results of requests to rebuild frames; a failure never ends the run."""

    def record(number: int | None, request: Rebuild | None, outcome: Done | str) -> None:
        index = request.after[0] if request else None
        failed = outcome if isinstance(outcome, str) else None
        said = outcome.fault if isinstance(outcome, Done) else None
        if failed is not None:
            what = f"rebuilding frames before frame {index}" if request else "marking frames"
            said = f"{what} failed: {failed}"
        if said is not None:
            journal.fault(said, "go on", index, part=REBUILD)
        if request is None:
            return
        done = outcome if isinstance(outcome, Done) else Done((), (), "", 0.0, "")
        row = {
            "number": number,
            **rebuild_as_dict(request),
            "uncertainty": list(done.uncertainty),
            "errors": [None if pair is None else list(pair) for pair in done.errors],
            "device": done.device,
            "ms": round(done.ms, 3),
            "weights": done.weights,
            "failed": failed,
        }
        journal.add("rebuilt", row, index)

    return record


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
