"""What an engine says it believes, checked against a world that is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.optimizer.explain import (
    Believer,
    explain,
    importance,
    marginal_effects,
    pareto,
    why,
)
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from agent.optimizer.stedfast import FLOOR, Prediction, StedfastOptimizer
from agent.record.ledger import Ledger
from devices.config import SettingConfig, Value

LIMIT = 0.25
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


def world(settings: Mapping[str, Value]) -> Outcome:
    """Best at power 10, in red, with many lines; lines and power bleach, dwell does nothing."""
    power = np.log10(float(settings["power"]))
    score = 0.8 * np.exp(-((power - 1) ** 2)) * (1 if settings["filter"] == "red" else 0.7)
    score *= 0.8 + 0.2 * int(settings["lines"]) / 8
    bleached = 0.02 * int(settings["lines"]) * 10 ** (0.5 * power)
    return Outcome(float(score), float(min(bleached, 1.0)), 0.01, bleaching_sd=0.005)


@pytest.fixture(scope="module")
def engine() -> StedfastOptimizer:
    space = Space(SPACE, {})
    made = StedfastOptimizer(space, bleaching_limit=LIMIT, seed=0)
    for settings in space.sobol(15, 4):
        made.tell(settings, world(settings))
    return made


class Known:
    """An engine that believes in a function, and is sure of it."""

    def __init__(self, space: Space) -> None:
        self.space = space

    def predict(self, points: Sequence[Mapping[str, Value]]) -> Prediction:
        # Ishigami's function, of which the indices are known; bleaching is a product of two.
        x = np.array([[float(point[name]) for name in "abc"] for point in points])
        score = np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0])
        same = np.zeros(len(points))
        return Prediction(score, same, np.exp(x[:, 1] * x[:, 2]) - FLOOR, same + 1)

    def recommend(self) -> Settings:
        return {"a": 1.0, "b": 1.0, "c": 1.0}

    def front(self) -> list[Settings]:
        return []


def known() -> Known:
    setting = SettingConfig(device="D", property="P", range=(-np.pi, np.pi), start=0)
    return Known(Space(dict.fromkeys("abc", setting), {}))


@pytest.mark.slow
def test_indices_are_those_of_a_function_whose_indices_are_known() -> None:
    found = importance(known(), count=2048)
    firsts = [found[name].score.first for name in "abc"]
    totals = [found[name].score.total for name in "abc"]
    assert firsts == pytest.approx([0.314, 0.442, 0.0], abs=0.05)
    assert totals == pytest.approx([0.558, 0.442, 0.244], abs=0.05)
    # A product of two centred factors is nothing but interaction.
    assert found["a"].bleaching.total == pytest.approx(0, abs=1e-12)
    for name in "bc":
        assert found[name].bleaching.first == pytest.approx(0, abs=0.1)
        assert found[name].bleaching.total == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_where_nothing_varies_nothing_matters() -> None:
    engine = known()
    engine.space.restrict(dict.fromkeys("abc", (1.0, 1.0)))
    assert all(
        part.score.total == part.score.first == part.bleaching.total == 0
        for part in importance(engine, count=64).values()
    )
    effects = marginal_effects(engine, engine.recommend())
    assert [effect.values for effect in effects.values()] == [[1.0]] * 3
    assert "No setting is known to matter" in why(engine, engine.recommend())[-1]


@pytest.mark.slow
def test_what_matters_is_told_from_what_does_not(engine: StedfastOptimizer) -> None:
    found = importance(engine)
    assert max(found, key=lambda name: found[name].score.total) == "power"
    assert max(found, key=lambda name: found[name].bleaching.total) in ("power", "lines")
    assert found["dwell"].score.total < 0.1 and found["dwell"].bleaching.total < 0.1
    for shares in ([p.score for p in found.values()], [p.bleaching for p in found.values()]):
        assert all(0 <= share.first <= share.total <= 1 for share in shares)
        assert sum(share.first for share in shares) < 1.1
        assert sum(share.total for share in shares) > 0.9
    assert importance(engine) == found


@pytest.mark.slow
def test_effects_peak_where_the_best_settings_are(engine: StedfastOptimizer) -> None:
    at: Settings = {"power": 5.0, "dwell": 20.0, "lines": 4, "filter": "red"}
    effects = marginal_effects(engine, at, count=21)
    assert list(effects) == list(SPACE)
    for curve in (effects["power"].score, effects["power"].average_score):
        peak = effects["power"].values[int(np.argmax(curve))]
        assert abs(np.log10(float(peak)) - 1) < 0.4
    assert effects["lines"].values == list(range(1, 9))
    assert effects["filter"].values == ["red", "far red"]
    assert effects["filter"].score[0] > effects["filter"].score[1]
    power = effects["power"]
    assert power.values[0] == 0.1 and power.values[-1] == 100 and len(power.values) == 21
    assert power.bleaching[-1] > power.bleaching[0] and power.allowed[-1] < power.allowed[0]
    assert power.average_bleaching[-1] > power.average_bleaching[0]
    assert min(power.score_sd) > 0
    assert np.ptp(effects["dwell"].score) < 0.3 * np.ptp(power.score)


def test_effects_stay_within_what_is_allowed_now() -> None:
    engine = known()
    engine.space.restrict({"a": (0.5, 2.0)})
    values = marginal_effects(engine, engine.recommend(), count=5, averaged=16)["a"].values
    assert values == pytest.approx([0.5, 0.875, 1.25, 1.625, 2.0])


def test_front_is_a_front_within_the_space(engine: StedfastOptimizer) -> None:
    front = pareto(engine)
    assert len(front) > 2
    assert all(engine.space.contains(point.settings) for point in front)
    for one in front:
        assert not any(
            other.score > one.score and other.bleaching < one.bleaching for other in front
        )
        again = engine.predict([one.settings])
        assert (one.score, one.allowed) == pytest.approx((again.score[0], again.allowed[0]))


@pytest.mark.slow
def test_why_tells_what_each_setting_would_do(engine: StedfastOptimizer) -> None:
    best: Settings = {"power": 8.0, "dwell": 40.0, "lines": 4, "filter": "red"}
    first, power, dwell, lines, choice, most = why(engine, best)
    score = float(engine.predict([best]).score[0])
    assert f"score {score:.2f} ±" in first and "limit is kept" in first
    assert "Power 8 mW: at half of it, 4 mW: score −0." in power
    assert "twice as much, 16 mW" in power and "over the limit" in power
    assert "at half of it, 20" in dwell and "at the most that is allowed, 50" in dwell
    assert "if 3:" in lines and "if 5:" in lines
    assert "Filter red: if far red: score −0." in choice
    assert most.startswith("Power matters most to the score")

    class Remembers(StedfastOptimizer):
        memory_share = 0.64

    assert "memory" not in " ".join(why(engine, best))
    recalled = Remembers(engine.space, bleaching_limit=LIMIT, seed=0)
    for settings in engine.space.sobol(6, 4):
        recalled.tell(settings, world(settings))
    assert "64 % of this belief rests on earlier or simulated sessions" in why(recalled, best)[-1]


@pytest.mark.slow
def test_why_says_nothing_twice_of_a_setting_that_is_fixed(engine: StedfastOptimizer) -> None:
    name = next(n for n, s in engine.space.settings.items() if s.kind == "integer")
    best = engine.recommend()
    try:
        for fixed in (best[name], int(best[name]) + 1):
            engine.restrict({name: [fixed, fixed]})
            sentences = [line for line in why(engine, best) if line.lower().startswith(name[:4])]
            for line in sentences:
                assert line.count("at the") <= 1, line
    finally:
        engine.restrict({})


@pytest.mark.slow
def test_explanation_is_small_plain_data(engine: StedfastOptimizer, tmp_path: Path) -> None:
    data = explain(engine)
    assert data is not None
    written = json.dumps(data, allow_nan=False)
    assert json.loads(written) == data and len(written) < 20_000
    assert set(data) == {"at", "predicted", "effects", "importance", "front", "why"}
    assert data["at"] == engine.recommend()
    assert explain(engine, data["at"]) == data, "asking changes nothing"
    ledger = Ledger(tmp_path)
    ledger.add("note", {"topic": "belief", "data": data})
    ledger.close()

    many = {f"setting_number_{i}": SPACE["power"] for i in range(16)}
    space = Space(many, {})
    large = StedfastOptimizer(space, bleaching_limit=LIMIT, seed=0)
    for settings in space.sobol(4, 1):
        large.tell(settings, Outcome(0.3, 0.1, 0.02))
    assert len(json.dumps(explain(large))) < 20_000


def test_an_engine_without_a_belief_explains_nothing() -> None:
    class Blind:
        def ask(self) -> dict[str, Any]:
            return {}

    assert explain(Blind()) is None
    assert isinstance(known(), Believer)
    with pytest.raises(ValueError, match="nothing to recommend"):
        explain(StedfastOptimizer(Space(SPACE, {}), bleaching_limit=LIMIT, seed=0))
