"""One process for all work on the GPU, so that there is no competition for it.

Scores, filtered and rebuilt frames come from one set of models that stays in its memory. Calls are
served one after the other: those that a plan waits for first, the rest in their order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from agent.workers.process import START_S, WorkerDied, WorkerProcess
from agent.workers.turns import Turns

_MOST_ENDS = 3
"""Of the process, in a row, under one part's work: what ends it will end it again."""


class Part(Protocol):
    """An object in another process; a `RestartedProcess`, or a part of a `SharedProcess`."""

    @property
    def pid(self) -> int | None:
        """Number of the process."""

    @property
    def over(self) -> bool:
        """Whether it has ended the process so often that it is not made again."""

    def ask(self, method: str) -> Any:
        """Call a method that takes no time."""

    def warm_up(self, *args: Any) -> None:
        """Call the object's `warm_up`, now and whenever it is made again."""

    def change(self, method: str, *args: Any, timeout_s: float) -> None:
        """Call a method that changes the object, and again whenever it is made again."""

    def work(self, method: str, *args: Any, timeout_s: float) -> Any:
        """Call a method; errors are those of `RestartedProcess.work`."""

    def close(self) -> None:
        """No more calls; the one it is at is finished first."""

    def kill(self) -> None:
        """No more calls; the one it is at is given up."""


Start = Callable[..., Part]
"""Makes a part from what makes its object, in the other process, and the arguments of that."""


class SharedProcess:
    """Objects in one other process; it is started again when it ends.

    An object under whose work it ends three times in a row is not made again, and the others
    continue without it.
    """

    def __init__(self) -> None:
        self._turns = Turns()
        self._parts: list[_SharedPart] = []
        self._process: WorkerProcess | None = None
        self._at_work: _SharedPart | None = None

    def start(self, make: Callable[..., Any], *args: Any) -> Part:
        """Make one more object there.

        Raises
        ------
        Exception
            What `make` raised.
        """
        part = _SharedPart(self, len(self._parts), make, args)
        with self._turns.turn():
            self._put(self._ready(), part)
            self._parts.append(part)
        return part

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid if self._process is not None else None

    def call(self, part: _SharedPart, method: str, args: tuple[Any, ...], timeout_s: float) -> Any:
        """Call a method of a part's object, when its turn comes."""
        with self._turns.turn():
            part.still_there()
            process = self._ready()
            part.still_there()
            self._at_work = part
            try:
                if part.unmade:
                    self._put(process, part)
                done = process.call("call", part.number, method, args, timeout_s=timeout_s)
            except Exception:
                if part.unmade or not process.is_alive:
                    part.ends += 1
                raise
            finally:
                self._at_work = None
            part.ends = 0
            return done

    def left(self, part: _SharedPart, *, now: bool) -> None:
        """What a part leaves behind: the process ends with the last, or if it is at its work."""
        process = self._process
        if process is None:
            return
        if now and self._at_work is part:
            process.kill()
        if all(one.closed for one in self._parts):
            process.close()

    def _ready(self) -> WorkerProcess:
        """The process with all parts in it."""
        while self._process is None or not self._process.is_alive:
            self._process = process = WorkerProcess(_Objects)
            for part in self._parts:
                if part.over or part.closed:
                    continue
                try:
                    self._put(process, part)
                except Exception:  # it is tried again when it is called, and says it then
                    if not process.is_alive:
                        part.ends += 1
                        break
        return self._process

    def _put(self, process: WorkerProcess, part: _SharedPart) -> None:
        part.unmade = True
        process.call("make", part.number, part.make, part.args, timeout_s=START_S)
        if part.began_with is not None:
            method, args = part.began_with
            process.call("call", part.number, method, args, timeout_s=START_S)
        part.unmade = False


class _SharedPart:
    """See `Part`."""

    def __init__(
        self, shared: SharedProcess, number: int, make: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        self.number, self.make, self.args = number, make, args
        self.began_with: tuple[str, tuple[Any, ...]] | None = None
        self.unmade = False
        """It is not there, as it could not be made again."""
        self.ends = 0
        self.closed = False
        self._shared = shared

    @property
    def pid(self) -> int | None:
        return self._shared.pid

    @property
    def over(self) -> bool:
        return self.ends >= _MOST_ENDS

    def still_there(self) -> None:
        if self.over:
            raise WorkerDied(f"its process ended {self.ends} times in a row; not started again")
        if self.closed:
            raise WorkerDied("it was given up")

    def ask(self, method: str) -> Any:
        return self._shared.call(self, method, (), START_S)

    def warm_up(self, *args: Any) -> None:
        self._shared.call(self, "warm_up", args, START_S)
        # One that failed is not tried again: the first frame reports the error.
        self.began_with = "warm_up", args

    def change(self, method: str, *args: Any, timeout_s: float) -> None:
        self._shared.call(self, method, args, timeout_s)
        self.began_with = method, args

    def work(self, method: str, *args: Any, timeout_s: float) -> Any:
        return self._shared.call(self, method, args, timeout_s)

    def close(self) -> None:
        self.closed = True
        self._shared.left(self, now=False)

    def kill(self) -> None:
        self.closed = True
        self._shared.left(self, now=True)


class _Objects:
    """What lives in the other process."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}

    def make(self, number: int, make: Callable[..., Any], args: tuple[Any, ...]) -> None:
        with suppress(KeyError):
            del self._made[number]
        self._made[number] = make(*args)

    def call(self, number: int, method: str, args: tuple[Any, ...]) -> Any:
        return getattr(self._made[number], method)(*args)
