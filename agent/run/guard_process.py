"""The guard's own process: it waits for the end of a run's process, and then makes it dark.

Where that process ended without a word, or gives no sign of life for long (it is killed then), the
guard opens the microscope, which makes each device safe as soon as it is loaded, reads it back,
and writes that into the run's ledger. If another command has opened the microscope before it, that
one has made it dark.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from agent.config.notify import NotifyConfig
from agent.record.anchor import Anchor
from devices.config import MicroscopeConfig
from devices.safety import SafeState

READY, BEAT, REST, OVER, RUN = b"ready", b"beat", b"rest", b"over", b"run "
"""Words: it is up; this process lives; it stands still on purpose; all is over; a run's folder."""
_TICK_S = 0.25
"""Longest wait for a word before time without one is counted (s)."""
_TRIES_S = 60.0
"""How long opening the microscope is tried again: a port may stay taken for a moment (s)."""
_AGAIN_S = 0.2
"""Time between two tries (s)."""
_SAY_S = 2.0
"""How long a terminal has to take what is said (s)."""
_LOCKED_S = 10.0
"""How long a command that was refused because of the guard may still have the run (s)."""
_DEATH_S = 10.0
"""How long a killed process may take to be gone (s)."""


@dataclass
class Charge:
    """What a guard is told at its start.

    Parameters
    ----------
    config, base
        The `microscope` section, and the folder that relative paths in it start from.
    pid
        The run's process.
    path
        Where Python looks for modules there.
    notify
        Who is told of what it did.
    hung_s
        Time without a sign of life after which that process hangs (s). Loading a large library
        from a slow disk holds all of Python up for seconds.
    """

    config: MicroscopeConfig
    base: Path
    pid: int
    path: list[str] = field(default_factory=list)
    notify: NotifyConfig | None = None
    hung_s: float = 20.0


class Watched:
    """What is known of a process, from its words.

    Parameters
    ----------
    hung_s
        Time without a word after which it hangs (s).

    Examples
    --------
    >>> watched = Watched(hung_s=0.5)
    >>> watched.hear(None), watched.hear(None), watched.hear(None)
    ('', '', 'hung')
    """

    def __init__(self, hung_s: float) -> None:
        self.run: Path | None = None
        """Folder of its run, once there is one."""
        self._hung_s = hung_s
        self._silent_s = 0.0
        self._rests = False

    def hear(self, word: bytes | None) -> str:
        """Take a word in; None: none came for `_TICK_S`, an empty one: the pipe was closed.

        Only time that was waited through is counted, so that a machine which sleeps is no death.

        Returns
        -------
        str
            `over`, `died`, `hung`, or nothing where it lives.
        """
        if word is None:
            self._silent_s += 0.0 if self._rests else _TICK_S
            return "hung" if self._silent_s > self._hung_s else ""
        if word == b"":
            return "died"
        self._silent_s, self._rests = 0.0, word == REST
        if word.startswith(RUN):
            self.run = Path(os.fsdecode(word.removeprefix(RUN)))
        return "over" if word == OVER else ""


def main() -> None:
    """Wait, and act where it has to."""
    for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGTSTP"):
        if (number := getattr(signal, name, None)) is not None:
            signal.signal(number, signal.SIG_IGN)
    source = sys.stdin.buffer
    try:
        charge: Charge = pickle.load(source)
    except EOFError:  # it died before it could say what to guard: nothing was opened
        return
    # What takes long is loaded now, while nothing is lit; `darken` uses it.
    for name in ("pymmcore_plus.experimental.unicore", "devices.opening"):
        import_module(name)

    with suppress(OSError):
        sys.stdout.buffer.write(READY + b"\n")
        sys.stdout.buffer.flush()
    say = _alone()
    watched = Watched(charge.hung_s)
    anchor: Anchor | None = None
    words = _words(source)
    while not (end := watched.hear(_next(words))):
        if watched.run is not None and anchor is None:
            with suppress(OSError):
                anchor = Anchor(watched.run)
    if end == "over":
        return
    began = time.monotonic()
    what = (
        f"the run's process ({charge.pid}) ended with the microscope open: killed or crashed, or "
        "left by a device that hangs"
    )
    if end == "hung":
        what = f"the run's process ({charge.pid}) gave no sign of life for {charge.hung_s:g} s"
        _kill(charge.pid)
        _wait_for(lambda: watched.hear(_next(words)) == "died", _DEATH_S)
    safe, why = darken(charge, what)
    after_s = time.monotonic() - began
    told = f"{what}; {_in_words(safe, why)}, {after_s:.1f} s later"
    say(f"stedfast: {told}\n")
    # Whatever keeps one from being told keeps no other from it.
    if watched.run is not None:
        with suppress(Exception):
            record(anchor.place() if anchor else watched.run, safe, told)
    if charge.notify is not None and "end" in charge.notify.about:
        from agent.workers.notify import targets

        with suppress(Exception):
            title = watched.run.name if watched.run else "stedfast"
            targets(charge.notify)(f"{title}: failed", told)


def _alone() -> Callable[[str], None]:
    """Part with the output that is shared with the run; returns what still writes to it.

    Its reader may be gone or stand still, and a device that prints must not fail or wait for that.
    """
    said = None
    with suppress(OSError):
        said = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)

    def write(text: str) -> None:
        with suppress(OSError):
            if said is not None:
                os.write(said, text.encode())

    def say(text: str) -> None:
        worker = threading.Thread(target=write, args=(text,), name="say", daemon=True)
        worker.start()
        worker.join(_SAY_S)

    return say


def _in_words(safe: SafeState | None, why: str) -> str:
    if safe is None:
        return f"THE MICROSCOPE MAY NOT BE SAFE: {why}" if why else "another command has it, dark"
    if not safe.ok:
        return f"THE MICROSCOPE MAY NOT BE SAFE: {safe.wrong}"
    return "the microscope was made dark and read back"


def darken(charge: Charge, reason: str) -> tuple[SafeState | None, str]:
    """Open the microscope, which makes it safe, and let go of it.

    Returns
    -------
    SafeState | None
        The proof; None where it could not be opened, or where another command has it.
    str
        Why it could not be opened; empty where another command has it.
    """
    from devices.occupied import Occupied
    from devices.opening import open_core

    sys.path[:] = charge.path
    began, why = time.monotonic(), ""
    while True:
        try:
            with open_core(charge.config, base=charge.base) as held:
                return held.close(reason), ""
        except Occupied:
            why = ""
        except Exception as error:  # of any driver
            why = "; ".join([str(error), *getattr(error, "__notes__", ())])
        if time.monotonic() - began > _TRIES_S:
            return None, why
        time.sleep(_AGAIN_S)


def record(run: Path, safe: SafeState | None, what: str) -> None:
    """Write into a run's ledger how its session ended.

    Not where another session continues it already, and not where its folder is gone.
    """
    from agent.record.folder import RunBusy, lock, write_status
    from agent.record.journal import Journal
    from agent.record.ledger import Ledger
    from agent.record.load import read

    if not run.is_dir():
        return  # to lock it would make it
    try:
        taken = lock(run, _LOCKED_S)
    except RunBusy:
        return
    try:
        config, recording = read(run)
        if recording.end is not None or not recording.sessions:
            return
        with closing(Journal(Ledger(run))) as journal:
            if safe is not None:
                journal.add("safe_state", safe.as_dict())
            journal.fault(what, "stop", part="guard")
            journal.add("end", {"status": "failed", "reason": what})
        write_status(
            run,
            {
                "run": run.name,
                "status": "failed",
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "plan": config.plan,
                "frames": len(recording.shots()),
                "planned": recording.sessions[-1].get("planned"),
                "doing": what,
            },
        )
    finally:
        taken.release()


def _words(source: BinaryIO) -> queue.Queue[bytes]:
    """Lines from a pipe, the last one empty."""
    words: queue.Queue[bytes] = queue.Queue()

    def listen() -> None:
        with suppress(OSError):
            for line in source:
                words.put(line.rstrip(b"\n") or REST)
        words.put(b"")

    threading.Thread(target=listen, name="words", daemon=True).start()
    return words


def _next(words: queue.Queue[bytes]) -> bytes | None:
    try:
        return words.get(timeout=_TICK_S)
    except queue.Empty:
        return None


def _kill(pid: int) -> None:
    with suppress(OSError):
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        pass


if __name__ == "__main__":
    main()
    # A thread still waits for words, and Python ends with an error if it clears up around it.
    sys.stderr.flush()
    os._exit(0)
