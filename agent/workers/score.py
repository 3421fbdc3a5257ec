"""Frames scored beside the acquisition.

One thread behind a bounded queue; frames that wait there are scored together. Handing in a frame
never waits: when the queue is full, the oldest frame that no plan has asked for goes without a
score. Asking for a score waits, with a timeout, and computes it then if it was passed over.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import CancelledError, Future, TimeoutError
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from agent.plan import AnalysisError
from agent.workers.process import TryAgain
from agent.workers.queue import Work, WorkQueue, analysis_error
from models.quality.score import Score

Compute = Callable[[list[NDArray[Any]]], list[Score]]
"""Scores some frames' pixels, in their order."""

_AT_ONCE = 16


@runtime_checkable
class Sized(Protocol):
    """What can score frames of other pixels than those that the config has."""

    def of_pixels(self, pixel_size_nm: float) -> Compute:
        """Scores frames of that pixel size (nm)."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    index: int
    pixels: NDArray[Any]
    future: Future[Score]
    pixel_size_nm: float | None


class Analysis(WorkQueue):
    """Scores frames in order of arrival.

    Parameters
    ----------
    compute
        Scores frames, one or several at once.
    queue
        Frames that may wait.
    timeout_s
        Longest wait for one score (s).
    done
        Called with (index, score) or (index, error) of every frame, in the thread that learns it
        first.
    again
        Called with (index, error) of a frame that is tried again because the scorer's process ended
        or was ended under it.
    modes
        Whose frames are scored.
    """

    def __init__(
        self,
        compute: Compute,
        *,
        queue: int,
        timeout_s: float,
        done: Callable[[int, Score | AnalysisError], None],
        again: Callable[[int, AnalysisError], None] = lambda index, error: None,
        modes: Collection[str] = ("sted",),
    ) -> None:
        super().__init__("analysis", timeout_s=timeout_s)
        self._compute = compute
        self.modes = modes
        self._again = again
        self._limit = queue
        self._done = done
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._wanted: set[int] = set()
        """Those of the waiting frames that a plan asked for."""
        self.longest = 0
        """Most frames that ever waited."""
        self.passed_over = 0
        """Frames that went without a score because the queue was full."""
        self._thread.start()

    def submit(
        self,
        index: int,
        pixels: NDArray[Any],
        pixel_size_nm: float | None = None,
        *,
        wanted: bool = False,
    ) -> Future[Score]:
        """Queue a frame; never waits.

        Parameters
        ----------
        index, pixels
            Its number, and itself.
        pixel_size_nm
            Of it; None where it is the config's.
        wanted
            It is not passed over.
        """
        future: Future[Score] = Future()
        with self._changed:
            if self._closed:
                future.cancel()
                return future
            if wanted:
                self._wanted.add(index)
            self._waiting[index] = _Waiting(index, pixels, future, pixel_size_nm)
            while len(self._waiting) > self._limit:
                spare = next((i for i in self._waiting if i not in self._wanted), None)
                if spare is None:
                    break
                self._waiting.pop(spare).future.cancel()
                self.passed_over += 1
            self.longest = max(self.longest, len(self._waiting))
            self._changed.notify_all()
        return future

    def result(
        self,
        index: int,
        pixels: NDArray[Any],
        future: Future[Score],
        pixel_size_nm: float | None = None,
    ) -> Score:
        """The score of a frame that was handed in; waits for it.

        Raises
        ------
        AnalysisError
            It failed, or took longer than the timeout.
        """
        with self._changed:
            if index in self._waiting:
                self._wanted.add(index)
        with self._waited_for():
            return self._awaited(index, pixels, future, pixel_size_nm)

    def _awaited(
        self, index: int, pixels: NDArray[Any], future: Future[Score], pixel_size_nm: float | None
    ) -> Score:
        try:
            try:
                return future.result(self._timeout_s)
            except CancelledError:
                future = self.submit(index, pixels, pixel_size_nm, wanted=True)
                return future.result(self._timeout_s)
        except (TimeoutError, CancelledError):
            if not future.cancel():  # it came in this very moment
                return future.result()
            late = AnalysisError(
                f"no score for frame {index} within {self._timeout_s:g} s (`analysis.timeout_s`)"
            )
            self._report(index, late)
            raise late from None

    @property
    def left(self) -> int:
        """How many frames wait."""
        return len(self._waiting)

    def close(self, *, finish: bool, go_on: Callable[[int], bool] = lambda left: True) -> None:
        """See `WorkQueue.close`; what waits is scored for one timeout at most."""
        deadline = time.monotonic() + self._timeout_s
        super().close(finish=finish, go_on=lambda left: time.monotonic() < deadline and go_on(left))

    def _forget(self) -> None:
        self._waiting.clear()
        self._wanted.clear()

    def _next(self) -> Work | None:
        batch = self._oldest()
        return partial(self._score, batch) if batch else None

    def _score(self, batch: list[_Waiting]) -> None:
        for one, outcome in zip(batch, self._outcomes(batch), strict=True):
            # Who gave up waiting has decided without this score; it must not turn up in the
            # ledger now, or the plan would decide otherwise when it is led through it again.
            if not one.future.set_running_or_notify_cancel():
                continue
            self._report(one.index, outcome)
            if isinstance(outcome, AnalysisError):
                one.future.set_exception(outcome)
            else:
                one.future.set_result(outcome)

    def _oldest(self) -> list[_Waiting]:
        """The frames that wait longest, without those that were given up, of one pixel size."""
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < _AT_ONCE:
            one = next(iter(self._waiting.values()))
            if batch and one.pixel_size_nm != batch[0].pixel_size_nm:
                break
            del self._waiting[one.index]
            self._wanted.discard(one.index)
            if not one.future.cancelled():
                batch.append(one)
        return batch

    def _outcomes(self, batch: list[_Waiting]) -> Iterator[Score | AnalysisError]:
        """The frames' scores in their order, each as soon as it is known."""
        if len(batch) > 1:
            try:
                scores = self._scores(batch)
            except Exception as error:  # one bad frame is enough; each alone tells which
                scores = []
                self._note_end(batch, error)
            if scores:
                yield from scores
                return
        for one in batch:
            try:
                try:
                    score = self._scores([one])[0]
                except (TryAgain, TimeoutError) as error:
                    # The next call starts it again; this frame need not be the cause of its end.
                    if one.future.cancelled():
                        raise
                    self._note_end([one], error)
                    score = self._scores([one])[0]
                yield score
            except Exception as error:
                yield _failed(one.index, error)

    def _note_end(self, batch: list[_Waiting], error: Exception) -> None:
        if isinstance(error, TryAgain | TimeoutError):
            index = batch[0].index
            with self._writing_down():
                self._again(index, _failed(index, error))

    def _scores(self, batch: list[_Waiting]) -> list[Score]:
        compute, size = self._compute, batch[0].pixel_size_nm
        if size is not None and isinstance(compute, Sized):
            compute = compute.of_pixels(size)
        scores = compute([one.pixels for one in batch])
        if len(scores) != len(batch):
            raise ValueError(f"{len(scores)} scores of {len(batch)} frames")
        return scores

    def _report(self, index: int, outcome: Score | AnalysisError) -> None:
        with self._writing_down():
            self._done(index, outcome)


def _failed(index: int, error: Exception) -> AnalysisError:
    return analysis_error(f"scoring frame {index}", error, "analysis.timeout_s")
