"""A worker's process that is started again when it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.workers.process import START_S, WorkerDied, WorkerProcess

_MOST_STARTS = 3
"""In a row, without anything done in between (chosen): what ends it will end it again."""


class RestartedProcess:
    """A `WorkerProcess` that is started again when it ends, but not for ever.

    Parameters
    ----------
    make, args
        Make the object, in the other process.
    options
        Of the `WorkerProcess`.

    Raises
    ------
    Exception
        What `make` raised.
    """

    def __init__(self, make: Callable[..., Any], *args: Any, **options: Any) -> None:
        self._made_of = (make, args, options)
        self._began_with: tuple[str, tuple[Any, ...]] | None = None
        self._starts = 0
        self.over = False
        """It has ended so often that it is not started again."""
        self._process = self._start()

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def ask(self, method: str) -> Any:
        """Call a method that takes no time."""
        return self._process.call(method, timeout_s=START_S)

    def warm_up(self, *args: Any) -> None:
        """Call the object's `warm_up`, now and whenever it is started again."""
        self._began_with = "warm_up", args
        self._process.call("warm_up", *args, timeout_s=START_S)

    def change(self, method: str, *args: Any, timeout_s: float) -> None:
        """Call a method that changes the object, and again whenever it is started again.

        Errors are those of `work`; a change that failed is not tried again.
        """
        self.work(method, *args, timeout_s=timeout_s)
        self._began_with = method, args

    def work(self, method: str, *args: Any, timeout_s: float) -> Any:
        """Call a method; a process that has ended is started first.

        Raises
        ------
        WorkerDied
            The process ended, and is started again for the next call, unless it ends each time.
        TimeoutError
            It took longer, and was ended.
        Exception
            What the method raised.
        """
        if not self._process.is_alive:
            self._again()
        done = self._process.call(method, *args, timeout_s=timeout_s)
        self._starts = 0
        return done

    def close(self) -> None:
        """End the process; work under way is finished first."""
        self._process.close()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()

    def _start(self) -> WorkerProcess:
        make, args, options = self._made_of
        self._starts += 1
        return WorkerProcess(make, *args, **options)

    def _again(self) -> None:
        if self._starts >= _MOST_STARTS:
            self.over = True
            raise WorkerDied(f"its process ended {self._starts} times in a row; not started again")
        self._process = self._start()
        if self._began_with is not None:
            method, args = self._began_with
            self._process.call(method, *args, timeout_s=START_S)
