"""The optimizer, and the plan that asks it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from agent.config.plans import OptimizeConfig
from agent.config.rules import LATEST, SCALED
from agent.optimizer.outcome import Outcome
from agent.optimizer.skopt import SkoptOptimizer
from agent.optimizer.space import Space
from agent.plan import AnalysisError, Frame, Listen, Note, purpose
from agent.plans.optimize import optimize
from devices.config import SettingConfig, Value
from devices.shot import Field, Shot
from models.quality.score import Score
from tests.helpers.scope import SCOPE

SPACE = {
    "power": SettingConfig(
        device="L", property="P", range=(0.1, 100), scale="log", start=1, unit="mW"
    ),
    "dwell": SettingConfig(device="S", property="D", range=(1, 50), start=10),
    "lines": SettingConfig(device="S", property="L", kind="integer", range=(1, 8), start=1),
    "filter": SettingConfig(
        device="F", property="Label", kind="choice", choices=("red", "far red"), start="red"
    ),
}


def world(settings: dict[str, float | int | str], rng: np.random.Generator) -> Outcome:
    """Best at power 10, as many lines as possible, in red; more power bleaches."""
    power = np.log10(float(settings["power"]))
    score = 0.8 * np.exp(-((power - 1) ** 2)) * (1 if settings["filter"] == "red" else 0.6)
    score *= 0.7 + 0.3 * int(settings["lines"]) / 8
    bleached = 0.02 * int(settings["lines"]) * 10 ** (0.5 * power)
    return Outcome(float(score + rng.normal(0, 0.03)), float(bleached + rng.normal(0, 0.01)))


def optimizer(seed: int, limit: float = 0.25) -> SkoptOptimizer:
    return SkoptOptimizer(Space(SPACE, {}), bleaching_limit=limit, initial=8, seed=seed)


def session(seed: int, trials: int) -> tuple[list[dict[str, float | int | str]], SkoptOptimizer]:
    engine, rng, asked = optimizer(seed), np.random.default_rng(seed), []
    for _ in range(trials):
        settings = engine.ask()
        asked.append(settings)
        engine.tell(settings, world(settings, rng))
    return asked, engine


@pytest.mark.slow
def test_recommendation_is_good_and_within_the_limit() -> None:
    quiet = np.random.default_rng(0)
    good = 0
    for seed in (0, 1, 3):
        asked, engine = session(seed, 10)
        best = engine.recommend()
        assert best in asked
        outcome = world(best, quiet)
        first = np.mean([world(settings, quiet).score for settings in asked[:8]])
        good += outcome.score > first and outcome.bleaching < 0.27
    assert good >= 2


@pytest.mark.slow
def test_a_flagged_trial_teaches_the_model_no_more_than_a_failed_one() -> None:
    """However good it looks: the same suggestions follow, and another is recommended."""
    rng = np.random.default_rng(2)
    engines = optimizer(2), optimizer(2)
    for number in range(10):
        settings, same = (engine.ask() for engine in engines)
        assert settings == same
        if number in (3, 8):
            engines[0].tell(settings, Outcome(1.0, 0.0, 0.3, ("saturated",)))
            engines[1].tell_failed(settings)
            flagged = settings
            continue
        outcome = world(settings, rng)
        for engine in engines:
            engine.tell(settings, outcome)
    assert engines[0].recommend() == engines[1].recommend() != flagged


def test_where_all_trials_are_doubtful_the_best_of_them_is_recommended() -> None:
    engine = optimizer(0)
    asked = [engine.ask() for _ in range(2)]
    engine.tell(asked[0], Outcome(0.9, 0.1, flags=("unfamiliar", "blank")))
    engine.tell(asked[1], Outcome(0.3, 0.1, flags=("saturated",)))
    assert engine.recommend() == asked[0]


@pytest.mark.slow
def test_a_score_that_is_unsure_counts_for_less() -> None:
    sure, unsure = optimizer(0), optimizer(0)
    rng = np.random.default_rng(0)
    lucky = None
    for number in range(7):
        asked = [engine.ask() for engine in (sure, unsure)]
        assert asked[0] == asked[1]
        score = 0.5 + 0.02 * rng.normal()
        if number == 5:
            lucky, score = asked[0], 0.95
        sure.tell(asked[0], Outcome(score, 0.05, 0.01))
        unsure.tell(asked[1], Outcome(score, 0.05, 0.5 if number == 5 else 0.01))
    assert sure.recommend() == lucky != unsure.recommend()


def test_a_blank_frame_is_a_bad_result_and_no_failure() -> None:
    engine = optimizer(0)
    asked = [engine.ask() for _ in range(2)]
    engine.tell(asked[0], Outcome(0.0, 0.0, flags=("blank",)))
    engine.tell(asked[1], Outcome(0.6, 0.1))
    assert engine.recommend() == asked[1]


def test_an_outcome_is_plain_data_for_the_ledger() -> None:
    data = Outcome(0.5, 0.1, 0.02, ("blank",)).as_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["score"] == 0.5 and data["bleaching"] == 0.1 and data["flags"] == ["blank"]
    assert data["resolution_nm"] is None and data["dose_J"] == {}


class InOrder:
    """An optimizer that asks for trial 1, 2, … and remembers what it was told of each."""

    def __init__(self) -> None:
        self.told: list[Outcome | None] = []

    def ask(self) -> dict[str, Value]:
        return {"trial": len(self.told) + 1}

    def tell(self, settings: Any, outcome: Outcome) -> None:
        self.told.append(outcome)

    def tell_failed(self, settings: Any) -> None:
        self.told.append(None)

    def restrict(self, search: Any) -> None:
        raise NotImplementedError("nobody tells these runs anything")

    def prefer(self, weights: Any) -> None:
        raise NotImplementedError("nobody tells these runs anything")

    def pick(self, settings: Any) -> None:
        raise NotImplementedError("nobody tells these runs anything")

    def recommend(self) -> dict[str, Value]:
        return {"trial": 9}

    def front(self) -> list[dict[str, Value]]:
        return []

    def expected_gain(self) -> float | None:
        return None


def led(
    repeat_flagged: int, quality: Callable[[str], Score], rules: int = LATEST
) -> tuple[list[Shot], list[Note], list[Outcome | None]]:
    """Lead `plan: optimize` through four trials; the STED frames score by their purpose."""
    config = OptimizeConfig(trials=4, initial=2, retest_fields=1, repeat_flagged=repeat_flagged)
    fields = [Field(i, 0.0, 0.0) for i in range(6 + repeat_flagged)]
    engine = InOrder()
    plan = optimize(config, engine, {"trial": 0}, fields, SCOPE, skip_failed=True, rules=rules)
    shots: list[Shot] = []
    notes: list[Note] = []
    answer = None
    while True:
        try:
            step = plan.send(answer)
        except StopIteration:
            return shots, notes, engine.told
        answer = None
        if isinstance(step, Note):
            notes.append(step)
            continue
        if isinstance(step, Listen):
            answer = ()
            continue
        where = step.purpose
        answer = Frame(len(shots), step, {}, FLAT, 0.0, lambda where=where: quality(where))
        shots.append(step)


FLAT = np.full((16, 16), 3, np.uint16)
GOOD = Score(0.5, 0.1)
BAD = Score(0.9, 0.2, ("saturated",))


def measured(shots: list[Shot]) -> list[tuple[str, int, dict[str, Value]]]:
    """Purpose, field and settings of the STED frames."""
    assert len({shot.field.index for shot in shots if shot.field}) == len(shots) / 3
    return [(s.purpose, s.field.index, dict(s.settings)) for s in shots if s.mode == "sted"]  # type: ignore[union-attr]  # all have one


def test_a_flagged_trial_is_taken_again_on_a_fresh_field() -> None:
    shots, notes, told = led(3, lambda where: BAD if where == "trial 2" else GOOD)
    assert measured(shots) == [
        ("trial 1", 0, {"trial": 1}),
        ("trial 2", 1, {"trial": 2}),
        (purpose(2, 1), 2, {"trial": 2}),
        ("trial 3", 3, {"trial": 3}),
        ("trial 4", 4, {"trial": 4}),
        ("retest start", 5, {"trial": 0}),
        ("retest best", 6, {"trial": 9}),
    ]
    roles = [(shot.trial, shot.retest) for shot in shots]
    numbers = [(n, None) for n in (1, 2, 2, 3, 4)] + [(None, "start"), (None, "best")]
    assert roles == [role for role in numbers for _ in range(3)]
    assert [note.topic for note in notes][:4] == ["trial", "flagged", "trial", "trial"]
    flagged = {"settings": {"trial": 2}, "flags": ["saturated"], "trial": 2}
    assert notes[1].data == flagged
    assert notes[2].data["objectives"]["flags"] == [] and notes[2].data["settings"] == {"trial": 2}
    assert [(one.score, one.score_sd, one.flags) for one in told if one] == [(0.5, 0.1, ())] * 4


def test_repeats_come_to_an_end() -> None:
    """Two for the whole run: the second trial is told as it is."""
    shots, notes, told = led(2, lambda where: BAD if where.startswith("trial") else GOOD)
    assert [where for where, *_ in measured(shots)][:5] == [
        "trial 1",
        purpose(1, 1),
        purpose(1, 2),
        "trial 2",
        "trial 3",
    ]
    assert sum(note.topic == "flagged" for note in notes) == 2
    found = [(one.score, one.score_sd, one.flags) for one in told if one]
    assert found == [(0.9, 0.2, ("saturated",))] * 4
    trials = [note.data["objectives"] for note in notes if note.topic == "trial"]
    assert [trial["flags"] for trial in trials] == [["saturated"]] * 4


def test_a_repeat_that_fails_fails_its_trial() -> None:
    def quality(where: str) -> Score:
        if where == purpose(1, 1):
            raise AnalysisError("no score")
        return BAD

    _, notes, told = led(1, quality)
    assert [note.topic for note in notes][:3] == ["flagged", "trial", "trial"]
    assert notes[1].data["failed"] == "no score"
    assert told[0] is None and told[1] is not None


def test_where_all_scores_are_in_doubt_alike_the_search_goes_on_and_is_compared() -> None:
    smoothed = Score(0.5, 0.2, ("smoothed",))
    shots, notes, told = led(0, lambda where: smoothed)
    assert len(shots) == 18 and len(told) == 4
    assert [note.data.get("heeded") for note in notes if note.topic == "retest"] == [True, True]
    _, notes, _ = led(0, lambda where: smoothed, rules=SCALED)
    assert not any(note.topic == "retest" for note in notes), "an old run decides as it did"


def test_without_repeats_a_flagged_trial_is_as_it_is() -> None:
    shots, notes, _ = led(0, lambda where: BAD)
    assert len(shots) == 12
    assert all(note.topic != "flagged" for note in notes)
    # Nothing was learned: the start stays, and is not compared with itself.
    found = notes[-1].data
    assert (found["settings"], found["usable"], found["planned"]) == ({"trial": 0}, 0, -6)
