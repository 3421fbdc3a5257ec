"""Calls into Imspector, each with a time limit: its connection may hang."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
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

    def successor(self) -> _Worker:
        """Make another one, which makes the calls that wait behind one that hangs."""
        other = _Worker()
        with suppress(queue.Empty):
            while True:
                other.work.put(self.work.get_nowait())
        self.work.put(None)
        other.start()
        return other


class _Call:
    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._done = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        self._given_up = False

    def make(self) -> None:
        if self._given_up:  # nobody waits for it, and it had not begun
            return
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self._done.set()

    def result(self, limit_s: float) -> Any:
        if not self._done.wait(limit_s):
            self._given_up = True
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result


class Calls:
    """Makes all calls in one thread, which is left behind where one of them hangs.

    Those that wait behind it are made by another thread then.

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
                    self._worker = worker.successor()
            raise NoReply(
                f"Imspector did not answer within {limit_s:g} s: {what}; a dialog may be open there"
            ) from None
        return found


def said(error: BaseException) -> str:
    """What an error of specpy says, without where in its own code it came from.

    Examples
    --------
    >>> said(RuntimeError("connect: Connection refused [system:111 at /a/b.hpp:5]"))
    'connect: Connection refused'
    """
    return (str(error).splitlines() or [""])[0].partition(" [")[0] or type(error).__name__
