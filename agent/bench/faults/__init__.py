"""Faults of every kind at random moments of runs: dark after each, nothing lost, and it goes on.

The devices stay lit when they are let go of, and write down every command (`agent.bench.lit`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

from agent.bench.faults.campaign import Case, campaign
from agent.bench.faults.plans import PLANS
from agent.bench.faults.strikes import KINDS, may_mount
from agent.bench.measurement import Absent, Check, Measurement
from agent.config.reading import UserError

_EACH = 10
_SEED = 1


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """10 of each kind; quick: one of each; `seeds`: that many.

    Raises
    ------
    UserError
        There are no POSIX signals here.
    """
    if not hasattr(os, "fork"):
        raise UserError("bench faults: sends POSIX signals, which this system does not have")
    repeats = seeds or (1 if quick else _EACH)
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        mounts = may_mount(folder)
        kinds = [kind for kind in KINDS if mounts or not kind.mounts]
        cases = list(campaign(kinds, PLANS, repeats, _SEED, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rows = []
    for kind in kinds:
        these = [case for case in cases if case.kind == kind.name]
        rows.append(
            (
                kind.name,
                len(these),
                ", ".join(map(str, sorted({case.status for case in these}))),
                sum(not case.lit and case.safe is not False for case in these),
                sum(case.frames for case in these),
                sum(case.whole for case in these),
            )
        )

    why = "this user may not mount a file system"
    return Measurement(
        columns=(
            "fault",
            "runs",
            "exit codes",
            "dark, read back",
            "frames then",
            "completed whole",
        ),
        rows=rows,
        checks=_checks(cases, repeats * len(kinds)),
        raw={"cases": [asdict(case) for case in cases]},
        seeds=[_SEED],
        left_out=[Absent(kind.name, why) for kind in KINDS if kind.mounts and not mounts],
    )


def _checks(cases: list[Case], planned: int) -> list[Check]:
    begun = [case for case in cases if case.ended]
    return [
        Check("runs", len(cases), ">=", planned),
        Check("left lit", sum(bool(case.lit) for case in cases), "<=", 0, "runs"),
        Check("not read back", sum(case.safe is False for case in cases), "<=", 0, "runs"),
        Check("frames lost", sum(len(case.lost) for case in cases), "<=", 0, "frames"),
        Check("frames twice", sum(len(case.twice) for case in cases), "<=", 0, "frames"),
        Check("frames changed", sum(len(case.changed) for case in cases), "<=", 0, "frames"),
        Check("frames missing", sum(abs(case.missing) for case in cases), "<=", 0, "frames"),
        Check("completed by resuming", sum(case.whole for case in begun), ">=", len(begun), "runs"),
    ]
