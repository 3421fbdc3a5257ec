"""Keeping the computer awake while a run works, where its system lets us.

What keeps it awake ends with this process, however that ends: a computer that never sleeps again
would be no thanks for a night.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

NOT_KEPT = "nothing here does that: switch the sleep of this computer off"
"""What is said where it cannot be kept awake."""
_ANSWER_S = 5.0
"""How long a system may take to agree (s)."""
_LET_GO_S = 2.0
_CONTINUOUS, _SYSTEM_REQUIRED = 0x80000000, 0x00000001  # of Windows' SetThreadExecutionState


@contextmanager
def kept_awake() -> Iterator[str | None]:
    """Keep the computer awake as long as the context lasts; by what, or None where nothing can."""
    if sys.platform == "win32":
        import ctypes

        execution_state = ctypes.windll.kernel32.SetThreadExecutionState
        kept = bool(execution_state(_CONTINUOUS | _SYSTEM_REQUIRED))
        try:
            yield "Windows" if kept else None
        finally:
            execution_state(_CONTINUOUS)
        return
    for command in _commands():
        if (process := _started(command)) is not None:
            try:
                yield command[0]
            finally:
                _ended(process)
            return
    yield None


def _commands() -> list[list[str]]:
    """What keeps this computer awake as long as `cat` has something to wait for."""
    if sys.platform == "darwin":
        return [["caffeinate", "-i", "-s", "cat"]]
    who = ["systemd-inhibit", "--who=stedfast", "--why=a run works", "--mode=block"]
    # Not everybody may forbid all sleep: over ssh, only that of a computer that nobody uses.
    return [[*who, f"--what={what}", "cat"] for what in ("sleep:idle", "idle")]


def _started(command: Sequence[str]) -> subprocess.Popen[bytes] | None:
    """The process of a command whose `cat` answers; None where there is none."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # the terminal's signals are for the run
        )
    except OSError:  # there is no such command
        return None
    answered = threading.Event()

    def ask() -> None:
        assert process.stdin is not None and process.stdout is not None
        with suppress(OSError):
            process.stdin.write(b"\n")
            process.stdin.flush()
            if process.stdout.readline():
                answered.set()

    asking = threading.Thread(target=ask, name="awake", daemon=True)
    asking.start()
    asking.join(_ANSWER_S)
    if answered.is_set():
        return process
    _ended(process)
    return None


def _ended(process: subprocess.Popen[bytes]) -> None:
    """Let go: `cat` ends with its input."""
    assert process.stdin is not None and process.stdout is not None
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_LET_GO_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
