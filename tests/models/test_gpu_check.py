"""The checks that a GPU will meet, over an emulated one: they pass, and they can fail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from models.emulated import Emulated
from models.gpu_check import learning
from models.gpu_check.__main__ import check, main
from models.gpu_check.checks import BoundedFigure, Section, TimeLeft
from models.gpu_check.compare import compare
from models.gpu_check.failures import failures
from models.gpu_check.latency import latency
from models.gpu_check.report import table

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run the check itself"),
]


def failed(section: Section) -> list[str]:
    return [check.name for check in section.checks if not check.holds]


@pytest.mark.slow
def test_all_checks_hold_over_an_emulated_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--quick", "--minutes", "10", "--out", str(tmp_path)])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "All checks hold." in out and "No GPU here" in out
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert found["holds"] and found["device"] == "emulated" and found["quick"]
    assert [len(part["checks"]) > 0 for part in found["sections"]] == [True, False, True, True]
    times = found["sections"][1]["figures"]
    assert times["filter and score, 32 × 32"]["median_ms"] > 0
    assert times["floor of flow, 32 × 32"]["gflop"] > 0.05
    lost = found["sections"][2]["figures"]["a GPU lost in the middle of a run"]
    assert lost["devices"][-1] == "cpu" and len(lost["devices"]) == 5


@pytest.mark.slow
def test_a_gpu_that_computes_something_else_fails() -> None:
    class Wrong(Emulated):
        def capture(self, work: Any) -> Any:
            launch, outputs = super().capture(work)

            def wrong() -> None:
                launch()
                outputs[0].mul_(1.05)

            return wrong, outputs

    section = compare(Wrong(tries=False), TimeLeft(60), quick=True)
    assert not section.holds
    wrong = failed(section)
    assert any("filter" in name and "image" in name for name in wrong)
    assert any("interpolator" in name and "image" in name for name in wrong)


@pytest.mark.slow
def test_a_gpu_whose_results_are_overwritten_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.gpu_check.failures._lost", lambda *_: None)

    class Overwrites(Emulated):
        """Every graph leaves its results in one and the same place, once it is launched again."""

        def down(self, tensors: Any) -> Any:
            found = super().down(tensors)
            late = [self._last, found()] if hasattr(self, "_last") else [found(), found()]
            self._last: Any = found()
            same = [one.shape for one in late[0]] == [one.shape for one in late[1]]
            return lambda: late[0] if same else late[1]

    section = failures(Overwrites(tries=False), TimeLeft(60), quick=True)
    assert "a launch that fails once: error" in failed(section)


def test_a_failure_that_is_not_survived_is_no_end_of_the_check() -> None:
    class Breaks(Emulated):
        def up(self, array: Any) -> Any:
            raise KeyError("not a failure of a GPU")

    told, sections = check(Breaks(tries=False), 1, quick=True, only=["failures"])
    assert not sections[0].holds
    assert "KeyError" in table(told, sections)


@pytest.mark.slow
def test_what_there_is_no_time_for_is_told_and_fails() -> None:
    section = latency(Emulated(tries=False), TimeLeft(0), quick=True)
    assert not section.holds and "filter, 32 × 32" in section.left_out
    told, sections = check(Emulated(tries=False), 0, quick=True, only=["training"])
    assert "left out, no time" in table(told, sections)


def test_a_bound_that_is_no_number_fails() -> None:
    assert not BoundedFigure("x", float("nan"), "<=", 1).holds
    assert BoundedFigure("x", 1, "<=", 1).holds and not BoundedFigure("x", 1.1, "<=", 1).holds


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--device", "cuda:7"], "device: found 'cuda:7'; accepted: auto, cpu"),
        (["--train", "restoration", "actin"], "with --data and --out"),
        (["--train", "x", "y", "--data", ".", "--out", "."], "restoration, interpolation, quality"),
    ],
)
def test_wrong_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], words: list[str], says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_a_training_takes_about_as_long_as_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def train(data: Path, out: Path, recipe: Any, *, progress: Any = None, **rest: Any) -> Any:
        asked.append(recipe)
        for epoch in range(recipe.epochs if progress else 0):
            time.sleep(0.02)
            progress(epoch, recipe.epochs, {"train": 1.0})
        return {"metrics": {}}

    monkeypatch.setattr(learning, "train_restoration", train)
    learning.train_for("restoration", "actin", tmp_path, tmp_path / "out", 0.02, "cpu")
    short, long = asked
    assert short.epochs == 3
    assert 5 < long.epochs <= 60 and long.architecture == {"depth": 3, "kernel": 3, "first": 16}


@pytest.mark.slow
def test_recipes_come_from_the_cards() -> None:
    for kind, name in (
        ("restoration", "actin-small"),
        ("interpolation", "zs"),
        ("quality", "quality"),
    ):
        assert learning.recipe_of(kind, name).epochs > 1
    with pytest.raises(ValueError, match="kind: found 'filter'; accepted: restoration"):
        learning.recipe_of("filter", "actin")


def test_it_is_a_benchmark_too() -> None:
    from agent.bench import gpu

    section = Section(
        "time", [BoundedFigure("x: on it", 1, "==", 1), BoundedFigure("y", 2, "<=", 1, "ms")]
    )
    section.left_out.append("z")
    section.figures["y"] = {"median_ms": 2.0, "devices": ["cuda:0"]}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(gpu, "check", lambda *_, **__: ({"device": "emulated"}, [section]))
        measured = gpu.measure(quick=True, seeds=None)
    assert [one.holds for one in measured.checks] == [True, False, False]
    assert measured.rows == [("time", "y", "median_ms 2, devices ['cuda:0']")]
    assert measured.raw["holds"] is False
