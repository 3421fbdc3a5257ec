"""What a run expects of every plan: those of this package, and those of the examples.

Add a plan to `MAKERS`, and it goes through all of this.
"""

from __future__ import annotations

import json
import random
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agent.config import RunConfig, load
from agent.plan import (
    AnalysisError,
    Answer,
    Block,
    Due,
    Frame,
    Instruction,
    Late,
    Listen,
    Note,
    Plan,
    Rebuild,
    Rebuilt,
    Step,
)
from agent.plans.build import build_plan
from agent.record.recording import autofocus_as_dict, shot_as_dict, shot_from_dict
from devices.autofocus import Autofocus, Focused
from devices.shot import Shot
from models.quality.score import Score
from tests import faulty
from tests.helpers.searches import config_data_of_a_run

EXAMPLES = Path(__file__).parents[2] / "examples"
MOST = 400
"""Steps after which a plan that has no end is stopped."""


@dataclass(frozen=True)
class Maker:
    """A config, and what makes its plan."""

    config: RunConfig
    plan: Callable[[RunConfig], Plan] = build_plan

    def __call__(self) -> Plan:
        return self.plan(self.config)


def of(folder: Path, data: dict[str, Any]) -> Maker:
    return Maker(load(faulty.write(folder / "config.yaml", data)))


def live(folder: Path) -> Maker:
    return of(folder, faulty.config(live={"frames": 4, "interval_s": 2}))


def optimize(folder: Path) -> Maker:
    data = config_data_of_a_run()
    data["optimize"] |= {"engine": "sobol", "trials": 2}
    data["analysis"]["on_error"] = "skip"
    return of(folder, data)


def timelapse(folder: Path, **options: Any) -> Maker:
    data = config_data_of_a_run()
    del data["optimize"]
    data["plan"] = "timelapse"
    data["timelapse"] = {"frames": 9, "interval_s": 5, "fields": 2, **options}
    return of(folder, data)


def stacks(folder: Path) -> Maker:
    return timelapse(folder, frames=3, channels=["confocal", "sted"], z={"range": 2, "step": 1})


def skipping(folder: Path) -> Maker:
    return timelapse(folder, acquire="skip")


def adaptive(folder: Path) -> Maker:
    return timelapse(folder, acquire="adaptive", late="skip")


def autofocusing(folder: Path) -> Maker:
    data = config_data_of_a_run()
    del data["optimize"]
    data["plan"] = "timelapse"
    data["timelapse"] = {"frames": 6, "interval_s": 5, "fields": 2}
    data["focus"] = {"device": "PFS", "using": "continuous", "every": 2}
    return of(folder, data)


def reoptimizing(folder: Path) -> Maker:
    data = config_data_of_a_run()
    data["plan"] = "timelapse"
    data["optimize"]["engine"] = "sobol"
    data["timelapse"] = {"frames": 9, "interval_s": 5, "reoptimize": {"every": 4, "trials": 3}}
    return of(folder, data)


def reoptimizing_for_peaks(folder: Path) -> Maker:
    """With the example's objective, and no score."""
    data = config_data_of_a_run()
    del data["analysis"]
    data["plan"], data["modules"] = "timelapse", str(EXAMPLES / "peak_signal")
    data["optimize"] |= {"engine": "sobol", "objective": "peak_signal:peak_signal"}
    data["timelapse"] = {"frames": 9, "interval_s": 5, "reoptimize": {"every": 4, "trials": 3}}
    return of(folder, data)


def focus_series(folder: Path) -> Maker:
    """The example with an entry point, found by its file."""
    module = str(EXAMPLES / "focus_series")
    data = faulty.config(
        plan="focus_series:focus_series",
        focus_series={"from_um": -1.0, "to_um": 1.0, "frames": 3},
        analysis={"score": True},
        modules=module,
    )
    del data["live"]
    return of(folder, data)


def power_series(folder: Path) -> Maker:
    """The example that is run by a script."""
    example = runpy.run_path(str(EXAMPLES / "own_plan.py"))
    return Maker(load(example["CONFIG"], ["plan=live", "live.frames=4"]), example["power_series"])


MAKERS = (
    live,
    optimize,
    timelapse,
    stacks,
    skipping,
    adaptive,
    autofocusing,
    reoptimizing,
    reoptimizing_for_peaks,
    focus_series,
    power_series,
)


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Maker]:
    path = list(sys.path)
    yield request.param(tmp_path_factory.mktemp("plan"))
    sys.path[:] = path
    for name in ("focus_series", "peak_signal"):
        sys.modules.pop(name, None)


# ---------------------------------------------------------------------- leading


@dataclass
class Course:
    """What a plan asked for, and what it was answered; led by `led`."""

    steps: list[Step] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    failed: str = ""

    @property
    def shots(self) -> list[Shot]:
        return [step for step in self.steps if isinstance(step, Shot)]


class World:
    """A sample that moves, a person who says something now and then, a busy PC, a poor focus.

    Parameters
    ----------
    config
        Says what may be told.
    unscored
        Frames, counted from 0, that cannot be scored.
    """

    def __init__(self, config: RunConfig, unscored: tuple[int, ...] = ()) -> None:
        self._unscored = unscored
        self._frames = self._listened = self._due = self._searched = 0
        # What it means to a search differs from what it means to live imaging.
        named = config.adjustable() and not config.section.searches()
        self._told = (Instruction(config.adjustable()[0], 7.0),) if named else ()

    def answer(self, step: Step) -> Answer:
        if isinstance(step, Shot):
            self._frames += 1
            return self._frame(self._frames - 1, step)
        if isinstance(step, Listen):
            self._listened += 1
            return self._told if self._listened == 2 else ()
        if isinstance(step, Due):
            self._due += 1
            late = step.skip and self._due == 3
            return Late(1.4 * step.interval_s, 1) if late else Late()
        if isinstance(step, Autofocus):
            self._searched += 1
            failed = self._searched % 3 == 0
            return Focused(why="no focus") if failed else Focused(0.1 * self._searched, 0.0)
        if isinstance(step, Rebuild) and step.wait:
            made = len(step.points) + len(step.audits)
            return Rebuilt((0.1,) * made, ((0.01, 0.002),) * len(step.audits))
        return None

    def _frame(self, index: int, shot: Shot) -> Frame:
        def quality() -> Score:
            if index in self._unscored:
                raise AnalysisError(f"frame {index} failed")
            return Score(0.3 + 0.4 * np.sin(0.9 * index) ** 2, 0.02)

        settings = {"excitation_power": 5.0, "depletion_power": 100.0, **shot.settings}
        return Frame(index, shot, settings, picture(index), 5.0 * index, quality, lambda: 0.1)


def picture(index: int) -> NDArray[np.uint16]:
    y, x = np.indices((32, 32))
    mean = 8 + 6 * np.sin((x - 0.1 * index) / 3) * np.cos(y / 4)
    found = np.random.default_rng(index).poisson(mean).astype(np.uint16)
    found.setflags(write=False)
    return found


def led(plan: Plan, answer: Callable[[Step], Answer], most: int = MOST) -> Course:
    """Lead a plan to its end, or for so many steps."""
    course = Course()
    try:
        step = next(plan)
        while True:
            course.steps.append(step)
            if len(course.steps) == most:
                break
            course.answers.append(answer(step))
            step = plan.send(course.answers[-1])
    except StopIteration:
        pass
    except AnalysisError as error:
        course.failed = str(error)
    return course


@pytest.fixture(scope="module")
def course(make: Maker) -> Course:
    return led(make(), World(make.config).answer)


# ---------------------------------------------------------------------- the contract


def test_the_same_answers_give_the_same_steps(
    make: Maker, course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At another time, with other random numbers, elsewhere, and without a look at any file."""

    def forbidden(*args: Any, **options: Any) -> Any:
        raise AssertionError("a plan reads no files")

    plan, here = make(), threading.get_ident()
    random.seed(99)

    def elsewhen(clock: Callable[[], float]) -> float:
        # What other threads wait for is not to move.
        return 12345.0 + 3 * clock() if threading.get_ident() == here else clock()

    for name in ("time", "monotonic", "perf_counter"):
        monkeypatch.setattr(time, name, partial(elsewhen, getattr(time, name)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "open", forbidden)
    stored = iter(course.answers)
    again = led(plan, lambda step: next(stored))
    monkeypatch.undo()
    assert again.steps == course.steps and len(course.steps) > 3


def test_what_it_asks_for_can_be_kept_and_taken(make: Maker, course: Course) -> None:
    """Shots and notes outlive the ledger, and the microscope can do what it is asked for."""
    scope = make.config.microscope
    for step in course.steps:
        if isinstance(step, Note):
            data = dict(step.data)
            assert json.loads(json.dumps(data, allow_nan=False)) == data, step
        if isinstance(step, Autofocus):
            assert json.loads(json.dumps(autofocus_as_dict(step)))
        if isinstance(step, Shot):
            assert shot_from_dict(json.loads(json.dumps(shot_as_dict(step)))) == step
            assert step.mode in scope.modes
            for name, value in step.settings.items():
                assert scope.settings[name].refusal(value) is None, step


def test_it_asks_for_what_its_blocks_have(make: Maker, course: Course) -> None:
    steps = iter(course.steps)
    for step in steps:
        if isinstance(step, Block):
            assert len(step.shots) > 1
            noted = (other for other in steps if not isinstance(other, Note))
            assert tuple(islice(noted, len(step.shots))) == step.shots


def test_it_takes_as_many_frames_as_its_section_says(make: Maker, course: Course) -> None:
    section = make.config.section
    planned, fewest = section.planned_frames(), section.fewest_frames()
    assert planned is not None and fewest is not None and len(course.steps) < MOST
    late = sum(answer.points for answer in course.answers if isinstance(answer, Late))
    saved = sum(
        step.data.get("planned", 0)
        for step in course.steps
        if isinstance(step, Note) and step.topic == "recommendation"
    )
    most = planned + section.repeated_frames() + section.searching_frames()
    assert fewest - late + saved <= len(course.shots) <= most


def test_it_ends_where_it_is_stopped(make: Maker, course: Course) -> None:
    """Before it begins, at its first step, in the middle and at its last."""
    make().close()
    for most in {1, 2, len(course.steps) // 2, len(course.steps)}:
        plan, stored = make(), iter(course.answers)
        led(plan, lambda step, stored=stored: next(stored), most)
        plan.close()
        with pytest.raises(StopIteration):
            next(plan)


def test_it_changes_neither_its_config_nor_its_answers(make: Maker, course: Course) -> None:
    before = make.config.model_dump_json()
    kept = [frame for frame in course.answers if isinstance(frame, Frame)]
    settings = [json.dumps(dict(frame.settings), sort_keys=True) for frame in kept]
    stored = iter(course.answers)
    led(make(), lambda step: next(stored))
    assert make.config.model_dump_json() == before
    for frame, was in zip(kept, settings, strict=True):
        np.testing.assert_array_equal(frame.pixels, picture(frame.index))
        assert json.dumps(dict(frame.settings), sort_keys=True) == was


def test_a_score_that_fails_ends_it_or_costs_a_trial(make: Maker, course: Course) -> None:
    scored = [n for n, shot in enumerate(course.shots) if shot.mode == "sted"][1]
    found = led(make(), World(make.config, (scored,)).answer)
    again = led(make(), World(make.config, (scored,)).answer)
    assert found.steps == again.steps and found.failed == again.failed
    if found.failed:
        assert found.failed == f"frame {scored} failed"
        assert found.steps == course.steps[: len(found.steps)]
