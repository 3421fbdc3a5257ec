"""A network in a process of its own, beside the acquisition.

In a thread it would share Python's interpreter lock with the acquisition and slow it by half; in a
process of lower priority it uses what the acquisition leaves. What hangs in it can be ended.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import util
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

START_S = 120.0
"""Longest time for a process to start, and for its object to be made (s)."""
_NICER = 15
_LET_GO_S = 1.0
_MOST_STARTS = 3
"""In a row, without anything done in between: what ends it will end it again."""


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
        By how much it gives way to this process, up to 19.

    Raises
    ------
    TimeoutError
        The process did not start within `START_S`.
    Exception
        What `make` raised.
    """

    def __init__(self, make: Callable[..., Any], *args: Any, nicer: int = _NICER) -> None:
        # Unpacked there, its imports give way like all else.
        made_of = pickle.dumps((make, args))
        context = _context()
        self._pipe, theirs = context.Pipe()
        self._one_at_a_time = threading.Lock()
        self._killed = False
        # A process that hangs in a driver must not keep this one from ending.
        self._process = context.Process(target=_serve, args=(theirs, made_of, nicer), daemon=True)
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


_THE_PARENTS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTSTP", "SIGQUIT")
    if hasattr(signal, name) and hasattr(signal, "pthread_sigmask")
]
"""Signals that a terminal sends to all processes of a command; only its first one obeys them."""


@contextmanager
def _unheard() -> Iterator[None]:
    """Start a process that does not hear them before it has settled."""
    if not _THE_PARENTS:
        yield
        return
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _THE_PARENTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _serve(pipe: Connection, made_of: bytes, nicer: int) -> None:
    """What the other process does."""
    _settle(nicer)
    try:
        make, args = pickle.loads(made_of)
        made = make(*args)
    except Exception as error:
        _send(pipe, False, error)
        return
    _send(pipe, True, None)
    while True:
        try:
            method, given = pipe.recv()
        except (EOFError, OSError):  # there will be no more calls
            return
        try:
            answer = getattr(made, method)(*given)
        except Exception as error:
            _send(pipe, False, error)
        else:
            _send(pipe, True, answer)


def _send(pipe: Connection, good: bool, answer: Any) -> None:
    try:
        data = pickle.dumps((good, answer), protocol=pickle.HIGHEST_PROTOCOL)
        if not good:
            pickle.loads(data)  # some exceptions can be sent, but not be made again
    except Exception:
        words = f"{type(answer).__name__}: {answer}"
        data = pickle.dumps((False, RuntimeError(words)))
    with suppress(OSError):
        pipe.send_bytes(data)


def _settle(nicer: int) -> None:
    """Leave Ctrl-C to the parent, end when it ends, and let it go first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in _THE_PARENTS:
        signal.signal(number, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(0)

    threading.Thread(target=follow, name="follow the parent", daemon=True).start()
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(nicer)
