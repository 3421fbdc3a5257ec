"""`python -m models.gpu_check`: proves and measures the engines on this machine's GPU."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from models.accelerator import Accelerator
from models.cuda import accelerator_of
from models.emulated import Emulated
from models.gpu_check.checks import BoundedFigure, Section, TimeLeft
from models.gpu_check.compare import compare
from models.gpu_check.failures import failures
from models.gpu_check.latency import latency
from models.gpu_check.learning import KINDS, learning, train_for
from models.gpu_check.report import about, as_dict, table

# Of the time, so that each gets some; the rest goes to those after it.
_SHARES = {"against the CPU": 0.2, "time": 0.35, "failures": 0.25, "training": 0.2}
_FILE = "gpu_check.json"


def check(
    accelerator: Accelerator,
    minutes: float = 8.0,
    *,
    quick: bool = False,
    only: Sequence[str] = (),
    say: Callable[[str], None] = lambda line: None,
) -> tuple[dict[str, Any], list[Section]]:
    """Do all checks, or some kinds of them; returns the machine and the results.

    Parameters
    ----------
    accelerator
        The GPU, or an emulated one.
    minutes
        What there is no time for is told, and counts as failed.
    quick
        Small frames and few repeats: for the checks' own logic, not for figures.
    only
        Names of kinds.
    say
        Called with the work under way.
    """
    asked = {name: share for name, share in _SHARES.items() if not only or name in only}
    end = time.monotonic() + 60 * minutes
    sections = []
    for number, (name, share) in enumerate(asked.items()):
        say(f"{name} …")
        rest = sum(list(asked.values())[number:])
        watch = TimeLeft(max(0.0, end - time.monotonic()) * share / rest)
        begun = time.monotonic()
        try:
            section = _WORK[name](accelerator, watch, quick)
        except Exception as error:  # one kind that fails must not cost the others
            section = Section(name, [BoundedFigure(f"{type(error).__name__}: {error}", 0, "==", 1)])
        section.seconds = time.monotonic() - begun
        sections.append(section)
    return about(accelerator), sections


_WORK: dict[str, Callable[[Accelerator, TimeLeft, bool], Section]] = {
    "against the CPU": lambda gpu, watch, quick: compare(gpu, watch, quick=quick),
    "time": lambda gpu, watch, quick: latency(gpu, watch, quick=quick),
    "failures": lambda gpu, watch, quick: failures(gpu, watch, quick=quick),
    "training": lambda gpu, watch, quick: learning(gpu.place, watch, quick=quick),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 only if all checks hold, 1 if one does not, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(prog="python -m models.gpu_check", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="for all checks (8)")
    parser.add_argument("--out", type=Path, help=f"folder for {_FILE} and trained weights")
    parser.add_argument("--device", default="auto", help="auto, cuda:N, or cpu for an emulated GPU")
    parser.add_argument("--quick", action="store_true", help="the checks' logic only")
    parser.add_argument("--only", nargs="+", choices=tuple(_SHARES), default=(), metavar="KIND")
    parser.add_argument(
        "--train",
        nargs=2,
        metavar=("KIND", "NAME"),
        help=f"train the recipe of shipped weights, too: {', '.join(KINDS)}, and their name",
    )
    parser.add_argument("--data", type=Path, help="what --train learns from")
    parser.add_argument("--train-minutes", type=float, default=10.0, help="of --train (10)")
    asked = parser.parse_args(arguments)
    if asked.train and (asked.data is None or asked.out is None or asked.train[0] not in KINDS):
        parser.error(f"--train: takes one of {', '.join(KINDS)}, with --data and --out")
    try:
        gpu = accelerator_of(asked.device)
    except ValueError as error:
        parser.error(f"--{error}")
    if gpu is None:
        print("No GPU here: the checks run over an emulated one, and no time is held to a bound.")
    accelerator = gpu or Emulated(tries=False)
    quick = asked.quick or gpu is None
    told, sections = check(
        accelerator,
        asked.minutes,
        quick=quick,
        only=asked.only,
        say=lambda line: print(line, file=sys.stderr),
    )
    found = as_dict(told | {"quick": quick}, sections)
    if asked.train:
        kind, name = asked.train
        card = train_for(
            kind, name, asked.data, asked.out / name, asked.train_minutes, accelerator.place
        )
        found["trained"] = {"kind": kind, "name": name, "metrics": card.get("metrics")}
    if asked.out:
        asked.out.mkdir(parents=True, exist_ok=True)
        (asked.out / _FILE).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(table(told, sections))
    return 0 if found["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
