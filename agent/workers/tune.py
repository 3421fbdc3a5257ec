"""The interpolator learns beside the acquisition, and nobody waits for it.

One worker thread has the weights in use tuned whenever there are enough new audits, writes down
what came of it, and hands better weights on. What fails in it is a fault, and the run goes on as it
was.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from agent.workers.fine_tuning import FIRST, MORE, AuditTriplet
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
        """Give up what it is at."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has failed so often that it tries no more."""
        ...


class Tuning:
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
        self._tunes, self._folder, self._model = tunes, folder, model
        self._done, self._adopt = done, adopt
        self._audits = [audit for row in rebuilt for audit in audits_of(row)]
        self._number = len(attempts)
        self._due = attempts[-1]["audits"] + MORE if attempts else FIRST
        self._changed = threading.Condition()
        self._ending = threading.Lock()
        """Held while an outcome is written down, which is either before the end or never."""
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tuning", daemon=True)
        self._thread.start()

    def learn(self, row: Mapping[str, Any]) -> None:
        """Take in a row `rebuilt` of the ledger; never waits."""
        if found := audits_of(row):
            with self._changed:
                self._audits += found
                self._changed.notify_all()

    def close(self) -> None:
        """Give up what is under way."""
        with self._ending, self._changed:
            self._closed = True
            self._changed.notify_all()
        self._tunes.kill()

    def _work(self) -> None:
        while (audits := self._next()) is not None and not self._tunes.over:
            self._number += 1
            outcome = self._outcome(audits)
            self._due = len(audits) + MORE
            if not self._written(outcome):
                return
            if isinstance(outcome, Tuned) and outcome.file and outcome.sha256:
                self._model = self._folder / outcome.file
                self._adopt(Weights(self._model, outcome.sha256))

    def _written(self, outcome: Tuned | str) -> bool:
        with self._ending:
            if self._closed:
                return False
            try:
                self._done(outcome)
            except (OSError, sqlite3.Error):  # the next frame will say what the disk has
                return False
        return True

    def _next(self) -> list[AuditTriplet] | None:
        with self._changed:
            self._changed.wait_for(lambda: len(self._audits) >= self._due or self._closed)
            return None if self._closed else list(self._audits)

    def _outcome(self, audits: Sequence[AuditTriplet]) -> Tuned | str:
        try:
            return self._tunes.tune(self._model, audits, self._number, _TIMEOUT_S)
        except TimeoutError:
            return f"it took longer than {_TIMEOUT_S / 3600:g} hours"
        except Exception as error:
            return str(error) or type(error).__name__


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
