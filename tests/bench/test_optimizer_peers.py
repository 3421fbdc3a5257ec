"""The other engines: BoTorch's, and the peers of the benchmark."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from agent.bench.optimizer.lin_ts import LinTSDiag
from agent.bench.optimizer.peers import PEERS, make_peer
from agent.bench.optimizer.thompson import FixedThompson
from agent.optimizer.base import BaseEngine, merit
from agent.optimizer.baselines import RandomSearch
from agent.optimizer.botorch import BotorchOptimizer
from agent.optimizer.fronts import non_dominated, spread_out
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from devices.config import SettingConfig

LIMIT = 0.25
SETTINGS = {
    "power": SettingConfig(device="L", property="P", range=(0.1, 100), scale="log", start=1),
    "dwell": SettingConfig(device="S", property="D", range=(1, 50), start=10),
    "lines": SettingConfig(device="S", property="L", kind="integer", range=(1, 8), start=1),
    "filter": SettingConfig(
        device="F", property="Label", kind="choice", choices=("red", "far red", "none"), start="red"
    ),
}
PLANE = {name: SETTINGS[name] for name in ("power", "dwell")}
SHARE = {"red": 1.0, "far red": 0.7, "none": 0.2}


def world(settings: Settings, rng: np.random.Generator | None = None) -> Outcome:
    """Best near power 6 and half the longest dwell, in red; power and lines bleach."""
    power = np.log10(float(settings["power"]))
    dwell = float(settings["dwell"]) / 50
    lines = float(settings.get("lines", 4)) / 8
    score = np.exp(-((power - 0.8) ** 2) - (dwell - 0.5) ** 2 / 0.15)
    score *= SHARE[str(settings.get("filter", "red"))] * (0.7 + 0.3 * lines)
    bleached = 0.06 * 10 ** (0.5 * power) * (0.5 + lines)
    if rng is not None:
        score, bleached = score + rng.normal(0, 0.01), bleached + rng.normal(0, 0.005)
    return Outcome(float(score), float(bleached))


def botorch(seed: int, space: Space, **options: Any) -> BotorchOptimizer:
    pytest.importorskip("botorch")
    return BotorchOptimizer(space, bleaching_limit=LIMIT, initial=8, seed=seed, **options)


ENGINES: dict[str, Callable[[int, Space], BaseEngine]] = {
    "fixed kernel": lambda seed, space: FixedThompson(
        space, bleaching_limit=LIMIT, initial=8, seed=seed
    ),
    "LinTSDiag": lambda seed, space: LinTSDiag(space, bleaching_limit=LIMIT, initial=8, seed=seed),
    "qLogNEI": botorch,
    "qLogNEI of merit": lambda seed, space: botorch(seed, space, constrained=False),
    "qLogNEHVI": lambda seed, space: botorch(seed, space, acquisition="qLogNEHVI"),
    "LogEI": lambda seed, space: botorch(seed, space, acquisition="LogEI"),
    "thompson": lambda seed, space: botorch(seed, space, acquisition="thompson"),
}


def session(engine: BaseEngine, trials: int) -> list[Settings]:
    rng, asked = np.random.default_rng(engine.seed), []
    for _ in range(trials):
        asked.append(engine.ask())
        engine.tell(asked[-1], world(asked[-1], rng))
    return asked


def short(asked: list[Settings]) -> float:
    """How much the best of these lacks, in true merit, of the best of the plane."""
    best = max(merit(world(settings), LIMIT) for settings in asked)
    return best_of_plane() - best


@cache
def best_of_plane() -> float:
    return max(merit(world(point), LIMIT) for point in Space(PLANE, {}).sobol(16384, 0))


@cache
def by_chance(trials: int) -> np.floating[Any]:
    """`short` of that many trials at random."""
    space = Space(PLANE, {})
    engines = (RandomSearch(space, bleaching_limit=LIMIT, seed=seed) for seed in range(40))
    return np.mean([short(session(engine, trials)) for engine in engines])


def restricted_session(engine: BaseEngine) -> list[Settings]:
    """Two suggestions of the model, the second in a narrower space."""
    asked = session(engine, 9)
    engine.restrict({"power": [0.1, 2.0], "lines": [2, 4], "filter": ["far red", "none"]})
    return [*asked, engine.ask()]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_settings_are_plain_values_within_the_space_and_repeat_with_the_seed(name: str) -> None:
    first, again = (restricted_session(ENGINES[name](3, Space(SETTINGS, {}))) for _ in range(2))
    assert first == again
    assert first[0] != ENGINES[name](4, Space(SETTINGS, {})).ask()
    for settings in first:
        assert json.loads(json.dumps(settings)) == settings
        assert [type(settings[name]) for name in SETTINGS] == [float, float, int, str]
        for setting, value in settings.items():
            assert SETTINGS[setting].refusal(value) is None
    assert float(first[-1]["power"]) <= 2.0
    assert 2 <= int(first[-1]["lines"]) <= 4
    assert first[-1]["filter"] in ("far red", "none")


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_a_failed_or_doubtful_trial_is_not_asked_for_again_at_once(name: str) -> None:
    engine = ENGINES[name](0, Space(PLANE, {}))
    session(engine, 8)
    failed = engine.ask()
    engine.tell_failed(failed)
    doubtful = engine.ask()
    engine.tell(doubtful, Outcome(0.9, 0.0, flags=("saturated",)))
    places = engine.space.cube([failed, doubtful, engine.ask()])
    gaps = [np.abs(places[a] - places[b]).max() for a, b in ((0, 1), (0, 2), (1, 2))]
    assert min(gaps) > 0.001
    assert len(engine.told) == 8
    assert engine.recommend() in [settings for settings, _ in engine.told]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_a_model_beats_random_search(name: str) -> None:
    # An engine that acts on one sample of its posterior is slower, and sometimes far off.
    trials = 11 if "EI" in name or name == "qLogNEHVI" else 14
    found = [short(session(ENGINES[name](seed, Space(PLANE, {})), trials)) for seed in range(3)]
    assert np.mean(found) < 0.75 * by_chance(trials)


@pytest.mark.slow
def test_a_choice_of_many_is_searched_too() -> None:
    many = SettingConfig(
        device="F", property="W", kind="choice", choices=tuple("abcdefghijkl"), start="a"
    )
    engine = botorch(0, Space({"filter": SETTINGS["filter"], "wheel": many}, {}))
    for _ in range(11):
        settings = engine.ask()
        engine.tell(settings, Outcome(SHARE[str(settings["filter"])], 0.1))
    assert engine.recommend()["filter"] == "red"


@pytest.mark.slow
def test_front_is_non_dominated_and_spread_out() -> None:
    engine = botorch(0, Space(PLANE, {}), acquisition="qLogNEHVI")
    session(engine, 8)
    front = engine.front()
    score, bleached = engine.predicted(front)
    assert 6 <= len(front) <= 12
    assert (np.diff(bleached) > 0).all()
    assert (np.diff(score) > 0).all()
    # Nothing tried is believed to be better than all of it.
    tried_score, tried_bleached = engine.predicted([settings for settings, _ in engine.told])
    for at in range(len(tried_score)):
        cheaper = bleached[-1] if tried_score[at] > score[-1] else np.inf
        assert tried_bleached[at] >= min(bleached[0], cheaper) - 1e-9
    assert len(engine.front(count=3)) <= 3


def test_non_dominated_and_spread_out() -> None:
    score = np.array([0.1, 0.5, 0.4, 0.9, 0.5])
    bleached = np.array([0.1, 0.3, 0.4, 0.8, 0.2])
    assert non_dominated(score, bleached) == [0, 4, 3]
    line = np.linspace(0, 1, 101)
    assert spread_out(list(range(101)), line, line, 5) == [0, 25, 50, 75, 100]


def test_nothing_is_printed_and_torch_is_left_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    import torch

    engine = botorch(0, Space(PLANE, {}))
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        session(engine, 9)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert capfd.readouterr() == ("", "")


def test_without_the_extra_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botorch", None)
    with pytest.raises(ValueError, match=r"botorch: is not installed: .*pip install .*botorch"):
        BotorchOptimizer(Space(PLANE, {}), bleaching_limit=LIMIT, initial=8, seed=0)


def test_every_peer_is_made() -> None:
    pytest.importorskip("botorch")
    for name in PEERS:
        peer = make_peer(name, Space(SETTINGS, {}), LIMIT, 0, 20)
        assert peer.space.contains(peer.ask())
    with pytest.raises(ValueError, match="no peer 'best'"):
        make_peer("best", Space(SETTINGS, {}), LIMIT, 0, 20)
