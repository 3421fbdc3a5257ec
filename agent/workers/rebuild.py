"""Frames rebuilt beside the acquisition.

One worker thread hands requests to rebuild and to mark frames to the interpolator's process, in the
order in which the plan asked. Handing in never waits. A plan that asks for the answer waits, with a
timeout; `plan: timelapse` does that only where all of a time point's frames are taken, so that the
time spent is a part of the wait for the next one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from agent.plan import LAPSE, Rebuild, Rebuilt
from agent.workers.queue import Work, WorkQueue, reason
from agent.workers.rebuild_process import Done, Weights

_TOO_LONG = "it took too long (`timelapse.timeout_s`)"


class Rebuilds(Protocol):
    """What rebuilds frames that are on disk: a `RebuildProcess`."""

    def rebuild(self, request: Rebuild, timeout_s: float) -> Done:
        """Rebuild the requested frames."""
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
        """Give up the work under way."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has failed so often that it tries no more."""
        ...


@dataclass(slots=True, eq=False)
class RebuildTask:
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


class Rebuilding(WorkQueue):
    """Rebuilds frames in the order in which they are asked for.

    Parameters
    ----------
    rebuilds
        Does the work.
    timeout_s
        Longest time for one request, and longest wait for its answer (s).
    done
        Called with (number, request, outcome) of every request, in the thread that learns it first;
        and with (None, None, why) where marking failed.
    """

    def __init__(
        self,
        rebuilds: Rebuilds,
        *,
        timeout_s: float,
        done: Callable[[int | None, Rebuild | None, Done | str], None],
    ) -> None:
        super().__init__("rebuilding", timeout_s=timeout_s)
        self._rebuilds = rebuilds
        self._done = done
        self._waiting: deque[RebuildTask] = deque()
        self._marks: list[Mapping[str, Any]] = []
        """Said of frames by the plan, and not written yet."""
        self._weights: tuple[Weights, Callable[[str], None]] | None = None
        """To be used from the next moment on in which no plan waits."""
        self._thread.start()

    @property
    def left(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def submit(self, number: int, request: Rebuild) -> RebuildTask:
        """Hand in a request whose frames are on disk; never waits."""
        task = RebuildTask(number, request)
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
                marks = [*note["data"]["frames"], *note["data"].get("beside", ())]
                self._marks += [{**mark, "field": field} for mark in marks]
                self._changed.notify_all()

    def answer(self, task: RebuildTask) -> Rebuilt:
        """The result of a request; waits for it."""
        with self._changed:
            self._wait(lambda: task.answer is not None, lambda: task.known)
            if task.answer is not None:
                return task.answer
            # A plan that gave up waiting decides without it, and has the same answer when it is
            # led through this again: a later result leaves no entry.
            why = f"it took longer than {self._timeout_s:g} s (`timelapse.timeout_s`)"
            task.answer = Rebuilt(failed=why)
        self._report(task.number, task.request, why)
        return task.answer

    def _forget(self) -> None:
        self._waiting.clear()
        self._marks.clear()

    def _kill(self) -> None:
        self._rebuilds.kill()

    def _settle(self) -> None:
        self._tried(self._rebuilds.finish)

    def _next(self) -> Work | None:
        """Requests that a plan may wait for come first; marks wait, and are written together."""
        if self._waiting:
            return partial(self._rebuild, self._waiting.popleft())
        weights, self._weights = self._weights, None
        if weights is not None and not self._closed:
            return partial(self._swap, *weights)
        marks, self._marks = self._marks, []
        return partial(self._tried, partial(self._rebuilds.keep, marks)) if marks else None

    def _rebuild(self, task: RebuildTask) -> None:
        outcome = self._outcome(task.request)
        with self._changed:
            task.known = not self._abandoned and task.answer is None
        if not task.known:
            return
        self._report(task.number, task.request, outcome)
        with self._changed:
            task.answer = as_answer(outcome)
            self._changed.notify_all()

    def _outcome(self, request: Rebuild) -> Done | str:
        try:
            return self._rebuilds.rebuild(request, self._timeout_s)
        except Exception as error:
            return reason(error, _TOO_LONG)

    def _swap(self, weights: Weights, failed: Callable[[str], None]) -> None:
        try:
            self._rebuilds.adopt(weights, self._timeout_s)
        except Exception as error:
            failed(reason(error, _TOO_LONG))

    def _tried(self, work: Callable[[float], None]) -> None:
        """Do something about marks; that it failed is said and stops nothing."""
        try:
            work(self._timeout_s)
        except Exception as error:
            with self._changed:
                said = self._abandoned or self._rebuilds.over
            if not said:
                self._report(None, None, reason(error, _TOO_LONG))

    def _report(self, number: int | None, request: Rebuild | None, outcome: Done | str) -> None:
        with self._writing_down():
            self._done(number, request, outcome)


def as_answer(outcome: Done | str) -> Rebuilt:
    """What a plan gets."""
    if isinstance(outcome, str):
        return Rebuilt(failed=outcome)
    return Rebuilt(outcome.uncertainty, outcome.errors)
