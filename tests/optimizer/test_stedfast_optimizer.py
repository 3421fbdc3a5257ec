"""The default engine: what it finds, keeps to, forgets and looks at again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from agent.bench.optimizer.analytic import LIMIT, SETTINGS, AnalyticLibrary, Samples
from agent.bench.optimizer.analytic_task import AnalyticTask
from agent.bench.optimizer.campaign import EngineCourse, lead
from agent.bench.optimizer.peers import make_peer
from agent.config.rules import FIRST, SCALED
from agent.optimizer.knowledge_gradient import expected_gains
from agent.optimizer.outcome import Outcome
from agent.optimizer.protocol import Optimizer
from agent.optimizer.ranking import ranking_weights
from agent.optimizer.space import Space
from agent.optimizer.stedfast import StedfastOptimizer
from devices.config import SettingConfig, Value

LINE = {"power": SettingConfig(device="L", property="P", range=(0.0, 1.0), start=0.1)}


def engine(
    seed: int = 0, library: AnalyticLibrary | None = None, **more: object
) -> StedfastOptimizer:
    return StedfastOptimizer(
        Space(SETTINGS, {}), bleaching_limit=LIMIT, seed=seed, hypotheses=library, **more
    )


@pytest.fixture(scope="module")
def samples() -> Samples:
    return Samples.draw(200, 3).usable()


@pytest.fixture(scope="module")
def library() -> AnalyticLibrary:
    return AnalyticLibrary(Samples.draw(150, 77).usable())


def course(task: AnalyticTask, seed: int, made: Optimizer, trials: int) -> EngineCourse:
    return lead(made, task, trials, (6, 15))


@pytest.mark.slow
def test_with_a_library_six_images_do_what_random_search_does_not_in_fifteen(
    samples: Samples, library: AnalyticLibrary
) -> None:
    ours, chance = [], []
    for seed in (0, 2):
        task = AnalyticTask(samples, seed, seed)
        found = course(task, seed, engine(seed, library), 6)
        other = course(task, seed, make_peer("random", task.space, LIMIT, seed, 15), 15)
        ours.append(task.best_known - found.worth[0])
        chance.append(task.best_known - other.worth[1])
        assert found.bleaching[0] <= LIMIT * 1.1
    assert np.mean(ours) < 0.1 and np.mean(ours) < 0.5 * np.mean(chance)


@pytest.mark.slow
def test_a_misleading_library_costs_little(samples: Samples) -> None:
    """All its powers are wrong by a factor of three."""
    wrong = AnalyticLibrary(Samples.draw(150, 78).usable(), power=3.0)
    task = AnalyticTask(samples, 5, 5)
    misled, alone = (
        task.best_known - course(task, 5, made, 15).worth[1]
        for made in (engine(5, wrong), engine(5))
    )
    assert misled < alone + 0.1


@pytest.mark.slow
def test_now_and_then_it_looks_where_it_would_without_memory(
    samples: Samples, library: AnalyticLibrary
) -> None:
    task = AnalyticTask(samples, 2, 2)
    remembering, alone = engine(2, library), engine(2)
    same = []
    for number, point in enumerate(task.space.sobol(13, 5)):
        if number >= 7:
            same.append(remembering.ask() == alone.ask())
        for made in (remembering, alone):
            made.tell(point, task.measure(point, number))
    assert same == [False, True, False, False, False, True]


def test_ranking_keeps_a_hypothesis_whose_scale_is_wrong() -> None:
    """Feurer et al.: what counts is the order, not how close the values come."""
    rng = np.random.default_rng(3)
    true = np.linspace(0.1, 0.9, 12)
    expected = np.stack([0.2 + 0.1 * true, true[::-1], rng.permutation(true)])
    constant = np.full(12, 0.5)
    weights = ranking_weights(true, np.full(12, 0.02), expected, constant, seed=1)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.9
    # Where all are worse than a model without any, that model is left.
    alone = ranking_weights(true, np.full(12, 0.02), expected[1:], true + 0.01, seed=1)
    assert alone[-1] == pytest.approx(1)


@pytest.mark.slow
def test_the_engine_weighs_its_library_by_ranking_when_told_to(
    samples: Samples, library: AnalyticLibrary
) -> None:
    task = AnalyticTask(samples, 1, 1)
    by_ranking = engine(1, library, weighing="ranking")
    found = course(task, 1, by_ranking, 6)
    assert task.best_known - found.worth[0] < 0.2
    assert by_ranking.memory_share != course_share(task, library)


def course_share(task: AnalyticTask, library: AnalyticLibrary) -> float | None:
    """Memory's share after the same six trials, weighed by likelihood."""
    made = engine(1, library)
    course(task, 1, made, 6)
    return made.memory_share


@pytest.mark.slow
def test_memory_loses_weight_where_it_is_wrong() -> None:
    class Wrong:
        log_prior = np.log(np.full(2, 0.5))

        def expect(
            self, points: Sequence[Mapping[str, Value]], which: Sequence[int] | None = None
        ) -> tuple[np.ndarray, np.ndarray]:
            power = np.array([float(point["power"]) for point in points])
            found = np.stack([1 - power, (1 - power) ** 2])
            picked = found if which is None else found[which]
            return picked, np.full(picked.shape, 0.05)

    made = line(hypotheses=Wrong())
    shares = []
    for place in np.linspace(0, 1, 9):
        along(made, [place])
        shares.append(made.memory_share)
    assert shares[-1] is not None and shares[-1] < 0.01  # of 0.85 before the first trial
    assert 0.45 < float(made.recommend()["power"]) < 0.75


def along(made: StedfastOptimizer, at: Sequence[float], sd: float = 0.02) -> None:
    for place in at:
        score = float(np.exp(-(((place - 0.6) / 0.25) ** 2)))
        made.tell({"power": place}, Outcome(score, 0.4 * place, sd, bleaching_sd=0.005))


def line(**more: object) -> StedfastOptimizer:
    return StedfastOptimizer(Space(LINE, {}), bleaching_limit=0.3, seed=0, **more)


def test_recommendation_keeps_the_limit_even_where_the_score_is_higher_beyond() -> None:
    made = StedfastOptimizer(Space(LINE, {}), bleaching_limit=0.16, seed=0)
    along(made, np.linspace(0, 1, 11))
    best = float(made.recommend()["power"])
    assert 0.3 < best <= 0.4
    assert made.predict([{"power": best}]).allowed[0] >= 0.94
    assert made.predict([{"power": 0.6}]).allowed[0] < 0.05


def burning(place: float, sd: float = 0.005) -> Outcome:
    """The least that is possible bleaches 0.4, more light everything; and it looks ever better."""
    return Outcome(0.2 + 0.7 * place, 1 - 0.6 * np.exp(-4 * place), 0.03, bleaching_sd=sd)


@pytest.mark.slow
def test_where_nothing_keeps_the_limit_the_gentlest_is_tried_and_recommended() -> None:
    made, old = line(initial=4), line(initial=4, rules=FIRST)
    tried: dict[StedfastOptimizer, list[float]] = {made: [], old: []}
    for one, places in tried.items():
        for _ in range(8):
            places.append(float(one.ask()["power"]))
            one.tell({"power": places[-1]}, burning(places[-1]))
    assert tried[made][:4] == tried[old][:4], "both fill the space first"
    assert max(tried[made][4:]) < 0.1
    assert float(made.recommend()["power"]) < 0.05
    # What was decided before the rule had a number is decided so again.
    assert float(old.recommend()["power"]) > 0.8


def test_settings_more_likely_over_the_limit_than_within_never_beat_others() -> None:
    made = line()
    for place in (0.0, 0.1, 0.2, 0.5, 0.8, 1.0):
        # Hardly anything is to be seen within the limit of 0.3, and nearly all of it beyond.
        made.tell({"power": place}, Outcome(place, 0.29 + 0.7 * place, 0.03, bleaching_sd=0.02))
    best = made.recommend()
    assert made.predict([best]).allowed[0] >= 0.5


def test_bleaching_is_learned_from_frames_whose_score_is_doubtful() -> None:
    made = line(initial=20)
    tried = []
    for _ in range(10):
        tried.append(float(made.ask()["power"]))
        bleached = 0.02 if tried[-1] < 0.4 else 0.9
        made.tell({"power": tried[-1]}, Outcome(0.5, bleached, 0.05, ("saturated",)))
    assert max(tried[:3]) > 0.4, "it could not know yet"
    assert sum(place > 0.5 for place in tried[4:]) <= 1
    assert len(set(tried)) == 10, "settings whose frame said nothing were tried again"
    with pytest.raises(ValueError, match="nothing to recommend"):
        made.recommend()


def test_settings_that_saturate_the_detector_are_kept_from() -> None:
    bright, clear = line(saturation_limit=0.01), line()
    for made in (bright, clear):
        for place in np.linspace(0, 1, 11):
            score = float(np.exp(-(((place - 0.6) / 0.25) ** 2)))
            share = 0.2 if place > 0.45 else 0.0
            made.tell(
                {"power": place}, Outcome(score, 0.01, 0.02, bleaching_sd=0.005, saturation=share)
            )
    assert float(bright.recommend()["power"]) < 0.5 < float(clear.recommend()["power"])


def test_an_unsure_score_counts_for_less() -> None:
    sure, unsure = line(), line()
    for made, sd in ((sure, 0.02), (unsure, 0.5)):
        along(made, np.linspace(0, 1, 8))
        made.tell({"power": 0.1}, Outcome(1.2, 0.01, sd, bleaching_sd=0.005))
    assert sure.predict([{"power": 0.1}]).score[0] > unsure.predict([{"power": 0.1}]).score[0] + 0.3


@pytest.mark.parametrize("flag", ["smoothed", "unfamiliar"])
def test_a_search_whose_scores_are_all_in_doubt_is_not_blind(flag: str) -> None:
    """By earlier rules it was: what every frame of a microscope has kept it from learning."""
    heeding, sure, earlier = line(), line(), line(rules=SCALED)
    for place in np.linspace(0, 1, 9):
        score = float(np.exp(-(((place - 0.4) / 0.25) ** 2)))
        for made, flags in ((heeding, (flag,)), (earlier, (flag,)), (sure, ())):
            made.tell({"power": place}, Outcome(score, 0.01, 0.03, flags, 0.005))
    assert 0.2 < float(heeding.recommend()["power"]) < 0.6
    with pytest.raises(ValueError, match="nothing to recommend"):
        earlier.recommend()
    points = [{"power": place} for place in (0.1, 0.4, 0.9)]
    assert (heeding.predict(points).score_sd > 1.5 * sure.predict(points).score_sd).all()


def test_knowledge_gradient_prefers_to_measure_again_what_is_noisy_and_best() -> None:
    """Two independent points, the better one hardly known: a second look at it is worth most."""
    score = (np.array([0.6, 0.5, 0.1]), np.diag([0.04, 0.0001, 0.0001]))
    price = (np.full(3, -5.0), np.diag([1e-6] * 3))
    gains = expected_gains(
        lambda mean, log, sd: mean, score, price, np.full(3, 0.05), np.full(3, 0.1)
    )
    assert gains[0] > 0.02 and gains[1] < 0.2 * gains[0] and gains[2] < 1e-3


@pytest.mark.slow
def test_what_gave_nothing_is_not_asked_for_again(library: AnalyticLibrary) -> None:
    made = engine(0, library)
    asked = []
    for _ in range(4):
        settings = made.ask()
        asked.append(settings)
        made.tell(settings, Outcome(0.9, 0.0, 0.1, ("saturated",)))
    places = made.space.cube(asked)
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)[np.triu_indices(4, 1)]
    assert gaps.min() > 0.05
    made.tell_failed(made.ask())
    assert made.recommend().keys() == SETTINGS.keys()


def test_a_preference_and_a_picked_trade_off_move_the_recommendation() -> None:
    made = line()
    along(made, np.linspace(0, 1, 11))
    usual = float(made.recommend()["power"])
    made.prefer({"quality": 1.0, "bleaching": 8.0})
    assert float(made.recommend()["power"]) < usual - 0.05
    made.prefer({})
    made.pick({"power": 0.3})
    assert 0.2 < float(made.recommend()["power"]) < 0.36


def test_front_goes_from_gentle_to_good() -> None:
    made = line(goal="front")
    along(made, np.linspace(0, 1, 11))
    found = made.predict(made.front())
    assert 3 <= len(found.score) <= 12
    assert (np.diff(found.score) > 0).all() and (np.diff(found.bleaching) > 0).all()


def test_cheap_trials_come_first_where_both_would_teach_as_much() -> None:
    def seconds(settings: Mapping[str, Value]) -> float:
        return 100.0 if float(settings["power"]) > 0.5 else 1.0

    def asked(made: StedfastOptimizer) -> float:
        for place in (0.1, 0.9):
            made.tell({"power": place}, Outcome(0.3, 0.01, 0.02, bleaching_sd=0.005))
        return float(made.ask()["power"])

    assert asked(line(initial=0, seconds=seconds)) <= 0.5


@pytest.mark.slow
def test_same_told_same_asked(samples: Samples, library: AnalyticLibrary) -> None:
    """And a look at the recommendation in between changes nothing."""
    task, made, other = AnalyticTask(samples, 1, 1), engine(1, library), engine(1, library)
    for number in range(4):
        settings = made.ask()
        assert settings == other.ask()
        outcome = task.measure(settings, number)
        for each in (made, other):
            each.tell(settings, outcome)
        other.recommend()
        other.front()
    assert made.recommend() == other.recommend()


def test_the_light_that_is_left_decides_what_may_be_tried() -> None:
    made = line(affordable=lambda settings, tried: float(settings["power"]) < 1 - 0.2 * len(tried))
    for _ in range(4):
        settings = made.ask()
        made.tell(settings, Outcome(float(settings["power"]), 0.0, 0.02, bleaching_sd=0.005))
    assert float(made.ask()["power"]) < 0.2
