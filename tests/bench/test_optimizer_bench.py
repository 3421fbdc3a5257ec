"""The benchmark of the optimizers: fair, resumable, and judged from what was run."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.bench import run_bench
from agent.bench.optimizer.campaign import Course
from agent.bench.optimizer.contest import Kept, contest
from agent.bench.optimizer.entrants import OURS, entrants
from agent.bench.optimizer.families import make_task
from agent.bench.optimizer.verdict import hypervolume, judge
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


def _course(regret: float, light: float, best: float = 0.8) -> Course:
    at = [5, 6, 8, 10, 15, 20, 30, 40]
    steps = len(at)
    return Course(at, [best - regret] * steps, [0.1] * steps, [light] * steps, [0.01], [], best)


def test_a_worse_engine_fails_and_a_better_one_holds() -> None:
    def checks(ours: float) -> dict[str, bool]:
        courses = {
            ("analytic", seed, name): _course(regret, light)
            for seed in (1, 2)
            for name, regret, light in (("skopt EI", 0.2, 10.0), (OURS, ours, 1.0))
        }
        return {check.name: check.holds for check in judge(courses, [1, 2]).checks}

    name = "analytic: regret after 20, no memory / skopt EI"
    assert checks(0.1)[name] and not checks(0.19)[name]


def test_only_long_benchmarks_keep_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--keep"):
        run_bench("loop", quick=True, seeds=None, as_json=True, keep=tmp_path / "x")
