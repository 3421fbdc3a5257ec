"""A network in a process of its own, beside the acquisition.

In a thread it would share Python's interpreter lock with the acquisition and slow it by half; in a
process of lower priority it uses what the acquisition leaves. What hangs in it can be ended.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import util
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

from agent.workers.serving import THE_PARENTS, serve

START_S = 120.0
"""Longest time for a process to start, and for its object to be made (s)."""
_NICER = 15
"""Priority given up, of at most 19; chosen: it uses what the acquisition leaves."""
_LET_GO_S = 1.0
"""Longest wait for a process that was killed to be gone (s); chosen."""


class TryAgain(RuntimeError):
    """What failed will not fail in this way again: it is worth a second attempt."""


class WorkerDied(TryAgain):
    """The process has ended, by itself or by a signal."""


class WorkerProcess:
    """Keeps an object in another process, and calls its methods.

    Parameters
    ----------
    make
        Makes the object, in the other process; importable from there, as are its arguments.
    args
        For `make`.
    nicer
        By how much it gives way to this process, up to 19; None: as all but the least urgent do.

    Raises
    ------
    TimeoutError
        The process did not start within `START_S`.
    Exception
        What `make` raised.
    """

    def __init__(self, make: Callable[..., Any], *args: Any, nicer: int | None = None) -> None:
        # Unpacked there, its imports give way like all else.
        made_of = pickle.dumps((make, args))
        context = _context()
        self._pipe, theirs = context.Pipe()
        self._one_at_a_time = threading.Lock()
        self._killed = False
        give_way = _NICER if nicer is None else nicer
        # A process that hangs in a driver must not keep this one from ending.
        self._process = context.Process(target=serve, args=(theirs, made_of, give_way), daemon=True)
        with _unheard():
            self._process.start()
        # At its end Python asks daemons to terminate and waits for them; one that is stopped, or
        # hangs in a driver, would not hear it. This comes before.
        util.Finalize(None, self._process.kill, exitpriority=0)
        theirs.close()
        try:
            self._answer(START_S)
        except BaseException:
            self.kill()
            raise

    def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Call a method of the object, and wait for its result.

        Raises
        ------
        WorkerDied
            The process has ended.
        TimeoutError
            It took longer; the process is ended, as it would answer the next call with this
            one's result.
        Exception
            What the method raised.
        """
        with self._one_at_a_time:
            try:
                self._pipe.send((method, args))
            except (OSError, ValueError):
                raise self._died() from None
            return self._answer(timeout_s)

    @property
    def is_alive(self) -> bool:
        """Whether it still can be called."""
        return not self._killed and self._process.is_alive()

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def close(self) -> None:
        """Let the process end, when it has answered the call it is at."""
        with suppress(OSError):
            self._pipe.close()

    def kill(self) -> None:
        """End the process now."""
        self._killed = True  # it may take a moment to be gone, and is not to be asked meanwhile
        self._process.kill()
        self._process.join(_LET_GO_S)

    def _answer(self, timeout_s: float | None) -> Any:
        try:
            if not self._pipe.poll(timeout_s):
                self.kill()
                raise TimeoutError(f"its process did not answer within {timeout_s:g} s")
            good, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._died() from None
        if good:
            return answer
        raise answer

    def _died(self) -> WorkerDied:
        self._process.join(_LET_GO_S)
        return WorkerDied(f"its process ended, with exit code {self._process.exitcode}")


_IMPORTED = [
    "models.interpolation.interpolate",
    "models.quality.scorer",
    "models.restoration.engine",
]
"""What takes longest to import of what such processes need."""


def _context() -> SpawnContext | ForkServerContext:
    """How processes are started.

    On Linux they are copies of one that has imported the networks' library and done nothing with
    it: the second starts in a tenth of a second instead of in three, and shares that memory.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    return context


@contextmanager
def _unheard() -> Iterator[None]:
    """Start a process that does not hear them before it has settled."""
    if not THE_PARENTS:
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, THE_PARENTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
