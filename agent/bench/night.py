"""A night: eight simulated hours of an adaptive time-lapse, struck again and again, and resumed.

Somebody is told of each session that ends, once, and an address where nobody listens changes
nothing. Hours are simulated as in any simulated sample: the clock is set instead of waited for.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agent.bench import lit
from agent.bench.faults.campaign import end_of, goes_on, is_over, until
from agent.bench.faults.plans import NIGHT, config
from agent.bench.faults.strikes import KINDS, Kind, Victim, prepare, repaired
from agent.bench.forked_runs import command, import_all, start
from agent.bench.left_on_disk import inspect
from agent.bench.measurement import Check, Measurement
from agent.bench.sink import Sink, sink
from agent.config.reading import UserError
from agent.record.ledger import Ledger
from agent.record.summary import summarize
from devices.extras import install

_FAULTS = 20
_QUICK_FAULTS = 4
_SEED = 1
_HOURS = 8.0
_TIMEOUT_S = 240.0
_COMMANDS = 4, 9
"""Commands of light from one fault to the next: three as devices come up, and three a frame."""
_DEAF = "json://127.0.0.1:9"
"""An address where nobody listens."""


@dataclass(slots=True)
class Night:
    """What came of it.

    Attributes
    ----------
    struck
        Kinds of the faults, in order.
    lit
        Devices that were lit when a session was over, by the fault before.
    ends
        How the sessions ended, by the ledger, in order.
    told
        How they ended, by the messages.
    """

    struck: list[str] = field(default_factory=list)
    lit: dict[str, dict[str, str]] = field(default_factory=dict)
    ends: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    hours: float = 0.0
    lost: int = 0
    twice: int = 0
    summary: dict[str, Any] = field(default_factory=dict)


def night(faults: int, seed: int, folder: Path) -> Night:
    """Let a run work through a night, with so many faults.

    Parameters
    ----------
    faults
        How many.
    seed
        Of what strikes when.
    folder
        Existing folder for the run.
    """
    rng, found = random.Random(seed), Night()
    kinds = [kind for kind in KINDS if not (kind.mounts or kind.terminal)]
    left = [kinds[at % len(kinds)] for at in range(faults)]
    rng.shuffle(left)
    with sink() as got:
        import_all(
            folder / "undisturbed", _config(folder / "undisturbed", got, 4), seconds=_TIMEOUT_S
        )
        got.messages.clear()
        place = folder / "night"
        data = _config(place, got, NIGHT.parts["timelapse"]["frames"])
        process = start(place, data, arguments=("--view",), first=partial(prepare, place))
        run = place / "run"
        while not _struck(Victim(process, place, run, rng), left, found):
            resume = ["resume", str(run), "--view"]
            process = command(place, resume, first=partial(prepare, place))
        # A guard's message may come behind the end of its run.
        end = Victim(process, place, run, rng)
        until(lambda: len(got.messages) >= len(_ends(run)), end, _TIMEOUT_S)
        found.told = [title.removeprefix("run: ") for title, _ in got.messages]
    found.ends, state = _ends(run), inspect(run)
    found.lost, found.twice = len(state.unreadable), len(state.twice)
    found.summary = summarize(run)
    found.hours = _hours(run)
    return found


def _config(place: Path, got: Sink, frames: int) -> dict[str, Any]:
    data = config(NIGHT, place)
    data["timelapse"] = {**data["timelapse"], "frames": frames}
    return data | {"notify": {"to": [got.address, _DEAF], "about": ["end"]}}


def _struck(victim: Victim, left: list[Kind], found: Night) -> bool:
    """Strike a session until it is over; whether the run is complete."""
    log = victim.place / "devices.log"
    while left and not is_over(victim.process):
        before, wanted = len(lit.switched_on(log)), victim.rng.randint(*_COMMANDS)
        if not goes_on(victim, log, before + wanted, _TIMEOUT_S):
            break
        kind = left.pop()
        found.struck.append(kind.name)
        at = len(lit.switched_on(log))
        kind.strike(victim)
        if not goes_on(victim, log, at + 2, _TIMEOUT_S):
            break
        repaired(victim)
    end_of(victim)
    until(lambda: not lit.left_lit(log), victim, _TIMEOUT_S)
    if still := lit.left_lit(log):
        found.lit[found.struck[-1] if found.struck else ""] = still
    until(lambda: len(_ends(victim.run)) >= _sessions(victim.run), victim, _TIMEOUT_S)
    repaired(victim)
    return _ends(victim.run)[-1:] == ["completed"]


def _entries(run: Path, kind: Any) -> list[dict[str, Any]]:
    ledger = Ledger(run, readonly=True)
    try:
        return [entry.data for entry in ledger.entries(kind)]
    finally:
        ledger.close()


def _ends(run: Path) -> list[str]:
    return [data["status"] for data in _entries(run, "end")]


def _sessions(run: Path) -> int:
    return len(_entries(run, "run"))


def _hours(run: Path) -> float:
    """How long the run was, on its own clock (h)."""
    times = [float(data["time_s"]) for data in _entries(run, "frame")]
    return (max(times) - min(times)) / 3600


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """20 faults; quick: 4; `seeds`: that many.

    Raises
    ------
    UserError
        There are no POSIX signals here, or what sends messages is missing.
    """
    if not hasattr(os, "fork"):
        raise UserError("bench night: sends POSIX signals, which this system does not have")
    if find_spec("apprise") is None:
        raise UserError(f"bench night: sends messages: {install('notify')}")
    faults = seeds or (_QUICK_FAULTS if quick else _FAULTS)
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        found = night(faults, _SEED, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    frames, filtered = found.summary["frames"], found.summary["filtered"]
    missed = sum((Counter(found.ends) - Counter(found.told)).values())
    more = sum((Counter(found.told) - Counter(found.ends)).values())
    return Measurement(
        columns=("", ""),
        rows=[
            ("simulated hours", f"{found.hours:.2f}"),
            ("faults", ", ".join(found.struck)),
            ("sessions", f"{len(found.ends)}: {', '.join(found.ends)}"),
            ("frames taken", frames["acquired"]),
            ("skipped and rebuilt", f"{frames['skipped']}, {frames['reconstructed']}"),
            ("filtered", filtered["frames"] if filtered else 0),
        ],
        checks=[
            Check("faults", len(found.struck), ">=", faults),
            Check("simulated time", found.hours, ">=", _HOURS, "h"),
            Check("completed", found.ends[-1:] == ["completed"], ">=", 1),
            Check("left lit at the end of a session", len(found.lit), "<=", 0, "sessions"),
            Check("frames lost", found.lost, "<=", 0, "frames"),
            Check("frames twice", found.twice, "<=", 0, "frames"),
            Check("outcomes that nobody was told of", missed, "<=", 0),
            Check("messages too many", more, "<=", 0),
        ],
        raw={"struck": found.struck, "ends": found.ends, "told": found.told, "lit": found.lit},
        seeds=[_SEED],
    )
