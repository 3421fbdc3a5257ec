"""A queue of work beside the acquisition, and the thread that does it.

Handing in work never waits. The order of work, the work passed over and the use of an outcome are
the policy of each queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agent.plan import AnalysisError
from agent.workers.turns import WAITED_FOR

_TICK_S = 0.05
_LET_GO_S = 1.0

Work = Callable[[], None]


class WorkQueue:
    """One thread that does one piece of work after the other, until it is closed.

    A subclass has `left` and `_next`, and other parts of its policy. It starts the thread
    (`_thread.start`) when it is made, guards waiting work by `_changed`, and notifies that whenever
    there is more to do.

    Parameters
    ----------
    name
        Of the thread.
    timeout_s
        Longest wait for an outcome (s).
    grace_s
        How long work under way may still take (s) when the queue is given up.

    Attributes
    ----------
    failure
        What writing down an outcome raised, if it did: a full disk, or an outcome that stops the
        run.
    """

    def __init__(self, name: str, *, timeout_s: float, grace_s: float = 0.0) -> None:
        self._timeout_s, self._grace_s = timeout_s, grace_s
        self._changed = threading.Condition()
        self._closed = False
        """No more is taken in."""
        self._abandoned = False
        """The remaining work, and the work under way, is no longer wanted."""
        self._asking = 0
        """Plans that wait for an outcome."""
        self.failure: Exception | None = None
        # What hangs in a driver must not keep this process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    # ------------------------------------------------------------------ the policy
    # The first two are each queue's own to write; the hooks after them may stay empty.

    @property
    def left(self) -> int:
        """How much waits."""
        raise NotImplementedError

    def _next(self) -> Work | None:
        """Take the next piece of work; None without any. Called within `_changed`."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Drop waiting work. Called within `_changed`."""

    def _kill(self) -> None:
        """End the work under way."""

    def _warm_up(self) -> None:
        """First work of the thread."""

    def _settle(self) -> None:
        """Last work of the thread, unless it is given up."""

    # ------------------------------------------------------------------ for all of them

    def close(self, *, finish: bool, go_on: Callable[[int], bool] = lambda left: True) -> None:
        """End the thread.

        Parameters
        ----------
        finish
            It does what waits first.
        go_on
            Asked meanwhile, with how much waits, whether to continue.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        while finish and self._thread.is_alive():
            self._thread.join(_TICK_S)
            if self._thread.is_alive():
                finish = self.failure is None and go_on(self.left)
        if not self._thread.is_alive():
            return
        with self._changed:
            self._abandoned = True
            self._forget()
            self._changed.notify_all()
        self._thread.join(self._grace_s)
        if self._thread.is_alive():
            self._kill()
            self._thread.join(_LET_GO_S)

    def _run(self) -> None:
        WAITED_FOR.set(lambda: self._asking > 0)
        self._warm_up()
        while (work := self._take()) is not None:
            work()
        with self._changed:
            abandoned = self._abandoned
        if not abandoned:
            self._settle()

    def _take(self) -> Work | None:
        """The next piece of work; waits for it, and is None at the end."""
        with self._changed:
            while (work := self._next()) is None:
                if self._closed:
                    return None
                self._changed.wait()
            return work

    @contextmanager
    def _waited_for(self) -> Iterator[None]:
        """A plan waits for an outcome meanwhile, which gives it precedence on a shared GPU."""
        with self._changed:
            self._asking += 1
        try:
            yield
        finally:
            with self._changed:
                self._asking -= 1

    def _wait(self, there: Callable[[], bool], coming: Callable[[], bool]) -> bool:
        """Wait until an outcome is there; False where it took too long.

        One that is being written down at the moment when time is up still counts.
        """
        with self._waited_for(), self._changed:
            self._changed.wait_for(there, self._timeout_s)
            if not there() and coming():
                self._changed.wait_for(there)
            return there()

    @contextmanager
    def _writing_down(self) -> Iterator[None]:
        """Keep an error as `failure`: it must not end the thread that plans wait for."""
        try:
            yield
        except Exception as error:
            self.failure = error


def reason(error: Exception, too_long: str) -> str:
    """Why something failed, in words; `too_long` where it did not end in time."""
    return too_long if isinstance(error, TimeoutError) else str(error) or type(error).__name__


def analysis_error(what: str, error: Exception, limit: str) -> AnalysisError:
    """The error that plans and the ledger get.

    Parameters
    ----------
    what
        What failed.
    error
        Why it did.
    limit
        Config key that limits the time for it.
    """
    found = AnalysisError(f"{what} failed: {reason(error, f'took too long (`{limit}`)')}")
    found.__cause__ = error
    return found
