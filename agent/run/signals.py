"""Ctrl-C, SIGTERM and all the others: the first asks for a clean stop, the second stops now.

The only place that knows about signals. Each one that can be caught and would end this process
asks it to stop instead; SIGQUIT asks it to stop now. Ctrl-Z (SIGTSTP) is kept until
the owner of the light has made it dark. SIGKILL, SIGSTOP and crashes cannot be caught.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

_STOP = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
# A program that uses one of these has a handler for it already.
_STOP_TOO = (
    "SIGUSR1",
    "SIGUSR2",
    "SIGALRM",
    "SIGVTALRM",
    "SIGPROF",
    "SIGXCPU",
    "SIGIO",
    "SIGPWR",
    "SIGSTKFLT",
)
_STOP_NOW = "SIGQUIT"
_SUSPEND = "SIGTSTP"
# A process in the background that writes to its terminal must not stand still for that.
_HARMLESS = ("SIGTTIN", "SIGTTOU")


class Interrupts:
    """How often, and by what, this process was asked to stop.

    Attributes
    ----------
    count, name
        How often, and the signal that came last.
    suspended
        Ctrl-Z was pressed, and `suspend` has not been called yet.
    resting
        Entered while this process stands still, if anything.
    """

    resting: Callable[[], AbstractContextManager[None]] | None = None

    def __init__(self) -> None:
        self.count = 0
        self.name = ""
        self.suspended = False
        self._breaks = False

    @property
    def asked(self) -> bool:
        """Nothing new may begin."""
        return self.count > 0

    @property
    def now(self) -> bool:
        """Work under way is not waited for."""
        return self.count > 1

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """Let a signal break off the work done meanwhile: it touches no device.

        Raises
        ------
        KeyboardInterrupt
            A signal came.
        """
        self._breaks = True
        try:
            yield
        finally:
            self._breaks = False

    def suspend(self) -> None:
        """Stand still as Ctrl-Z wants it, until the process is continued."""
        self.suspended = False
        with nullcontext() if self.resting is None else self.resting():
            held = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            try:
                os.kill(os.getpid(), signal.SIGTSTP)
            finally:
                signal.signal(signal.SIGTSTP, held)

    def _take(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        if name == _SUSPEND:
            self.suspended = True
            return
        self.count += 2 if name == _STOP_NOW else 1
        self.name = name
        if self._breaks:
            raise KeyboardInterrupt


_heard: Interrupts | None = None
_last = False


def last() -> None:
    """Nothing follows the next `interrupts`: signals that come after it are ignored.

    What would be left for them to end is the interpreter's own end.
    """
    global _last
    _last = True


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Collect signals instead of dying from them; only the main thread can.

    Within another such context it is the same collection, so that none is forgotten. A signal
    that is ignored stays so: the run is meant to outlive it, as with `nohup`.
    """
    global _heard
    if _heard is not None:
        yield _heard
        return
    seen = Interrupts()
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        _heard = seen
        for name in (*_STOP, _STOP_NOW, _SUSPEND, *_STOP_TOO, *_HARMLESS):
            if (number := getattr(signal, name, None)) is None:
                continue
            held = signal.getsignal(number)
            if held is signal.SIG_IGN or (name in _STOP_TOO and held is not signal.SIG_DFL):
                continue
            handler = signal.SIG_IGN if name in _HARMLESS else seen._take
            before[number] = signal.signal(number, handler)
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if _last else handler)
        if _heard is seen:
            _heard = None
        if seen.suspended:
            seen.suspend()
