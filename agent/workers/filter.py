"""Frames filtered beside the acquisition.

One worker thread hands numbers of frames to the filter's process, which reads and writes their
pixels by itself. Handing in a frame never waits, and a frame that waits is a number, so that
memory does not grow with them. With ``newest`` one frame waits at most, and the next one takes its
place; with ``all`` each has its turn, after the run's end if need be. Asking for a frame's
uncertainty waits, with a timeout, and puts that frame first.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

from agent.plan import AnalysisError
from agent.workers.filter_process import Filtered
from agent.workers.queue import Work, WorkQueue, analysis_error

_LIMIT = "filter.timeout_s"
_GRACE_S = 1.0
"""A frame under way may still be written to its end (s), rather than be cut off in it."""


class Filters(Protocol):
    """What filters frames that are on disk: a `FilterProcess`."""

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Do what only the first frame needs."""
        ...

    def restore(self, index: int, timeout_s: float) -> Filtered:
        """Filter one frame."""
        ...

    def erase(self, index: int) -> None:
        """Take a frame back that was filtered too late to count."""
        ...

    def kill(self) -> None:
        """Give up the frame it is at."""
        ...

    @property
    def over(self) -> bool:
        """Whether it has failed so often that it tries no more."""
        ...


Outcome = Filtered | AnalysisError


@dataclass(slots=True, eq=False)
class FilterTask:
    """A frame that is to be filtered, now or when a plan asks for its uncertainty.

    Attributes
    ----------
    outcome
        None as long as it is not known.
    wanted, begun, known, given_up
        A plan waits for it; it is being filtered; the ledger has it; the plan has given up waiting.
    """

    index: int
    outcome: Outcome | None = None
    wanted: bool = False
    begun: bool = False
    known: bool = False
    given_up: bool = False


class Filtering(WorkQueue):
    """Filters frames in order of arrival.

    Parameters
    ----------
    filters
        Does the work.
    shape
        Rows and columns of the frames to come.
    modes
        Of the frames that are filtered.
    frames
        Which of them, where it cannot keep up.
    timeout_s
        Longest time for one frame, and longest wait for its uncertainty (s).
    done
        Called with (index, outcome) of every frame, in the thread that learns it first; the index
        is None where warming up failed.
    """

    def __init__(
        self,
        filters: Filters,
        *,
        shape: tuple[int, int],
        modes: Collection[str],
        frames: Literal["newest", "all"],
        timeout_s: float,
        done: Callable[[int | None, Outcome], None],
    ) -> None:
        super().__init__("filtering", timeout_s=timeout_s, grace_s=_GRACE_S)
        self._filters = filters
        self._shape = shape
        self.modes = modes
        self._frames: str = frames
        self._done = done
        self._waiting: deque[FilterTask] = deque()
        self._first: deque[FilterTask] = deque()
        """Those that a plan waits for; they may stand among the others as well."""
        self.ready = threading.Event()
        """Warmed up, or failed to."""
        self._thread.start()

    @property
    def all(self) -> bool:
        """Whether no frame is passed over."""
        return self._frames == "all"

    def change(self, frames: str) -> None:
        """Filter other frames from now on: `none`, `newest` or `all`; a plan may ask for any."""
        with self._changed:
            self._frames = frames
            if frames == "none":
                self._waiting.clear()

    @property
    def left(self) -> int:
        """How many frames wait."""
        return len(self._waiting)

    def submit(self, index: int) -> FilterTask:
        """Hand in a frame that is on disk; never waits."""
        task = FilterTask(index)
        with self._changed:
            if not self._closed and self._frames != "none":
                if not self.all:
                    self._waiting.clear()
                self._waiting.append(task)
                self._changed.notify_all()
        return task

    def uncertainty(self, task: FilterTask) -> float:
        """The uncertainty of a frame; waits for it, and has it filtered if it was passed over.

        Raises
        ------
        AnalysisError
            It failed, or took longer than the timeout.
        """
        with self._changed:
            if task.outcome is None and not task.wanted:
                task.wanted = True
                self._first.append(task)
                self._changed.notify_all()
            late = not self._wait(lambda: task.outcome is not None, lambda: task.known)
            if late:
                # A plan that gave up waiting has decided without it. It must not turn up in the
                # ledger now, or the plan would decide otherwise when it is led through it again.
                task.given_up = True
                task.outcome = AnalysisError(
                    f"frame {task.index} was not filtered within {self._timeout_s:g} s "
                    "(`filter.timeout_s`)"
                )
        assert task.outcome is not None
        if late:
            self._report(task.index, task.outcome)
        if isinstance(task.outcome, AnalysisError):
            raise task.outcome
        return task.outcome.uncertainty

    def close(self, *, finish: bool, go_on: Callable[[int], bool] = lambda left: True) -> None:
        """See `WorkQueue.close`."""
        with self._changed:
            # Warming up is not waited for where no frame is left to filter.
            finish = finish and (self.ready.is_set() or bool(self._waiting or self._first))
        super().close(finish=finish, go_on=go_on)

    def _forget(self) -> None:
        self._waiting.clear()
        self._first.clear()

    def _kill(self) -> None:
        self._filters.kill()

    def _warm_up(self) -> None:
        try:
            self._filters.warm_up(self._shape)
        except Exception as error:
            if not self._abandoned:
                self._report(None, analysis_error("warming the filter up", error, _LIMIT))
        self.ready.set()

    def _next(self) -> Work | None:
        while self._first or self._waiting:
            task = (self._first or self._waiting).popleft()
            if not (task.begun or task.given_up):
                task.begun = True
                return partial(self._filter, task)
        return None

    def _filter(self, task: FilterTask) -> None:
        over = self._filters.over
        try:
            outcome: Outcome = self._filters.restore(task.index, self._timeout_s)
        except Exception as error:
            outcome = analysis_error(f"filtering frame {task.index}", error, _LIMIT)
        with self._changed:
            late = self._abandoned or task.given_up
            # The ledger has been told that it is over; what every further frame would add,
            # it adds only where a plan asks.
            task.begun = not (over and not task.wanted)
            task.known = task.begun and not late
        if late:
            with suppress(OSError):
                self._filters.erase(task.index)
        if not task.known:
            return
        self._report(task.index, outcome)
        with self._changed:
            task.outcome = outcome
            self._changed.notify_all()

    def _report(self, index: int | None, outcome: Outcome) -> None:
        with self._writing_down():
            self._done(index, outcome)


def not_filtered(index: int, mode: str) -> str:
    """The error for a plan that asks for the uncertainty of a frame that is not filtered."""
    return f"frame {index} ({mode}) is not filtered"
