"""Signals at random moments, from the first line of `stedfast run` to the last: dark after each.

The devices are lit when they are loaded, stay as they are when they are let go, and write down
every command that reaches them. Most runs are forks of a process that has imported everything, so
that the moments fall into the run and not into Python's start; every tenth one is a process of
its own, whose start and end count, too.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agent.bench import lit
from agent.bench.forked_runs import TIMEOUT_S, finished, import_all, live, said, start, wait
from agent.bench.measurement import Check, Measurement
from agent.config.reading import UserError

_SIGNALS = 200
_QUICK_SIGNALS = 40
_WHOLE = 10
"""One in so many is a process of its own."""
_KINDS = ("INT", "INT ×2", "INT ×10", "TERM", "HUP", "TSTP", "QUIT")
_HEARD_S = 0.15
"""Time (s) until a signal is heard: Python's main thread has its turn by then."""
_EARLY = 0.15
"""Share of the signals that come before any device is loaded."""


@dataclass(slots=True)
class SignalledRun:
    """A run and the signals that it got.

    Attributes
    ----------
    kind, early, after_s, whole
        Which signals; how long after the start, or else after the first device was loaded, the
        first one came; and whether the process was one of its own.
    status
        Exit code; negative where a signal ended the process.
    loaded
        A device had been loaded when the first signal came.
    lit
        Devices whose last word is light, and that word.
    lit_asleep
        The same while the process stood still after Ctrl-Z.
    late
        Commands that switched light on, or moved, after the first signal.
    said
        The end of what the process wrote, where something is wrong.
    """

    kind: str
    early: bool
    after_s: float
    whole: bool
    status: int = 0
    loaded: bool = False
    lit: dict[str, str] | None = None
    lit_asleep: dict[str, str] | None = None
    late: list[str] | None = None
    said: str = ""

    @property
    def as_documented(self) -> bool:
        """Whether the exit code is one that the signal may lead to."""
        if self.kind == "TSTP":
            return self.status == 0
        # Before the command's first line, and after its last, Python's own rules hold.
        return self.status in (0, 130) or (self.status < 0 and not self.loaded)

    @property
    def good(self) -> bool:
        """Dark, no light after the signal, and an exit code as documented."""
        return not (self.lit or self.lit_asleep or self.late) and self.as_documented


def storm(signals: int, seed: int, folder: Path) -> list[SignalledRun]:
    """Start runs, one after the other, and send each its signals.

    Parameters
    ----------
    signals
        How many runs.
    seed
        Of the moments.
    folder
        Existing folder for the runs.
    """
    rng = random.Random(seed)
    import_all(folder / "imports")
    starts, lasts = _lasts(folder / "undisturbed")
    cases = []
    for number in range(signals):
        whole = number % _WHOLE == _WHOLE - 1
        early = rng.random() < _EARLY
        after = rng.uniform(0, starts if early else lasts)
        case = SignalledRun(_KINDS[number % len(_KINDS)], early, after, whole)
        _strike(case, folder / f"{number}", rng)
        cases.append(case)
    return cases


def _lasts(place: Path) -> tuple[float, float]:
    """Seconds that an undisturbed run takes to its first device, and from there on."""
    began = time.monotonic()
    finished(start(place, live(place)), place)
    first = lit.commands(place / "devices.log")[0].at
    return first - began, time.monotonic() - first


def _strike(case: SignalledRun, place: Path, rng: random.Random) -> None:
    process = start(place, live(place), whole=case.whole)
    name, _, times = case.kind.partition(" ×")
    number = getattr(signal, f"SIG{name}")
    log = place / "devices.log"
    end = time.monotonic() + TIMEOUT_S
    while not case.early and not log.exists() and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(case.after_s)
    case.loaded = log.exists()
    sent = time.monotonic()
    status = None
    for _ in range(int(times or 1)):
        os.kill(process, number)
        if status is None and int(times or 1) > 1:
            status = wait(process, rng.uniform(0.01, 0.5), give_up=False)
        if status is not None:
            break
    if case.kind == "TSTP":
        status = wait(process, TIMEOUT_S, stopped=True)
        if status == "stopped":
            case.lit_asleep = lit.left_lit(log)
            os.kill(process, signal.SIGCONT)
            status = None
    if status is None:
        status = wait(process, TIMEOUT_S)
    case.status = int(status)
    case.lit = lit.left_lit(log)
    if case.kind != "TSTP":
        late = lit.switched_on(log, sent + _HEARD_S)
        case.late = [f"{each.device} {each.value} {each.at - sent:.2f} s later" for each in late]
    if not case.good:
        case.said = said(place)
    shutil.rmtree(place, ignore_errors=True)


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """200 runs; quick: 40; `seeds`: that many.

    Raises
    ------
    UserError
        There are no such signals here.
    """
    if not hasattr(os, "fork"):
        raise UserError("bench storm: sends POSIX signals, which this system does not have")
    signals = seeds or (_QUICK_SIGNALS if quick else _SIGNALS)
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        cases = storm(signals, 1, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)

    def count(what: Callable[[SignalledRun], Any]) -> int:
        return sum(bool(what(case)) for case in cases)

    late, wrong = count(lambda case: case.late), count(lambda case: not case.as_documented)
    rows = []
    for kind in _KINDS:
        these = [case for case in cases if case.kind == kind]
        codes = sorted({case.status for case in these})
        rows.append(
            (
                kind,
                len(these),
                sum(case.loaded for case in these),
                sum(case.good for case in these),
                ", ".join(map(str, codes)),
            )
        )
    return Measurement(
        columns=("signal", "runs", "devices loaded", "dark, as documented", "exit codes"),
        rows=rows,
        checks=[
            Check("runs", len(cases), ">=", signals),
            Check("left lit at the end", count(lambda case: case.lit), "<=", 0, "runs"),
            Check("lit while it stood still", count(lambda case: case.lit_asleep), "<=", 0, "runs"),
            Check("light or motion after a signal", late, "<=", 0, "runs"),
            Check("exit code not as documented", wrong, "<=", 0, "runs"),
        ],
        raw={"cases": [asdict(case) for case in cases]},
        seeds=[1],
    )
