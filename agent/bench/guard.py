"""SIGKILL at random moments of a lit run: its guard makes the microscope dark, and says so.

The devices stay lit when they are let go of, and write down every command, with the time. From that
and from the moment of the kill it is known how long the sample was lit by nobody.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from agent.bench import lit
from agent.bench.forked_runs import TIMEOUT_S, finished, import_all, live, said, start, wait
from agent.bench.left_on_disk import inspect
from agent.bench.measurement import Check, Measurement
from agent.config.reading import UserError
from agent.record.load import read

_KILLS = 60
_QUICK_KILLS = 12
_DARK_S = 5.0
"""How long after its death a run may be lit (s)."""
_AGAIN_S = 0.01
_FRAMES = 40


@dataclass(slots=True)
class KilledRun:
    """A run and its kill.

    Attributes
    ----------
    after_s
        When it was killed, after its first light (s).
    alive
        It still worked then.
    lit
        Devices that were lit at its death.
    dark_s
        How long after its death all were dark (s), by their own log; None where one never was.
    frames, lost
        Frames that its ledger has, and those of them that are not on disk, pixel for pixel.
    recorded
        Its ledger says that it is safe, and how it ended; None where it had no session yet.
    said
        What was written by the process and its guard, where something is wrong.
    """

    after_s: float
    alive: bool = False
    lit: list[str] = field(default_factory=list)
    dark_s: float | None = None
    frames: int = 0
    lost: int = 0
    recorded: bool | None = None
    said: str = ""


def kills(repeats: int, seed: int, folder: Path) -> list[KilledRun]:
    """Start runs, one after the other, and kill each.

    Parameters
    ----------
    repeats
        How many.
    seed
        Of the moments.
    folder
        Existing folder for the runs.
    """
    rng = random.Random(seed)
    import_all(folder / "imports")
    place = folder / "undisturbed"
    finished(start(place, live(place, guard=True, frames=_FRAMES, interval_s=0)), place)
    log = place / "devices.log"
    lasts = lit.commands(log)[-1].at - lit.switched_on(log)[0].at
    cases = []
    for number in range(repeats):
        case = KilledRun(rng.uniform(0, lasts))
        _kill(case, folder / f"{number}")
        cases.append(case)
    return cases


def _kill(case: KilledRun, place: Path) -> None:
    process = start(place, live(place, guard=True, frames=_FRAMES, interval_s=0))
    log, run = place / "devices.log", place / "run"
    end = time.monotonic() + TIMEOUT_S
    while not lit.switched_on(log) and time.monotonic() < end:
        time.sleep(0.002)
    time.sleep(case.after_s)
    with suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)
    died = time.monotonic()
    case.alive = wait(process, TIMEOUT_S) == -signal.SIGKILL
    case.lit = sorted(lit.left_lit(log))
    while lit.left_lit(log) and time.monotonic() < end:
        time.sleep(_AGAIN_S)
    if not lit.left_lit(log):
        off = [each.at for each in lit.commands(log) if each.value in ("0", "closed")]
        case.dark_s = max(0.0, max(off) - died) if case.lit else 0.0
    state = inspect(run) if (run / "ledger.sqlite").exists() else None
    if state is not None and state.sessions:
        while case.alive and read(run)[1].end is None and time.monotonic() < end:
            time.sleep(_AGAIN_S)
        recording = read(run)[1]
        case.frames, case.lost = len(state.frames), len(state.unreadable)
        safe = recording.safe_state
        case.recorded = recording.end is not None and safe is not None and bool(safe["ok"])
    if case.dark_s is None or case.lost or case.recorded is False:
        case.said = said(place)
    shutil.rmtree(place, ignore_errors=True)


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """60 kills; quick: 12; `seeds`: that many.

    Raises
    ------
    UserError
        There is no SIGKILL here.
    """
    if not hasattr(os, "fork"):
        raise UserError("bench guard: sends POSIX signals, which this system does not have")
    repeats = seeds or (_QUICK_KILLS if quick else _KILLS)
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        cases = kills(repeats, 1, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    killed = [case for case in cases if case.alive]
    lit_then = [case for case in killed if case.lit]
    dark = [case.dark_s for case in lit_then if case.dark_s is not None]
    never = sum(case.dark_s is None for case in killed)
    silent = sum(case.recorded is False for case in killed)
    return Measurement(
        columns=("", ""),
        rows=[
            ("runs killed while they worked", len(killed)),
            ("lit at that moment", len(lit_then)),
            ("dark after, median", f"{median(dark):.2f} s" if dark else ""),
            ("dark after, longest", f"{max(dark):.2f} s" if dark else ""),
            ("frames in their ledgers", sum(case.frames for case in killed)),
        ],
        checks=[
            Check("killed while it was lit", len(lit_then), ">=", max(1, repeats // 4), "runs"),
            Check("never dark", never, "<=", 0, "runs"),
            Check("dark after its death, longest", max(dark, default=99.0), "<=", _DARK_S, "s"),
            Check("frames lost", sum(case.lost for case in killed), "<=", 0, "frames"),
            Check("ledgers without the safe state and the end", silent, "<=", 0, "runs"),
        ],
        raw={"cases": [asdict(case) for case in cases]},
        seeds=[1],
    )
