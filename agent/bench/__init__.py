"""`stedfast bench`: all measurements that the documentation quotes.

`_BENCHES` names the modules of this package that have a `measure`. It returns a `Measurement`: a
table for people, the raw figures, and a check for each target. Those that take hours (`_LONG`) may
keep their figures in a folder and continue from there. What is a test rather than a measurement
(`_TESTS`) ends with exit code 1 where a check does not hold; the others end with 0.
"""

from __future__ import annotations

import json
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.table import Table

from agent.bench.measurement import Measurement
from agent.cli.terminal import out
from agent.config.reading import UserError
from agent.record.folder import versions
from devices.refusals import unknown

_BENCHES = {
    "loop": "what the loop costs beside Micro-Manager's bare runner",
    "optimizer": "engines against each other, on formulas and on the virtual STED microscope",
    "optimize": "start against best settings of the default config, over seeds",
    "objectives": "bleaching and resolution estimates against ground truth",
    "quality": "the quality score against ground truth, on frames it was not trained on",
    "restoration": "label2label and its peers against the clean structure, and the engine's speed",
    "interpolation": "dropped frames rebuilt, of generated and real movies, and fine-tuning",
    "tuning": "fine-tuning on the audits of a time-lapse, on real movies",
    "dose": "a moving, bleaching sample at the same light: every frame, fixed or adaptive skips",
    "microscopes": "turned stages, samples that drift out of focus, two dyes in depth",
    "imspector": "an Abberior microscope through a double of Imspector: results, faults, pace",
    "gpu": "the networks on a GPU against the CPU, their time, and failures that are provoked",
    "storm": "signals at random moments of a run, with devices that stay on: dark after each",
    "fuzz": "damaged and hostile files: each is read, or refused in words",
    "guard": "SIGKILL of a lit run, with devices that stay on: dark within seconds",
    "faults": "faults of every kind at random moments: dark, nothing lost, resume completes",
    "night": "eight simulated hours, struck and resumed again and again; each end is told once",
    "kill": "SIGKILL at random moments: no frame lost, resume completes",
    "long": "a run of a night's length: time and memory of each frame and of each command",
}
_TESTS = ("imspector", "gpu", "storm", "fuzz", "guard", "faults", "night", "kill", "long")
_LONG = ("optimizer", "restoration", "interpolation", "tuning")


def run_bench(
    name: str,
    *,
    quick: bool,
    seeds: int | None,
    as_json: bool,
    keep: Path | None = None,
    view: bool = False,
) -> bool:
    """Run one benchmark and print it.

    Returns
    -------
    bool
        Whether it passed; a measurement that is no test always does.

    Raises
    ------
    UserError
        There is no such benchmark.
    """
    if name not in _BENCHES:
        raise UserError(f"bench {name}: {unknown(name, _BENCHES, 'measurement')}")
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds {seeds}: at least 1")
    if keep is not None and name not in _LONG:
        raise UserError(f"--keep: only for {', '.join(_LONG)}, which take hours")
    if view and name != "loop":
        raise UserError("--view: only for loop, whose runs it shows in a browser")
    more: dict[str, Any] = {"keep": keep} if keep else {}
    if view:
        more["view"] = True
    measured: Measurement = import_module(f"agent.bench.{name}").measure(
        quick=quick, seeds=seeds, **more
    )
    about = {
        "bench": name,
        "what": _BENCHES[name],
        "quick": quick,
        "date": date.today().isoformat(),
        "machine": _machine(),
        "versions": versions(),
        "seeds": measured.seeds,
    }
    passed = name not in _TESTS or all(check.holds for check in measured.checks)
    if as_json:
        checks = [check.as_dict() for check in measured.checks]
        left_out = [{"name": one.name, "why": one.why} for one in measured.left_out]
        told = {**about, "raw": measured.raw, "checks": checks, "left_out": left_out}
        print(json.dumps(told, indent=1))
    else:
        _print(about, measured)
    return passed


def _print(about: dict[str, Any], measured: Measurement) -> None:
    console = out
    kind = "QUICK VERSION of " if about["quick"] else ""
    console.print(f"{kind}{about['bench']}: {about['what']}")
    named = ", ".join(f"{part} {number}" for part, number in about["versions"].items())
    console.print(f"{about['date']}, {about['machine']}, {named}", soft_wrap=True)
    table = Table(*measured.columns, box=None, pad_edge=False)
    for row in measured.rows:
        table.add_row(*map(str, row))
    console.print(table)
    for check in measured.checks:
        console.print(
            f"{'holds' if check.holds else 'FAILS'}  {check.name}: "
            f"{check.value:.4g} {check.unit} (target {check.relation} {check.target:g})",
            soft_wrap=True,
        )
    console.print(measured.summary(), soft_wrap=True)


def _machine() -> str:
    import os
    import platform

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.machine()}, {cores} cores, {platform.system()}"
