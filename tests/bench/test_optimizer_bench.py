"""The benchmark of the optimizers: fair, resumable, and judged from what was run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.bench import run_bench
from agent.bench.optimizer.analytic import AnalyticLibrary, Samples
from agent.bench.optimizer.campaign import EngineCourse
from agent.bench.optimizer.contest import Kept, contest
from agent.bench.optimizer.entrants import OURS, REMEMBERING, WRONG, entrants
from agent.bench.optimizer.families import make_task
from agent.bench.optimizer.standings import hypervolume
from agent.bench.optimizer.verdict import judge
from agent.config.reading import UserError
from agent.optimizer.base import merit


@pytest.mark.slow
def test_all_engines_meet_the_same_noise() -> None:
    tasks = [make_task("analytic", 3) for _ in range(2)]
    point = tasks[0].space.sobol(1, 0)[0]
    first, again, other = (
        task.measure(point, n) for task, n in zip([*tasks, tasks[1]], (1, 1, 2), strict=True)
    )
    assert first == again != other
    assert tasks[0].truth(point).score == pytest.approx(first.score, abs=0.25)


@pytest.mark.slow
def test_final_samples_are_not_those_to_develop_with() -> None:
    final, trying = make_task("analytic", 1), make_task("analytic", 1, final=False)
    points = final.space.sobol(8, 0)
    assert [final.truth(p) for p in points] != [trying.truth(p) for p in points]


@pytest.mark.slow
def test_the_best_known_is_a_real_optimum() -> None:
    task = make_task("analytic", 2)
    found = max(merit(task.truth(point), task.limit) for point in task.space.sobol(4096, 5))
    assert 0 <= task.best_known - found < 0.2


@pytest.mark.slow
def test_courses_are_kept_and_gone_on_with(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "courses.jsonl")
    makers = {name: entrants("analytic")[name] for name in ("random", OURS)}
    for key, course in contest("analytic", 1, makers, [], trials=6):
        kept.add(key, course)
    again = Kept(tmp_path / "courses.jsonl")
    assert again.courses == kept.courses and len(again.courses) == 2
    assert list(contest("analytic", 1, makers, list(again.courses), trials=6)) == []
    with (tmp_path / "courses.jsonl").open("a") as file:
        file.write('{"family": "analy')
    assert Kept(tmp_path / "courses.jsonl").courses == kept.courses


def test_hypervolume_of_a_front() -> None:
    assert hypervolume([(0.5, 0.2)]) == pytest.approx(0.5 * 0.2)
    assert hypervolume([(0.5, 0.2), (0.8, 0.3)]) == pytest.approx(0.5 * 0.2 + 0.3 * 0.1)
    assert hypervolume([(0.5, 0.2), (0.4, 0.3), (0.9, 0.5)]) == pytest.approx(0.1)
    assert hypervolume([]) == 0


def _course(
    regret: float, light: float = 1.0, best: float = 0.8, alike: float = 1.0
) -> EngineCourse:
    """One whose own recommendations have a regret, and those by the rule for all another."""
    at = [5, 6, 8, 10, 15, 20, 30, 40]
    steps = len(at)
    worth, same = [best - regret] * steps, [best - alike] * steps
    return EngineCourse(at, worth, [0.1] * steps, [light] * steps, [0.01], [], best, same)


def _judged(**regrets: EngineCourse) -> dict[str, bool]:
    """Whether each check holds, of engines by name (with `_` for what names may not have)."""
    names = {
        "ei": "skopt EI",
        "constrained": "botorch qLogNEI constrained",
        "ours": OURS,
        "again": f"{OURS} #2",
        "library": REMEMBERING,
        "mirrored": "stedfast, mirrored library",
    }
    courses = {
        ("analytic", seed, names[name]): replace(course)
        for seed in (1, 2)
        for name, course in regrets.items()
    }
    return {check.name: check.holds for check in judge(courses, [1, 2]).checks}


def test_a_worse_engine_fails_and_a_better_one_holds() -> None:
    name = "analytic: regret after 20, no memory / skopt EI"
    assert _judged(ei=_course(0.2), ours=_course(0.1))[name]
    assert not _judged(ei=_course(0.2), ours=_course(0.19))[name]


def test_the_bar_is_the_best_peer_by_the_better_rule() -> None:
    weak, strong = _course(0.3), _course(0.25, alike=0.1)
    found = _judged(ei=weak, constrained=strong, ours=_course(0.15), library=_course(0.09))
    assert not found["analytic: regret after 20, no memory / botorch qLogNEI constrained"]
    assert not found["analytic: regret after 40, library / botorch qLogNEI constrained"]
    assert not any("skopt EI" in name for name in found)


def test_a_library_that_harms_fails() -> None:
    name = "analytic: mirrored library / no library, at worst"
    assert _judged(ours=_course(0.1), mirrored=_course(0.105))[name]
    assert not _judged(ours=_course(0.1), mirrored=_course(0.12))[name]


def test_seeds_of_an_engine_count_as_one_sample() -> None:
    courses = {
        ("analytic", 1, name): _course(regret)
        for name, regret in ((OURS, 0.1), (f"{OURS} #2", 0.5), (f"{OURS} #3", 0.1))
    }
    (row,) = judge(courses, [1]).rows
    shown = dict(zip(judge(courses, [1]).columns, row, strict=True))
    assert (shown["n"], shown["median 40"], shown["worst 40"]) == (1, "0.100", "0.500")
    assert shown["regret 40"].startswith("0.233")


@pytest.mark.slow
def test_wrong_libraries_are_wrong() -> None:
    """Each is right somewhere, and wrong about this sample in its own way."""
    task = make_task("analytic", 2)
    points = task.space.sobol(64, 1)
    right = AnalyticLibrary(Samples.draw(60, 3))
    score, bleached = right.expect(points)
    for name, alter in WRONG.items():
        quality, lost = alter(right, task).expect(points)
        assert ((quality >= 0) & (quality <= 1)).all(), name
        changed = quality.shape != score.shape or not (
            np.allclose(quality, score) and np.allclose(lost, bleached)
        )
        assert changed, name
    turned, _ = WRONG["stedfast, mirrored library"](right, task).expect(points, [3, 5])
    order = [np.corrcoef(a, b)[0, 1] for a, b in zip(turned, score[[3, 5]], strict=True)]
    assert max(order) < -0.9


def test_only_long_benchmarks_keep_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--keep"):
        run_bench("loop", quick=True, seeds=None, as_json=True, keep=tmp_path / "x")
