"""What `plan: optimize` expects of every engine: those of this package, and one of another.

Add an engine to `NAMES`, and it goes through all of this.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from agent.config import load
from agent.config.optimize import ENGINES
from agent.config.reading import UserError
from agent.optimizer.build import make_optimizer
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.protocol import Optimizer
from tests import faulty
from tests.helpers.own_code import ENGINE
from tests.helpers.searches import config_data

NAMES = (*ENGINES, "later:later")
LIMIT = 0.25
FILLING = 2
"""Trials that fill the space before a model decides."""
Make = Callable[..., Optimizer]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name == "skopt" else name for name in NAMES
    ],
)
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Make]:
    """Makes the engine as a run does: from its name in a config; `seed` is the run's."""
    folder = tmp_path_factory.mktemp("engine")
    (folder / "later.py").write_text(ENGINE, encoding="utf-8")
    file = faulty.write(folder / "config.yaml", searching(request.param))

    def made(seed: int = 0, **options: Any) -> Optimizer:
        overrides = [f"optimize.{key}={value}" for key, value in options.items()]
        try:
            return make_optimizer(load(file, [f"seed={seed}", *overrides]))
        except UserError as error:
            if "pip install" in str(error):  # an extra that is not installed here
                pytest.skip(str(error))
            raise

    path = list(sys.path)
    yield made
    sys.path[:] = path
    sys.modules.pop("later", None)


def searching(engine: str) -> dict[str, Any]:
    """A config whose engine tunes a setting of each kind."""
    data = config_data()
    settings = data["microscope"]["settings"]
    settings["depletion_power"]["scale"] = "log"
    camera = {"device": "Camera", "property": "Lines"}
    settings["lines"] = camera | {"kind": "integer", "range": [1, 8], "start": 1}
    colours = {"kind": "choice", "choices": ["red", "far red"], "start": "red"}
    settings["filter"] = camera | colours | {"property": "Filter"}
    data["optimize"] |= {"engine": engine, "initial": FILLING, "library": False}
    data["optimize"] |= {"trials": 8, "bleaching_limit": LIMIT}
    return data


def world(settings: Settings) -> Outcome:
    """Best in red at a depletion power of 200 mW; bleaching rises with that power."""
    power = float(settings["depletion_power"]) / 200
    score = 0.3 + 0.5 * power * (2 - power) + (0.1 if settings["filter"] == "red" else 0.0)
    return Outcome(min(score, 1.0), 0.4 * power, 0.02, bleaching_sd=0.01)


def gentle(number: int = 0) -> Settings:
    """Settings that the engine did not ask for; the higher the number, the more power."""
    base: Settings = {"excitation_power": 2.0 + number, "depletion_power": 20.0 + 10 * number}
    return base | {"lines": 1, "filter": "red"}


def power(settings: Settings) -> float:
    return float(settings["depletion_power"])


def within(settings: Settings) -> bool:
    """Whether they are those of the config's search, as plain values of their kinds."""
    assert json.loads(json.dumps(settings)) == settings and len(settings) == len(gentle())
    assert [type(settings[name]) for name in gentle()] == [float, float, int, str]
    lasers = 1 <= float(settings["excitation_power"]) <= 20 and 10 <= power(settings) <= 200
    return lasers and 1 <= int(settings["lines"]) <= 4 and settings["filter"] in ("red", "far red")


# ---------------------------------------------------------------------- ask and tell


@dataclass(frozen=True)
class Course:
    """A few trials, the last of them by a model.

    Attributes
    ----------
    asked
        What was suggested.
    repeated
        Suggestions that were asked for twice, before the first trial and after the last.
    replayed
        What was suggested where a ledger told the same, while a person looked at the results.
    best
        What is recommended after both.
    another
        The first suggestion with another seed.
    """

    asked: list[Settings]
    repeated: list[tuple[Settings, Settings]]
    replayed: list[Settings]
    best: tuple[Settings, Settings]
    another: Settings


@pytest.fixture(scope="module")
def course(make: Make) -> Course:
    quiet, replay = make(5), make(5)
    repeated = [(quiet.ask(), quiet.ask())]
    asked, replayed = [], []
    for number in range(FILLING + 1):
        asked.append(quiet.ask())
        replayed.append(replay.ask())
        outcome = world(asked[-1])
        quiet.tell(asked[-1], outcome)
        kept = json.loads(json.dumps({"settings": asked[-1], **outcome.as_dict()}))
        settings = kept.pop("settings")
        replay.tell(settings, Outcome(**kept | {"flags": tuple(kept["flags"])}))
        if number == FILLING - 1:
            replay.front()
            replay.expected_gain()
    looked_at = replay.recommend()
    repeated.append((quiet.ask(), quiet.ask()))
    best = quiet.recommend(), looked_at
    return Course(asked, repeated, [*replayed, replay.ask()], best, make(6).ask())


@pytest.mark.slow
def test_suggestions_are_plain_values_within_the_search(course: Course) -> None:
    assert all(within(settings) for settings in course.asked)
    assert len({json.dumps(settings) for settings in course.asked[:FILLING]}) == FILLING


def test_a_suggestion_stands_until_it_is_answered(course: Course) -> None:
    """A run may be killed between the two."""
    for first, second in course.repeated:
        assert first == second


def test_same_seed_and_same_outcomes_same_suggestions(course: Course) -> None:
    """As `resume` and `replay` need it; a look at the results meanwhile changes nothing."""
    assert course.replayed == [*course.asked, course.repeated[-1][0]]
    assert course.best[0] == course.best[1]
    assert course.another != course.asked[0]


def test_settings_that_it_did_not_ask_for_are_learned_from(make: Make) -> None:
    """A person may suggest some while a suggestion is pending."""
    engine = make()
    engine.tell(gentle(), Outcome(0.1, 0.05, 0.02, bleaching_sd=0.01))
    pending = engine.ask()
    engine.tell(gentle(8), Outcome(0.9, 0.05, 0.02, bleaching_sd=0.01))
    assert within(pending) and within(engine.ask())
    best = engine.recommend()
    assert within(best) and abs(power(best) - 100) < 50


def test_what_gave_nothing_is_not_tried_again_and_not_recommended(make: Make) -> None:
    engine = make()
    failed = engine.ask()
    engine.tell_failed(failed)
    with pytest.raises(ValueError, match="nothing to recommend"):
        engine.recommend()
    assert engine.ask() != failed
    engine.tell(gentle(), Outcome(0.4, 0.05, 0.02, bleaching_sd=0.01))
    assert engine.recommend() != failed


def test_a_doubtful_score_is_not_believed(make: Make) -> None:
    """However good it looks, others are tried next, and others are recommended."""
    engine = make()
    flagged = engine.ask()
    engine.tell(flagged, Outcome(1.0, 0.0, 0.3, ("saturated",), 0.01))
    assert engine.ask() != flagged
    engine.tell(gentle(), Outcome(0.4, 0.05, 0.02, bleaching_sd=0.01))
    assert engine.recommend() != flagged


# ---------------------------------------------------------------------- limits and wishes


def test_the_bleaching_limit_is_kept(make: Make) -> None:
    engine = make()
    for number in (0, 17):
        engine.tell(gentle(number), world(gentle(number)))
    assert world(gentle(17)).score > world(gentle()).score
    best = engine.recommend()
    assert within(best) and world(best).bleaching <= LIMIT


def test_where_nothing_keeps_the_limit_something_gentle_is_recommended(make: Make) -> None:
    engine = make(bleaching_limit=1e-6)
    for number in (17, 0):
        engine.tell(gentle(number), world(gentle(number)))
    assert power(engine.recommend()) <= 30


def test_what_a_person_fixes_is_kept_to_and_set_free_again(make: Make) -> None:
    engine = make()
    engine.tell(gentle(5), world(gentle(5)))
    engine.restrict({"depletion_power": (70.0, 70.0), "filter": ("red",), "lines": (1, 1)})
    fixed = engine.ask()
    engine.tell(fixed, world(fixed))
    for settings in (fixed, engine.ask(), engine.recommend()):
        assert within(settings) and settings["filter"] == "red" and settings["lines"] == 1
        assert power(settings) == pytest.approx(70)
    engine.restrict({})
    free = engine.ask()
    assert power(free) != pytest.approx(70)


def test_a_preference_moves_the_recommendation_and_is_taken_back(make: Make) -> None:
    engine = make(bleaching_limit=0.9)
    for number in (0, 17):
        engine.tell(gentle(number), world(gentle(number)))
    usual = engine.recommend()
    engine.prefer({"quality": 0.1, "bleaching": 10.0})
    assert power(engine.recommend()) < power(usual)
    engine.prefer({})
    assert engine.recommend() == usual


def test_a_picked_trade_off_is_followed_or_refused(make: Make) -> None:
    engine = make(bleaching_limit=0.9)
    for number in (0, 5, 17):
        engine.tell(gentle(number), world(gentle(number)))
    try:
        engine.pick(gentle(5))
    except ValueError as error:
        assert str(error).startswith("pick: ")
    else:
        assert abs(power(engine.recommend()) - 70) < 40


def test_the_front_leads_from_gentle_to_good(make: Make) -> None:
    engine = make()
    for number in (17, 0):
        engine.tell(gentle(number), world(gentle(number)))
    front = engine.front()
    assert len(front) >= 2 and all(within(settings) for settings in front)
    assert power(front[0]) < 40 and power(front[-1]) > 100


def test_what_is_still_to_be_gained_is_a_number_or_not_known(make: Make) -> None:
    engine = make()
    for number in (0, 17):
        engine.tell(gentle(number), world(gentle(number)))
    engine.ask()
    gain = engine.expected_gain()
    assert gain is None or (isinstance(gain, float) and 0 <= gain < 10)
