"""SIGKILL at random moments: every frame of the ledger is on disk, and resuming completes the run.

`stedfast run` works in a process of its own and is killed, as by a power cut or a crash, without
a chance to tidy up. Its frames are compared one by one with its ledger, `stedfast resume`
continues and is killed in turn, and at the end the run must be complete, with no frame missing,
twice or changed.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from agent.bench.left_on_disk import FolderState, inspect
from agent.bench.measurement import Check, Measurement
from agent.record.ledger import FILE, DamagedLedger, Ledger

_KILLS = 20
_QUICK_KILLS = 6
_KILLS_A_RUN = 3
_TIMEOUT_S = 180.0
# Most kills fall into the acquisition, the others anywhere in the start of the process.
_SHARE_AT_START = 0.2
_START_S = 2.5

_LIVE = {
    "plan": "live",
    "live": {"frames": 240},
    "microscope": {
        "cfg": "demo",
        "pixel_size_nm": 20,
        "exposure": {"camera_ms": 2},
        "properties": [
            ["Camera", "OnCameraCCDXSize", 128],
            ["Camera", "OnCameraCCDYSize", 128],
            ["Camera", "PixelType", "16bit"],
        ],
    },
}
_OPTIMIZE = [
    "optimize.trials=30",
    "optimize.initial=20",
    "optimize.retest_fields=2",
    "microscope.virtual_sted.width_px=48",
    "microscope.virtual_sted.height_px=48",
    "microscope.virtual_sted.size_um=20",
    "microscope.fields.pitch_um=2.2",
]


@dataclass(frozen=True, slots=True)
class _Kind:
    """A run to be killed: what follows `stedfast run`, and the longest wait before a kill (s)."""

    name: str
    arguments: tuple[str, ...]
    acquiring_s: float


def run(repeats: int, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Kill runs until there were `repeats` kills, three to a run, and complete each run.

    Parameters
    ----------
    repeats
        Kills in all.
    seed
        Of the moments.
    folder
        Existing folder for the runs; every other one is a live view on the demo camera, the
        others are automated optimizations on the virtual microscope.

    Returns
    -------
    list of dict
        One for each kill: `run`, `plan`, `while` (`starting` or `acquiring`), `after_s`, the
        `frames` there were, those `unreadable`, `twice` or `lost` since the kill before; and of
        its run at the end `completed`, `exit`, `missing`, `changed`.

    Raises
    ------
    RuntimeError
        A process did something else than it should: the run cannot be judged.
    """
    rng = random.Random(seed)
    live = folder / "live.yaml"
    live.write_text(yaml.safe_dump(_LIVE, sort_keys=False), encoding="utf-8")
    optimize = Path(__file__).parents[2] / "configs" / "optimize.yaml"
    kinds = (
        _Kind("live", (str(live),), 1.0),
        _Kind(
            "optimize",
            (str(optimize), *(part for line in _OPTIMIZE for part in ("--set", line))),
            6.0,
        ),
    )
    kills: list[dict[str, Any]] = []
    number = 0
    while len(kills) < repeats:
        wanted = min(_KILLS_A_RUN, repeats - len(kills))
        kills += _killed_run(folder / f"run{number}", kinds[number % len(kinds)], wanted, rng)
        number += 1
    return kills


def _killed_run(place: Path, kind: _Kind, wanted: int, rng: random.Random) -> list[dict[str, Any]]:
    """Start a run, kill it `wanted` times, resume it to its end."""
    kills: list[dict[str, Any]] = []
    known: dict[int, int] = {}
    while len(kills) < wanted:
        starting = rng.random() < _SHARE_AT_START
        after_s = rng.uniform(0, _START_S if starting else kind.acquiring_s)
        if not _kill(place, kind, after_s, acquiring=not starting):
            break  # it was quicker
        state = inspect(place) if _is_run(place) else FolderState(0, 0, {}, [], [], 0, None)
        kills.append(
            {
                "run": place.name,
                "plan": kind.name,
                "while": "starting" if starting else "acquiring",
                "after_s": round(after_s, 3),
                "frames": len(state.frames),
                "unreadable": state.unreadable,
                "twice": state.twice,
                "lost": [i for i, crc in known.items() if state.frames.get(i) != crc],
            }
        )
        known |= state.frames
    code = _start(place, kind).wait(_TIMEOUT_S)
    if not _is_run(place):
        raise RuntimeError(f"{place.name}: `stedfast run` ended with {code} and left no run")
    end = inspect(place)
    verdict = {
        "completed": end.status == "completed" and end.length == end.planned,
        "exit": code,
        "sessions": end.sessions,
        "total": len(end.frames),
        "missing": sorted(set(range(end.planned)) - set(end.frames)),
        "changed": [i for i, crc in known.items() if end.frames.get(i) != crc],
        "unreadable_at_end": end.unreadable,
        "twice_at_end": end.twice,
    }
    return [{**kill, **verdict} for kill in kills]


def _kill(place: Path, kind: _Kind, after_s: float, *, acquiring: bool) -> bool:
    """Start or resume, and kill; False where the process ended before that."""
    before = _sessions(place)
    process = _start(place, kind)
    try:
        deadline = time.monotonic() + _TIMEOUT_S
        while acquiring and _sessions(place) == before and process.poll() is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{place.name}: no session began in {_TIMEOUT_S:g} s")
            time.sleep(0.02)
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            return True
        if process.returncode != 0:
            said = _log(place).read_text(encoding="utf-8", errors="replace").strip()
            raise RuntimeError(
                f"{place.name}: ended with {process.returncode} before its kill: {said[-500:]}"
            )
        return False
    finally:
        process.kill()
        process.wait()


def _start(place: Path, kind: _Kind) -> subprocess.Popen[bytes]:
    if _is_run(place):
        arguments = ["resume", str(place)]
    else:
        # Killed before it was a run: there is nothing to resume, and nothing was exposed.
        shutil.rmtree(place, ignore_errors=True)
        arguments = ["run", *kind.arguments, "--out", str(place)]
    with _log(place).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "agent.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )


def _log(place: Path) -> Path:
    """What the last process of a run said, for when it ends as it should not."""
    return place.with_suffix(".log")


def _is_run(place: Path) -> bool:
    return _sessions(place) > 0 and (place / "config.yaml").is_file()


def _sessions(place: Path) -> int:
    """How many sessions a run's ledger tells of, also while another process writes it."""
    if not (place / FILE).is_file():
        return 0
    try:
        ledger = Ledger(place, readonly=True)
        try:
            return sum(1 for _ in ledger.entries("run"))
        finally:
            ledger.close()
    except (sqlite3.OperationalError, DamagedLedger):  # its table is being made
        return 0


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """Kill 20 times; quick: 6 times; `seeds`: that often."""
    repeats = seeds or (_QUICK_KILLS if quick else _KILLS)
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        kills = run(repeats, 1, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    runs = {kill["run"]: kill for kill in kills}
    bad = sum(len(kill["unreadable"]) + len(kill["lost"]) for kill in kills)
    bad += sum(len(kill["unreadable_at_end"]) + len(kill["changed"]) for kill in runs.values())
    wrong = sum(len(kill["missing"]) + len(kill["twice_at_end"]) for kill in runs.values())
    completed = sum(kill["completed"] and kill["exit"] == 0 for kill in runs.values())
    return Measurement(
        columns=("run", "plan", "killed while", "after s", "frames then", "lost", "frames at end"),
        rows=[
            (
                kill["run"],
                kill["plan"],
                kill["while"],
                f"{kill['after_s']:.2f}",
                kill["frames"],
                len(kill["unreadable"]) + len(kill["lost"]),
                kill["total"],
            )
            for kill in kills
        ],
        checks=[
            Check("kills", len(kills), ">=", repeats),
            Check("frames of the ledger not on disk pixel for pixel", bad, "<=", 0, "frames"),
            Check("frames missing or twice after resuming", wrong, "<=", 0, "frames"),
            Check("runs completed by resuming", completed, ">=", len(runs), "runs"),
        ],
        raw={"kills": kills},
        seeds=[1],
    )
