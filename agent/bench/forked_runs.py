"""Runs in forks of a process that has imported everything, with devices that stay lit.

So moments of a run are chosen, and not moments of Python's start.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from agent.bench import lit
from agent.record.verdict import EXIT_CODE as UNRELIABLE

TIMEOUT_S = 60.0
"""Longest time of a run (s)."""


def live(
    place: Path, *, guard: bool = False, frames: int = 8, interval_s: float = 0.05
) -> dict[str, Any]:
    """A config of a live run whose devices write `devices.log` in a folder; nothing is scored."""
    log = place / "devices.log"
    data: dict[str, Any] = lit.config(log, frames=frames, interval_s=interval_s, guard=guard)
    return data | {"analysis": {"score": False}}


def import_all(
    place: Path, data: dict[str, Any] | None = None, *, seconds: float = TIMEOUT_S
) -> None:
    """Import here everything that a run imports on its way, so that its forks need not."""
    finished(start(place, data or live(place)), place, seconds)
    for name in (place / "modules.txt").read_text(encoding="utf-8").split():
        with suppress(Exception):
            import_module(name)


def finished(process: int, place: Path, seconds: float = TIMEOUT_S) -> None:
    """Wait for a run that nothing disturbs.

    Raises
    ------
    RuntimeError
        It did not end as it should.
    """
    # Of a search among frames of noise nothing can be recommended.
    if (status := wait(process, seconds)) not in (0, UNRELIABLE):
        raise RuntimeError(f"a run without any signal ended with {status}: {said(place)}")


def start(
    place: Path,
    data: dict[str, Any],
    *,
    whole: bool = False,
    run: Path | None = None,
    arguments: Sequence[str] = (),
    terminal: int | None = None,
    first: Callable[[], None] = lambda: None,
) -> int:
    """Start `stedfast run` in a process, in a group of its own; returns its number.

    Parameters
    ----------
    place
        New folder for it.
    data
        Its config.
    whole
        A process of its own, rather than a fork of this one.
    run
        The run's folder; `run` in `place` if absent.
    arguments, terminal, first
        As of `command`.
    """
    place.mkdir()
    file = place / "config.yaml"
    file.write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")
    begun = ["run", str(file), "--out", str(run or place / "run"), *arguments]
    return command(place, begun, whole=whole, terminal=terminal, first=first)


def command(
    place: Path,
    arguments: Sequence[str],
    *,
    whole: bool = False,
    terminal: int | None = None,
    first: Callable[[], None] = lambda: None,
) -> int:
    """Start a command in a process, in a group of its own; returns its number.

    Parameters
    ----------
    place
        Folder for what it says, `said.txt`.
    arguments
        Of `stedfast`.
    whole
        A process of its own, rather than a fork of this one.
    terminal
        That it has, and writes to instead.
    first
        Called before the command, in a fork.
    """
    # A signal in what libraries do at a fork would be lost: it waits until that is over.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    process = os.fork()
    if process:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if terminal is None:
            os.setpgid(process, process)
        return process
    try:
        if terminal is not None:
            _take(terminal)
        else:
            os.setpgid(0, 0)
        _hear_all()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        said = os.open(place / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(said if terminal is None else terminal, stream)
        if terminal is not None:  # those there are know that they were files
            sys.stdout, sys.stderr = os.fdopen(os.dup(1), "w"), os.fdopen(os.dup(2), "w")
        if whole:
            os.execv(sys.executable, [sys.executable, "-m", "agent.cli", *arguments])
        sys.argv = ["stedfast", *arguments]
        first()
        _run(place)
    except KeyboardInterrupt:  # likewise
        os._exit(130)
    finally:
        os._exit(70)


def _take(terminal: int) -> None:
    """Begin a session of this process on a terminal."""
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    os.dup2(terminal, 0)


def _hear_all() -> None:
    """Hear signals that this process was started without: a run leaves ignored ones ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_DFL)


def _run(place: Path) -> None:
    """The command in a forked process, up to where Python would end."""
    from agent.cli import main

    code = 71
    try:
        main()
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 0
    except KeyboardInterrupt:  # before its first line
        code = 130
    with suppress(KeyboardInterrupt):
        (place / "modules.txt").write_text(" ".join(sys.modules), encoding="utf-8")
    os._exit(code)


def wait(process: int, seconds: float, *, give_up: bool = True, stopped: bool = False) -> Any:
    """The exit code, negative for a signal; None, or the process's end, where it takes longer."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(process, os.WNOHANG | (os.WUNTRACED if stopped else 0))
        if found and os.WIFSTOPPED(status):
            return "stopped"
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            break
        time.sleep(0.005)
    if not give_up:
        return None
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return -int(signal.SIGKILL)


def said(place: Path) -> str:
    """The end of what a run wrote."""
    try:
        return (place / "said.txt").read_text(encoding="utf-8", errors="replace")[-1500:]
    except OSError:
        return ""
