"""Who may use a shared process next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

WAITED_FOR: ContextVar[Callable[[], bool]] = ContextVar("WAITED_FOR", default=lambda: False)
"""Whether a plan waits for what this thread asks for, now."""


class Turns:
    """A lock that goes first to calls that a plan waits for, and else in order of arrival."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._line: list[Callable[[], bool]] = []
        self._taken = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for it; `WAITED_FOR` is asked whenever it is given to the next."""
        wanted = WAITED_FOR.get()

        def mine() -> bool:
            return wanted()

        with self._changed:
            self._line.append(mine)
            self._changed.wait_for(lambda: not self._taken and self._next() is mine)
            self._line.remove(mine)
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    def _next(self) -> Callable[[], bool]:
        return next((one for one in self._line if one()), self._line[0])
