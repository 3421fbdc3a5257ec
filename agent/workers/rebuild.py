"""Frames rebuilt beside the acquisition.

One worker thread hands what is to be rebuilt, and what is to be marked, to the interpolator's
process, in the order in which the plan asked. Handing in never waits. A plan that asks for the
answer waits, with a timeout; `plan: timelapse` does that only where all of a time point's frames
are taken, so that what it costs is a part of the wait for the next one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from agent.plan import LAPSE, Rebuild, Rebuilt
from agent.workers.rebuild_process import Done, Weights
from agent.workers.shared_process import WAITED_FOR

_TICK_S = 0.05
_LET_GO_S = 1.0


class Rebuilds(Protocol):
    """What rebuilds frames that are on disk: a `RebuildProcess`."""

    def rebuild(self, request: Rebuild, timeout_s: float) -> Done:
        """Rebuild what is asked for."""
        ...

    def keep(self, marks: Sequence[Mapping[str, Any]], timeout_s: float) -> None:
        """Copy measured frames, and mark them and the rebuilt ones."""
        ...

    def finish(self, timeout_s: float) -> None:
        """Put all marks where other programs find them."""
        ...

    def adopt(self, weights: Weights, timeout_s: float) -> None:
        """Rebuild with other weights from now on."""
        ...

    def kill(self) -> None:
        """Give up what it is at."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has failed so often that it tries no more."""
        ...


@dataclass(slots=True, eq=False)
class Task:
    """Something that is to be rebuilt.

    Attributes
    ----------
    number
        Of the `Rebuild`, in the order of the plan.
    answer
        None as long as it is not known.
    known
        The ledger is being told, and the answer comes in a moment.
    """

    number: int
    request: Rebuild
    answer: Rebuilt | None = None
    known: bool = False


class Rebuilding:
    """Rebuilds frames in the order in which they are asked for.

    Parameters
    ----------
    rebuilds
        Does the work.
    timeout_s
        Longest time for one request, and longest wait for its answer (s).
    done
        Called with (number, request, outcome) of every request, by whoever learns it first; and
        with (None, None, why) where marking failed.
    """

    def __init__(
        self,
        rebuilds: Rebuilds,
        *,
        timeout_s: float,
        done: Callable[[int | None, Rebuild | None, Done | str], None],
    ) -> None:
        self._rebuilds = rebuilds
        self._timeout_s = timeout_s
        self._done = done
        self._waiting: deque[Task] = deque()
        self._marks: list[Mapping[str, Any]] = []
        """Said of frames by the plan, and not written yet."""
        self._weights: tuple[Weights, Callable[[str], None]] | None = None
        """To be used from the next moment on in which nobody waits."""
        self._changed = threading.Condition()
        self._closed = self._abandoned = False
        self._asking = 0
        """Plans that wait for an answer."""
        self.failure: Exception | None = None
        """What `done` raised, if it did: a full disk."""
        self._thread = threading.Thread(target=self._work, name="rebuilding", daemon=True)
        self._thread.start()

    @property
    def left(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def submit(self, number: int, request: Rebuild) -> Task:
        """Hand in a request whose frames are on disk; never waits."""
        task = Task(number, request)
        with self._changed:
            if not self._closed:
                self._waiting.append(task)
                self._changed.notify_all()
        return task

    def adopt(self, weights: Weights, failed: Callable[[str], None]) -> None:
        """Have other weights used as soon as nothing waits to be rebuilt; never waits.

        Parameters
        ----------
        weights
            Which.
        failed
            Called with the reason if they cannot be used; those before are used on.
        """
        with self._changed:
            self._weights = weights, failed
            self._changed.notify_all()

    def learn(self, note: Mapping[str, Any]) -> None:
        """Take in what the plan notes, {topic, data}: it says what its frames are."""
        if note["topic"] == LAPSE:
            field = note["data"]["field"]
            with self._changed:
                self._marks += [{**mark, "field": field} for mark in note["data"]["frames"]]
                self._changed.notify_all()

    def answer(self, task: Task) -> Rebuilt:
        """What came of a request; waits for it."""
        with self._changed:
            self._asking += 1
            self._changed.wait_for(lambda: task.answer is not None, self._timeout_s)
            self._asking -= 1
            if task.known:
                self._changed.wait_for(lambda: task.answer is not None)
            if task.answer is not None:
                return task.answer
            # Who gave up waiting decides without it, and is told the same when it is led
            # through this again: what comes later leaves no entry.
            why = f"it took longer than {self._timeout_s:g} s (`timelapse.timeout_s`)"
            task.answer = Rebuilt(failed=why)
        self._report(task.number, task.request, why)
        return task.answer

    def close(self, *, finish: bool, go_on: Callable[[int], bool] = lambda left: True) -> None:
        """End the worker.

        Parameters
        ----------
        finish
            It does what waits first.
        go_on
            Asked meanwhile, with the number of requests that wait, whether to go on with that.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        while self._thread.is_alive() and finish and go_on(self.left):
            self._thread.join(_TICK_S)
        with self._changed:
            self._abandoned = True
            self._waiting.clear()
            self._marks.clear()
        if self._thread.is_alive():
            self._rebuilds.kill()
            self._thread.join(_LET_GO_S)

    def _work(self) -> None:
        WAITED_FOR.set(lambda: self._asking > 0)
        while (one := self._next()) is not None:
            if isinstance(one, tuple):
                self._swap(*one)
                continue
            if not isinstance(one, Task):
                self._tried(partial(self._rebuilds.keep, one))
                continue
            outcome = self._outcome(one.request)
            with self._changed:
                one.known = not self._abandoned and one.answer is None
            if not one.known:
                continue
            self._report(one.number, one.request, outcome)
            with self._changed:
                one.answer = as_answer(outcome)
                self._changed.notify_all()
        with self._changed:
            abandoned = self._abandoned
        if not abandoned:
            self._tried(self._rebuilds.finish)

    def _next(
        self,
    ) -> Task | tuple[Weights, Callable[[str], None]] | list[Mapping[str, Any]] | None:
        """What somebody may wait for comes first; marks are written together, with time left."""

        def something() -> bool:
            return bool(self._waiting or self._weights or self._marks) or self._closed

        with self._changed:
            self._changed.wait_for(something)
            if self._waiting:
                return self._waiting.popleft()
            weights, self._weights = self._weights, None
            if weights is not None and not self._closed:
                return weights
            marks, self._marks = self._marks, []
            return marks or None

    def _outcome(self, request: Rebuild) -> Done | str:
        try:
            return self._rebuilds.rebuild(request, self._timeout_s)
        except TimeoutError:
            return "it took too long (`timelapse.timeout_s`)"
        except Exception as error:
            return str(error) or type(error).__name__

    def _swap(self, weights: Weights, failed: Callable[[str], None]) -> None:
        try:
            self._rebuilds.adopt(weights, self._timeout_s)
        except Exception as error:
            failed(str(error) or type(error).__name__)

    def _tried(self, work: Callable[[float], None]) -> None:
        """Do something about marks; that it failed is said and stops nothing."""
        try:
            work(self._timeout_s)
        except Exception as error:
            with self._changed:
                said = self._abandoned or self._rebuilds.over
            if not said:
                self._report(None, None, str(error) or type(error).__name__)

    def _report(self, number: int | None, request: Rebuild | None, outcome: Done | str) -> None:
        try:
            self._done(number, request, outcome)
        except Exception as error:  # must not end the worker that plans wait for
            self.failure = error


def as_answer(outcome: Done | str) -> Rebuilt:
    """What a plan gets."""
    if isinstance(outcome, str):
        return Rebuilt(failed=outcome)
    return Rebuilt(outcome.uncertainty, outcome.errors)
