"""A process beside a run that makes the microscope dark if the run's own process dies.

A process that is killed, that crashes or that hangs as a whole switches no laser off. The guard is
started before any device is opened, in a session of its own, so that no signal of the terminal
reaches it. While the run works it touches no device. It hears of the run's end through a pipe: by
a word, or because the system closes the pipe with the process. See `agent.run.guard_process` for
what it does then.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from agent.config import RunConfig
from agent.config.notify import NotifyConfig
from agent.run.guard_process import BEAT, OVER, READY, REST, RUN, Charge
from agent.run.signals import Interrupts
from devices.config import MicroscopeConfig
from devices.errors import DeviceFault
from devices.opening import hanging

_BEAT_S = 1.0
"""Time between two signs of life (s)."""
_READY_S = 60.0
"""How long it may take to come up, on a busy machine (s)."""
_LET_GO_S = 5.0
"""How long it has to end, once the run is over (s)."""
_RESTARTS = 3
"""How often one that died is replaced."""


def needed(config: MicroscopeConfig) -> bool:
    """Whether light may stay on when this process dies: simulated devices end with it."""
    outside = (config.cfg not in (None, "demo")) or config.python_devices or config.imspector
    return bool(config.guard and config.light and outside)


class Guard:
    """The guard of one microscope; use `guarded`.

    Parameters
    ----------
    config
        The `microscope` section.
    base
        Folder that relative paths in it start from.
    notify
        Who is told; none if absent.
    hung_s
        Time without a sign of life after which this process is taken to hang (s), and killed; the
        guard's own if absent.
    """

    def __init__(
        self,
        config: MicroscopeConfig,
        base: Path,
        *,
        notify: NotifyConfig | None = None,
        hung_s: float | None = None,
    ) -> None:
        charge = Charge(config, base.resolve(), os.getpid(), _path(), notify)
        if hung_s is not None:
            charge.hung_s = hung_s
        self._charge = pickle.dumps(charge)
        self._run: Path | None = None
        self._left = _RESTARTS
        self._over = threading.Event()
        self._up = False
        self._writing = threading.Lock()
        self._process = self._start()
        self._beats = threading.Thread(target=self._beat, name="guard", daemon=True)
        self._beats.start()

    @property
    def pid(self) -> int:
        """Number of its process."""
        return self._process.pid

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            # Nothing is imported from the folder that the command was typed in, as for the command.
            [sys.executable, "-P", "-m", "agent.run.guard_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(_path())},
            # The terminal's signals reach the run alone; each is for one family of systems.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        assert process.stdin is not None
        with suppress(OSError):  # it is gone, which `ready` tells
            process.stdin.write(self._charge)
            process.stdin.flush()
        if os.name == "posix":  # nobody waits for a guard that reads no more
            os.set_blocking(process.stdin.fileno(), False)
        return process

    def ready(self) -> None:
        """Wait until it could make the microscope dark.

        Raises
        ------
        DeviceFault
            It does not come up.
        """
        process, said = self._process, threading.Event()

        def listen() -> None:
            assert process.stdout is not None
            if process.stdout.readline().rstrip() == READY:
                said.set()

        listener = threading.Thread(target=listen, name="guard-ready", daemon=True)
        listener.start()
        listener.join(_READY_S)
        if not said.is_set():
            raise DeviceFault(
                "the process that makes the microscope dark if this one dies did not come up; "
                "`microscope.guard: false` does without it"
            )
        self._up = True

    def watch(self, run: Path) -> None:
        """Say in which run's ledger the end of this process is to be written."""
        self._run = run.resolve()
        self._say(RUN + os.fsencode(self._run))

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Let this process stand still, in the dark: meanwhile silence is no sign of death."""
        with self._writing:  # a sign of life behind that word would take it back
            self._put(REST)
            yield

    def check(self) -> str | None:
        """Replace the guard if its process died; returns that in words, once each time."""
        if self._over.is_set() or (code := self._process.poll()) is None:
            return None
        what = f"the guard's process ended ({code})"
        if self._left == 0:
            self._over.set()
            return f"{what}, as others before; if this process dies now, light may stay on"
        self._left -= 1
        with self._writing:
            self._process = self._start()
        self._up = False
        if self._run is not None:
            self.watch(self._run)
        return f"{what}; there is another one"

    def end(self) -> None:
        """The microscope is dark and let go of: the guard's process ends, the first time."""
        self._over.set()
        self._beats.join()
        self._say(OVER)
        process = self._process
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        if not self._up:  # it still loads; nobody is to wait for that
            process.kill()
        try:
            process.wait(_LET_GO_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _beat(self) -> None:
        while not self._over.wait(_BEAT_S):
            self._say(BEAT)

    def _say(self, word: bytes) -> None:
        with self._writing:
            self._put(word)

    def _put(self, word: bytes) -> None:
        with suppress(OSError, ValueError):  # it is gone: see `check`
            assert self._process.stdin is not None
            self._process.stdin.write(word + b"\n")
            self._process.stdin.flush()


@contextmanager
def guarded(config: RunConfig, source: Path, seen: Interrupts) -> Iterator[Guard | None]:
    """Have a guard for a config's microscope, if its light can outlast this process.

    Parameters
    ----------
    config, source
        What to do, and the file that says so.
    seen
        Signals so far; Ctrl-Z is announced to the guard.
    """
    if not needed(config.microscope):
        yield None
        return
    guard = Guard(config.microscope, source.parent, notify=config.notify)
    seen.resting = guard.resting
    try:
        yield guard
    finally:
        seen.resting = None
        # A device that hangs may be lit: it can be reached again when this process is gone.
        if not hanging():
            guard.end()


def _path() -> list[str]:
    """Where this process looks for modules, wherever another one is started."""
    return [place or str(Path.cwd()) for place in sys.path]
