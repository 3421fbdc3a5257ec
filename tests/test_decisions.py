"""Objectives and optimizer."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agent.objectives import bleaching
from agent.optimizer import Outcome, SkoptOptimizer
from devices.config import SettingConfig


def scene(rng: np.random.Generator, counts: float) -> np.ndarray:
    """Expected counts of some blobs."""
    rows, cols = np.mgrid[:128, :128]
    image = np.zeros((128, 128))
    for y, x in rng.uniform(10, 118, (15, 2)):
        image += np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / 2 / 4**2)
    return counts * image / image.max()


@pytest.mark.parametrize("counts", [1.5, 4, 20])
@pytest.mark.parametrize("background", [0.0, 1.0])
def test_bleaching_is_unbiased_when_nothing_bleached(counts: float, background: float) -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        mean = scene(rng, counts) + background
        found.append(bleaching(rng.poisson(mean), rng.poisson(mean)))
    standard_error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 0.01 + 2 * standard_error
    assert abs(np.mean(found)) < 0.05


@pytest.mark.parametrize("true", [0.1, 0.3, 0.7])
def test_bleaching_finds_what_bleached(true: float) -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(20):
        signal = scene(rng, 15)
        found.append(bleaching(rng.poisson(signal + 1), rng.poisson(signal * (1 - true) + 1)))
    assert np.mean(found) == pytest.approx(true, abs=0.03)


def test_bleaching_of_an_empty_field_is_zero() -> None:
    assert bleaching(np.zeros((32, 32), np.uint16), np.zeros((32, 32), np.uint16)) == 0


def test_bleaching_of_different_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        bleaching(np.zeros((32, 32)), np.zeros((32, 31)))


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
    return SkoptOptimizer(SPACE, {}, bleaching_limit=limit, initial=8, seed=seed)


def session(
    seed: int, trials: int = 20
) -> tuple[list[dict[str, float | int | str]], SkoptOptimizer]:
    engine, rng, asked = optimizer(seed), np.random.default_rng(seed), []
    for _ in range(trials):
        settings = engine.ask()
        asked.append(settings)
        engine.tell(settings, world(settings, rng))
    return asked, engine


def test_settings_are_plain_python_values_within_the_space() -> None:
    asked, _ = session(3, 14)
    for settings in asked:
        assert json.loads(json.dumps(settings)) == settings
        assert [type(settings[name]) for name in SPACE] == [float, float, int, str]
        for name, value in settings.items():
            assert SPACE[name].refusal(value) is None


def test_same_seed_same_suggestions() -> None:
    assert session(5, 12)[0] == session(5, 12)[0]
    assert session(5, 9)[0] != session(6, 9)[0]


def test_recommendation_is_good_and_within_the_limit() -> None:
    quiet = np.random.default_rng(0)
    good = 0
    for seed in range(4):
        asked, engine = session(seed, 16)
        best = engine.recommend()
        assert best in asked
        outcome = world(best, quiet)
        first = np.mean([world(settings, quiet).score for settings in asked[:8]])
        good += outcome.score > first and outcome.bleaching < 0.27
    assert good >= 3


def test_when_nothing_is_within_the_limit_the_gentlest_is_recommended() -> None:
    engine = optimizer(0, limit=1e-6)
    for _ in range(8):
        settings = engine.ask()
        engine.tell(settings, Outcome(0.5, float(settings["lines"]) / 10))  # type: ignore[arg-type]  # plain number
    lines = engine.recommend()["lines"]
    assert isinstance(lines, int) and lines <= 3


def test_a_failed_trial_is_not_suggested_again() -> None:
    engine = optimizer(0)
    first = engine.ask()
    engine.tell_failed(first)
    assert engine.ask() != first
    with pytest.raises(ValueError, match="nothing to recommend"):
        engine.recommend()


def test_search_narrows_the_space() -> None:
    engine = SkoptOptimizer(
        SPACE,
        {"power": (1.0, 2.0), "filter": ("red",)},
        bleaching_limit=0.2,
        initial=8,
        seed=0,
    )
    for _ in range(10):
        settings = engine.ask()
        assert 1 <= float(settings["power"]) <= 2 and settings["filter"] == "red"
        engine.tell(settings, Outcome(0.5, 0.1))
