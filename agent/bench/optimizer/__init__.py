"""Engines against each other, on formulas and on the virtual STED microscope.

Every engine meets the same samples, fields and noise; what counts is the noise-free truth of the
settings that it recommends. A whole contest takes hours: with `--keep FILE` every course is
written down as it ends, and a second call continues from there.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from rich.progress import Progress
from threadpoolctl import threadpool_limits

from agent.bench import objectives
from agent.bench.measurement import Measurement
from agent.bench.optimizer.campaign import EngineCourse
from agent.bench.optimizer.contest import TRIALS, Kept, Key, contest
from agent.bench.optimizer.entrants import entrants
from agent.bench.optimizer.families import FAMILIES, Family
from agent.bench.optimizer.pace import paces
from agent.bench.optimizer.verdict import judge
from agent.cli.terminal import err

_SEEDS, _QUICK_SEEDS, _QUICK_TRIALS = 20, 1, 8


def measure(*, quick: bool, seeds: int | None, keep: Path | None = None) -> Measurement:
    """Let every engine work on the tasks kept for the final table.

    Parameters
    ----------
    quick
        One seed and few trials on the formulas only: shows that it runs, and judges nothing.
    seeds
        Samples in each family.
    keep
        File for the courses.
    """
    used = list(range(1, (seeds or (_QUICK_SEEDS if quick else _SEEDS)) + 1))
    families: tuple[Family, ...] = ("analytic",) if quick else FAMILIES
    with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as folder:
        kept = Kept(keep or Path(folder) / "courses.jsonl")
        jobs = [
            (family, seed, name)
            for seed in used
            for family in families
            for name in entrants(family)
        ]
        jobs = [job for job in jobs if job not in kept.courses]
        with Progress(console=err) as bar:
            task = bar.add_task("courses", total=len(jobs))
            for key, course in _all(jobs, _QUICK_TRIALS if quick else None):
                kept.add(key, course)
                bar.advance(task)
        courses = {key: kept.courses[key] for key in kept.courses if key[1] in used}
    measured = judge(courses, used)
    if quick:
        return measured
    checks = [*measured.checks, *paces(), *objectives.measure(quick=False, seeds=None).checks]
    return replace(measured, checks=checks)


def _all(
    jobs: list[tuple[Family, int, str]], trials: int | None
) -> Iterator[tuple[Key, EngineCourse]]:
    """Run all in parallel, one process for the engines of one task at a time."""
    tasks: dict[tuple[Family, int], list[str]] = {}
    for family, seed, name in jobs:
        tasks.setdefault((family, seed), []).append(name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        futures = [
            pool.submit(_work, family, seed, names, trials)
            for (family, seed), names in tasks.items()
        ]
        for future in as_completed(futures):
            yield from future.result()


def _work(
    family: Family, seed: int, names: list[str], trials: int | None
) -> list[tuple[Key, EngineCourse]]:
    import torch

    torch.set_num_threads(1)
    makers = {name: maker for name, maker in entrants(family).items() if name in names}
    with threadpool_limits(1):
        return list(contest(family, seed, makers, [], trials=trials or TRIALS))
