"""The interpolator learns beside the acquisition, which never waits for it.

Whenever there are enough new audits, its thread has the weights in use tuned, records the result,
and hands better weights on. A failure in it is a fault, and the run continues unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from agent.workers.fine_tuning import FIRST, MORE, AuditTriplet
from agent.workers.queue import Work, WorkQueue, reason
from agent.workers.rebuild_process import Weights
from agent.workers.tune_process import Tuned

_TIMEOUT_S = 4 * 3600.0


class Tunes(Protocol):
    """What tunes weights: a `TuneProcess`."""

    def tune(
        self, model: str | Path, audits: Sequence[AuditTriplet], number: int, timeout_s: float
    ) -> Tuned:
        """Learn from audits, and keep the weights if they are better."""
        ...

    def kill(self) -> None:
        """Give up the work under way."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has failed so often that it tries no more."""
        ...


class Tuning(WorkQueue):
    """Has an interpolator tuned as audits come in.

    Parameters
    ----------
    tunes
        Does the work.
    folder
        The run's.
    model
        Weights in use.
    rebuilt, attempts
        What the ledger has of earlier sessions: rows `rebuilt` and rows `tuned`.
    done
        Called with the outcome of each attempt, or why it failed.
    adopt
        Called with better weights, after `done`.
    """

    def __init__(
        self,
        tunes: Tunes,
        folder: Path,
        model: str | Path,
        *,
        rebuilt: Sequence[Mapping[str, Any]] = (),
        attempts: Sequence[Mapping[str, Any]] = (),
        done: Callable[[Tuned | str], None],
        adopt: Callable[[Weights], None],
    ) -> None:
        super().__init__("tuning", timeout_s=_TIMEOUT_S)
        self._tunes, self._folder, self._model = tunes, folder, model
        self._done, self._adopt = done, adopt
        self._audits = [audit for row in rebuilt for audit in audits_of(row)]
        self._number = len(attempts)
        self._due = attempts[-1]["audits"] + MORE if attempts else FIRST
        self._thread.start()

    def learn(self, row: Mapping[str, Any]) -> None:
        """Take in a row `rebuilt` of the ledger; never waits."""
        if found := audits_of(row):
            with self._changed:
                self._audits += found
                self._changed.notify_all()

    @property
    def left(self) -> int:
        """Nothing waits: audits that are too few are learned from later, or never."""
        return 0

    def _kill(self) -> None:
        self._tunes.kill()

    def _next(self) -> Work | None:
        over = self._closed or self._tunes.over
        # Where an outcome could not be written down, the next frame says what the disk has.
        if over or self.failure is not None or len(self._audits) < self._due:
            return None
        return partial(self._tune, list(self._audits))

    def _tune(self, audits: Sequence[AuditTriplet]) -> None:
        self._number += 1
        self._due = len(audits) + MORE
        try:
            outcome: Tuned | str = self._tunes.tune(
                self._model, audits, self._number, self._timeout_s
            )
        except Exception as error:
            outcome = reason(error, f"it took longer than {self._timeout_s / 3600:g} hours")
        with self._changed:
            if self._abandoned:
                return
        with self._writing_down():
            self._done(outcome)
            if isinstance(outcome, Tuned) and outcome.file and outcome.sha256:
                self._model = self._folder / outcome.file
                self._adopt(Weights(self._model, outcome.sha256))


def audits_of(row: Mapping[str, Any]) -> list[AuditTriplet]:
    """Audits in a row `rebuilt` of the ledger; those that showed no structure are none."""
    if row["failed"] is not None:
        return []
    (before, start), (after, end) = row["before"], row["after"]
    return [
        AuditTriplet(before, frame, after, (point - start) / (end - start), tuple(row["drift_px"]))
        for (frame, point), error in zip(row["audits"], row["errors"], strict=True)
        if error is not None
    ]
