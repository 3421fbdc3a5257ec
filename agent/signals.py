"""Ctrl-C and SIGTERM: the first asks for a clean stop, the second stops now.

The only place that knows about signals.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")


class Interrupts:
    """How often, and by what, this process was asked to stop."""

    def __init__(self) -> None:
        self.count = 0
        self.name = ""

    @property
    def asked(self) -> bool:
        """Nothing new may begin."""
        return self.count > 0

    @property
    def now(self) -> bool:
        """What is under way is not waited for."""
        return self.count > 1

    def _take(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        self.name = signal.Signals(number).name


_heard: Interrupts | None = None


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Collect signals instead of dying from them; only the main thread can.

    Within another such context it is the same collection, so that none is forgotten.
    """
    global _heard
    if _heard is not None:
        yield _heard
        return
    seen = Interrupts()
    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        _heard = seen
        for name in _SIGNALS:
            if (number := getattr(signal, name, None)) is not None:
                held = signal.getsignal(number)
                # Whoever had a signal ignored wants the run to outlive it: `nohup` for one.
                if name != "SIGHUP" or held is not signal.SIG_IGN:
                    before[number] = signal.signal(number, seen._take)
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if _heard is seen:
            _heard = None
