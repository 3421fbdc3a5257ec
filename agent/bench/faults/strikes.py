"""What strikes a run: signals, and what happens to its disk, workers, devices and clocks.

Each fault is real where a process can do that to another one: signals, limits of memory, full and
read-only file systems (these need the rights to mount). The clocks are those that the run's process
reads: no bench sets the computer's.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HUNG_S = 3.0
"""Time without a sign of life after which the guard ends a process here (s), and not 20."""
_DISK_MB = 48
_LITTLE = 1 << 20
"""Memory that a worker is left with (bytes): less than it has."""


@dataclass(slots=True)
class Victim:
    """A run that is struck.

    Attributes
    ----------
    process, place, run
        Its process, the folder of its log and faults, and its own folder.
    terminal
        This side of its terminal; None where it has none.
    """

    process: int
    place: Path
    run: Path
    rng: random.Random
    terminal: int | None = None

    def signal(self, name: str, times: int = 1) -> None:
        """Send it a signal, once or in a row."""
        for _ in range(times):
            with suppress(ProcessLookupError):
                os.kill(self.process, getattr(signal, name))
            if times > 1:
                time.sleep(self.rng.uniform(0.01, 0.3))

    def drain(self) -> None:
        """Read what it wrote to its terminal, which it would wait for otherwise."""
        if self.terminal is not None:
            with suppress(OSError):
                while os.read(self.terminal, 1 << 16):
                    pass

    def workers(self) -> list[int]:
        """Processes of its networks that live."""
        try:
            found = map(int, (self.place / "workers.txt").read_text(encoding="utf-8").split())
        except OSError:
            return []
        return [pid for pid in found if Path(f"/proc/{pid}").exists()]

    def fail(self, how: str) -> None:
        """Have its devices fail."""
        (self.place / "fault").write_text(how, encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault.

    Attributes
    ----------
    name
        In words.
    strike
        Does it.
    workers
        It is one of the processes of networks.
    mounts
        The run is on a file system of its own.
    terminal
        The run has a terminal.
    unsaid
        The ledger may not be able to take the safe state: the devices' log has it.
    """

    name: str
    strike: Callable[[Victim], None]
    workers: bool = False
    mounts: bool = False
    terminal: bool = False
    unsaid: bool = False


def _signalled(name: str, times: int = 1) -> Callable[[Victim], None]:
    return lambda victim: victim.signal(name, times)


def _failed(how: str) -> Callable[[Victim], None]:
    return lambda victim: victim.fail(how)


def _kill_worker(victim: Victim) -> None:
    if found := victim.workers():
        with suppress(ProcessLookupError):
            os.kill(victim.rng.choice(found), signal.SIGKILL)


def _starve_worker(victim: Victim) -> None:
    import resource

    if found := victim.workers():
        with suppress(ProcessLookupError):
            resource.prlimit(
                victim.rng.choice(found), resource.RLIMIT_AS, (_LITTLE, resource.RLIM_INFINITY)
            )


def _fill(victim: Victim) -> None:
    block = bytes(1 << 16)
    with suppress(OSError), (victim.run.parent / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(block)


def _write_protect(victim: Victim) -> None:
    # What is opened from here on is read-only; what is open stays so, as after a remount.
    _mount(str(victim.run), victim.run, "none", _BIND)
    _mount("none", victim.run, "none", _BIND | _REMOUNT | _READ_ONLY)


def _lose_terminal(victim: Victim) -> None:
    assert victim.terminal is not None
    os.close(victim.terminal)
    victim.terminal = None


def _jump(victim: Victim) -> None:
    by_s = victim.rng.choice([-86400.0, -3600.0, 3600.0, 40.0 * 86400])
    slept_s = victim.rng.choice([0.0, 30.0])
    (victim.place / "clocks").write_text(f"{by_s} {slept_s}", encoding="utf-8")


KINDS = (
    Kind("SIGKILL", _signalled("SIGKILL")),
    Kind("SIGTERM", _signalled("SIGTERM")),
    Kind("SIGINT", _signalled("SIGINT")),
    Kind("SIGINT ×2", _signalled("SIGINT", 2)),
    Kind("SIGINT ×10", _signalled("SIGINT", 10)),
    Kind("SIGSTOP", _signalled("SIGSTOP")),
    Kind("out of memory", _starve_worker, workers=True),
    Kind("dead worker", _kill_worker, workers=True),
    Kind("full disk", _fill, mounts=True, unsaid=True),
    Kind("read-only disk", _write_protect, mounts=True, unsaid=True),
    Kind("hung device", _failed("hung")),
    Kind("dead device", _failed("dead")),
    Kind("lying device", _failed("lying")),
    Kind("lost terminal", _lose_terminal, terminal=True),
    Kind("clock jump", _jump),
)
"""All of them."""


# ---------------------------------------------------------------------- within the run's process


def prepare(place: Path) -> None:
    """Prepare a fork for its fault, before it is a run.

    Parameters
    ----------
    place
        Folder of its log and faults.
    """
    from agent.run import clock, supervisor, time_watch
    from agent.run.guard import Guard
    from agent.workers.process import WorkerProcess

    _wait_no_longer(Guard)
    begin = WorkerProcess.__init__

    def counted(worker: WorkerProcess, *args: Any, **options: Any) -> None:
        begin(worker, *args, **options)
        with (place / "workers.txt").open("a", encoding="utf-8") as file:
            file.write(f"{worker.pid}\n")

    setattr(WorkerProcess, "__init__", counted)  # noqa: B010  # what mypy does not let pass
    set_s = _Set(place / "clocks")

    def clocks() -> time_watch.Clocks:
        true = time_watch.read_clocks()
        by_s, slept_s = set_s()
        return true._replace(elapsed=true.elapsed + slept_s, wall=true.wall + by_s + slept_s)

    watch = time_watch.TimeWatch
    vars(supervisor)["TimeWatch"] = lambda: watch(clocks)
    defaults: Any = clock.Clock.__init__.__kwdefaults__
    defaults["now"] = lambda: clock.elapsed_s() + set_s()[1]


def _wait_no_longer(guard: Any) -> None:
    guard.__init__.__kwdefaults__["hung_s"] = _HUNG_S


class _Set:
    """By how much the clocks are off (s): the wall's, and what the computer slept."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self) -> tuple[float, float]:
        try:
            by_s, slept_s = self._file.read_text(encoding="utf-8").split()
        except (OSError, ValueError):
            return 0.0, 0.0
        return float(by_s), float(slept_s)


# ---------------------------------------------------------------------- file systems

_READ_ONLY, _REMOUNT, _BIND, _DETACH = 1, 32, 4096, 2  # of Linux' mount and umount2


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = (source.encode(), str(target).encode(), kind.encode())
    if libc.mount(*words, ctypes.c_ulong(flags), options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _unmount(target: Path) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.umount2(str(target).encode(), _DETACH) == 0)


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """A file system of 48 MB, in a folder that is made for it.

    Raises
    ------
    OSError
        This user may not mount one.
    """
    place.mkdir()
    _mount("tmpfs", place, "tmpfs", 0, f"size={_DISK_MB}m")
    try:
        yield place
    finally:
        _unmount(place)
        with suppress(OSError):
            place.rmdir()


def may_mount(folder: Path) -> bool:
    """Whether this user may mount a file system."""
    if sys.platform != "linux":
        return False
    try:
        with small_disk(folder / "tried"):
            return True
    except (OSError, AttributeError):
        return False


def repaired(victim: Victim) -> None:
    """Take the cause away: a run can be resumed."""
    for name in ("fault", "clocks"):
        (victim.place / name).unlink(missing_ok=True)
    while _unmount(victim.run) if sys.platform == "linux" else False:
        pass
    (victim.run.parent / "filler").unlink(missing_ok=True)
