"""What a worker's process does: it makes an object, and answers calls of its methods."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

THE_PARENTS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTSTP", "SIGQUIT")
    if hasattr(signal, name) and hasattr(signal, "pthread_sigmask")
]
"""Signals that a terminal sends to all processes of a command; only its first one obeys them."""


def serve(pipe: Connection, made_of: bytes, nicer: int) -> None:
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
    for number in THE_PARENTS:
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
