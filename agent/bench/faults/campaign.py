"""Starts runs, strikes each at a random moment, and looks at what is left; then resumes it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent.bench import lit
from agent.bench.faults.plans import Struck, config
from agent.bench.faults.strikes import Kind, Victim, prepare, repaired, small_disk
from agent.bench.forked_runs import command, import_all, said, start, wait
from agent.bench.left_on_disk import FolderState, inspect
from agent.record.load import read
from agent.record.summary import summarize

_TIMEOUT_S = 240.0
"""Longest time of a run (s)."""
_DARK_S = 15.0
"""How long a guard is waited for (s)."""
_LOOK_S = 0.01


@dataclass(slots=True)
class Case:
    """A run, what struck it, and what was left.

    Attributes
    ----------
    kind, plan
        What struck what.
    after, and_s
        When: after so many commands that switched light on, and so much later (s).
    status
        Exit code; negative where a signal ended the process.
    lit
        Devices whose last word is light.
    safe
        The ledger says that all was read back as it should be; None where it had no session.
    frames
        That the ledger has.
    lost, twice
        Frames of the ledger that are not on disk pixel for pixel, or that it has more than once.
    ended
        How the last session ended when all was over, by `stedfast show`.
    changed, missing
        Frames that the resumed run has otherwise, or not at all.
    said
        What the processes wrote, where something is wrong.
    """

    kind: str
    plan: str
    after: int
    and_s: float
    status: int = 0
    lit: dict[str, str] = field(default_factory=dict)
    safe: bool | None = None
    frames: int = 0
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    ended: str = ""
    changed: list[int] = field(default_factory=list)
    missing: int = 0
    said: str = ""

    @property
    def whole(self) -> bool:
        """No frame is lost, changed, twice or missing, and the run is complete."""
        wrong = self.lost or self.twice or self.changed or self.missing
        return not wrong and self.ended == "completed"


def campaign(
    kinds: Sequence[Kind], plans: Sequence[Struck], repeats: int, seed: int, folder: Path
) -> Iterator[Case]:
    """Strike runs, one after the other, with each kind in turn.

    Parameters
    ----------
    kinds, plans
        What strikes what; those that need a worker strike plans that have one.
    repeats
        How often each kind strikes.
    seed
        Of the moments.
    folder
        Existing folder for the runs.
    """
    rng = random.Random(seed)
    # By its commands: how long they take depends on what else the computer does.
    lengths = {plan.name: _length(plan, folder / f"undisturbed {plan.name}") for plan in plans}
    for number in range(repeats):
        for at, kind in enumerate(kinds):
            fitting = [plan for plan in plans if plan.has_workers or not kind.workers]
            if not fitting:
                continue
            plan = fitting[(number + at) % len(fitting)]
            lit_times, each_s = lengths[plan.name]
            after, and_s = rng.randint(1, lit_times), rng.uniform(0, each_s)
            case = Case(kind.name, plan.name, after, and_s)
            place = folder / f"{number} {kind.name}"
            _strike(case, kind, plan, place, rng)
            shutil.rmtree(place, ignore_errors=True)
            yield case


def _length(plan: Struck, place: Path) -> tuple[int, float]:
    """How often an undisturbed run switches light on, and the time from one to the next (s)."""
    import_all(place, config(plan, place), seconds=_TIMEOUT_S)
    on = lit.switched_on(place / "devices.log")
    return len(on), (on[-1].at - on[0].at) / len(on)


def _strike(case: Case, kind: Kind, plan: Struck, place: Path, rng: random.Random) -> None:
    with _terminal(kind.terminal) as (mine, its), _disk(kind, place) as run:
        process = start(
            place,
            config(plan, place),
            run=run,
            arguments=plan.arguments,
            terminal=its,
            first=partial(prepare, place),
        )
        victim = Victim(process, place, run, rng, mine)
        log = place / "devices.log"
        goes_on(victim, log, case.after, _TIMEOUT_S)
        until(lambda: False, victim, case.and_s)
        kind.strike(victim)
        case.status = end_of(victim)
        until(lambda: not lit.left_lit(log), victim, _DARK_S)
        case.lit = lit.left_lit(log)
        before = _left(case, kind, victim)
        repaired(victim)
        if before is not None:
            _resume(case, victim, before)
        if case.lit or case.safe is False or not case.whole:
            case.said = said(place)


def _left(case: Case, kind: Kind, victim: Victim) -> FolderState | None:
    """What is on disk; None where the run never began."""
    run = victim.run
    if not (run / "ledger.sqlite").exists() or not (state := inspect(run)).sessions:
        return None
    if case.status == -signal.SIGKILL:  # its guard still writes
        until(lambda: read(run)[1].end is not None, victim, _DARK_S)
        state = inspect(run)
    proof = read(run)[1].safe_state
    case.safe = None if kind.unsaid and proof is None else proof is not None and bool(proof["ok"])
    case.frames, case.lost, case.twice = len(state.frames), state.unreadable, state.twice
    return state


def _resume(case: Case, victim: Victim, before: FolderState) -> None:
    """Continue the run to its end, undisturbed."""
    process = command(victim.place, ["resume", str(victim.run)])
    wait(process, _TIMEOUT_S)
    after, summary = inspect(victim.run), summarize(victim.run)
    case.ended = summary["status"]
    case.lost, case.twice = case.lost + after.unreadable, case.twice + after.twice
    case.changed = [at for at, crc in before.frames.items() if after.frames.get(at) != crc]
    frames = summary["frames"]
    case.missing = frames["planned"] - frames["acquired"] - frames["skipped"]
    case.lit = case.lit or lit.left_lit(victim.place / "devices.log")


def end_of(victim: Victim) -> int:
    """The exit code of a run's process, whose terminal is read meanwhile."""
    status: list[int] = []

    def over() -> bool:
        found = wait(victim.process, 0, give_up=False)
        if found is not None:
            status.append(found)
        return found is not None

    if not until(over, victim, _TIMEOUT_S):
        with suppress(ProcessLookupError):
            os.kill(victim.process, signal.SIGKILL)
        status.append(wait(victim.process, _DARK_S))
    return status[0]


def is_over(process: int) -> bool:
    """Whether a process has ended; its exit code is still to be had."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def goes_on(victim: Victim, log: Path, commands: int, seconds: float) -> bool:
    """Wait until light was switched on so often; False where the run ends, or hangs, before."""

    def enough() -> bool:
        return len(lit.switched_on(log)) >= commands

    until(lambda: enough() or is_over(victim.process), victim, seconds)
    return enough()


def until(happens: Callable[[], bool], victim: Victim, seconds: float) -> bool:
    """Wait for something; whether it happened in time."""
    end = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > end:
            return False
        victim.drain()
        time.sleep(_LOOK_S)
    return True


@contextmanager
def _terminal(needed: bool) -> Iterator[tuple[int | None, int | None]]:
    """Both sides of a terminal, if one is needed."""
    if not needed:
        yield None, None
        return
    mine, its = os.openpty()
    os.set_blocking(mine, False)
    try:
        yield mine, its
    finally:
        os.close(its)
        with suppress(OSError):
            os.close(mine)


@contextmanager
def _disk(kind: Kind, place: Path) -> Iterator[Path]:
    """Folder of a run, on a disk of its own if its fault is one of the disk."""
    disk = place.with_name(f"{place.name} disk")
    with small_disk(disk) if kind.mounts else nullcontext(place) as there:
        yield there / "run"
