"""Calls into Imspector, each with a time limit: its connection may hang."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class NoReply(RuntimeError):
    """A call did not return in time."""


class _Worker(threading.Thread):
    """Makes one call after the other."""

    def __init__(self) -> None:
        super().__init__(name="Imspector", daemon=True)
        self.work: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Until there is None to call."""
        while (call := self.work.get()) is not None:
            call.make()


class _Call:
    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._done = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None

    def make(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self._done.set()

    def result(self, limit_s: float) -> Any:
        if not self._done.wait(limit_s):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result


class Calls:
    """Makes all calls in one thread, which is left behind where one of them hangs.

    Parameters
    ----------
    limit_s
        How long one may take (s).

    Examples
    --------
    >>> calls = Calls(1.0)
    >>> calls("the version", lambda: "16.3")
    '16.3'
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def __call__(self, what: str, work: Callable[[], T], limit_s: float | None = None) -> T:
        """Make a call, and wait for its result.

        Raises
        ------
        NoReply
            It did not return in time; it may have an effect later.
        """
        limit_s = self.limit_s if limit_s is None else limit_s
        call = _Call(work)
        with self._lock:
            if self._worker is None:
                self._worker = _Worker()
                self._worker.start()
            worker = self._worker
            worker.work.put(call)
        try:
            found: T = call.result(limit_s)
        except TimeoutError:
            with self._lock:
                if self._worker is worker:
                    self._worker = None
            worker.work.put(None)
            raise NoReply(f"Imspector did not answer within {limit_s:g} s: {what}") from None
        return found
