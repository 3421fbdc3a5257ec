"""Earlier runs as a memory of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.config import RunConfig, load
from agent.config.reading import UserError
from agent.optimizer.memory import Combined, Control, Library, Sessions, past_sessions
from agent.optimizer.outcome import Outcome
from agent.optimizer.space import Space
from agent.record.folder import write_config
from agent.record.ledger import Ledger
from devices.config import Value

CONFIG = Path(__file__).parents[2] / "configs" / "optimize.yaml"
CONTROLS = (
    Control("excitation_power", 1e-6),
    Control("depletion_power", 1e-3),
    Control("dwell_time", 1e-6),
    Control("line_accumulations"),
)


def run_folder(folder: Path, trials: int, config: RunConfig | None = None, **fault: Any) -> Path:
    """A run whose score was best at 5 µW and fell with the depletion power."""
    config = config or load(CONFIG)
    folder.mkdir()
    write_config(folder, config, {})
    ledger = Ledger(folder)
    space = run_space(config)
    for settings in space.sobol(trials, 1):
        objectives = world(settings).as_dict() | fault
        data = {"settings": settings, "objectives": objectives}
        ledger.add("note", {"topic": "trial", "data": data})
    failed = {"settings": settings, "objectives": None, "failed": "no score"}
    ledger.add("note", {"topic": "trial", "data": failed})
    ledger.close()
    return folder


def run_space(config: RunConfig) -> Space:
    return Space(
        {name: config.microscope.settings[name] for name in config.tuned()}, config.optimize.search
    )


def world(settings: Mapping[str, Value]) -> Outcome:
    power = np.log(float(settings["excitation_power"]) / 5)
    depletion = float(settings["depletion_power"]) / 350
    return Outcome(
        float(0.8 * np.exp(-(power**2)) * (1 - 0.5 * depletion)),
        float(0.05 + 0.3 * depletion),
        0.03,
        bleaching_sd=0.01,
    )


class TestEarlierRuns:
    def test_expect_what_was_measured(self, tmp_path: Path) -> None:
        space = run_space(load(CONFIG))
        found = past_sessions([run_folder(tmp_path / "a", 32)], space)
        assert found is not None and np.exp(found.log_prior) == pytest.approx([1.0])
        points = space.sobol(64, 9)
        quality, bleaching = found.expect(points)
        true = [world(settings) for settings in points]
        score = np.array([outcome.score for outcome in true])
        assert np.sqrt(np.mean((quality[0] - score) ** 2)) < 0.4 * score.std()
        lost = np.array([outcome.bleaching for outcome in true])
        assert np.sqrt(np.mean((bleaching[0] - lost) ** 2)) < 0.2 * lost.std()

    def test_none_without_folders(self) -> None:
        assert past_sessions([], run_space(load(CONFIG))) is None

    def test_a_run_of_a_wider_space_counts(self, tmp_path: Path) -> None:
        folder = run_folder(tmp_path / "a", 16)
        narrow = run_space(load(CONFIG, ["optimize.search.excitation_power=[4, 6]"]))
        found = past_sessions([folder], narrow)
        assert found is not None
        quality, _ = found.expect(narrow.sobol(4, 0))
        assert np.isfinite(quality).all() and quality.min() > 0.25

    def test_powers_then_become_powers_now(self, tmp_path: Path) -> None:
        folder = run_folder(tmp_path / "a", 16)
        space = run_space(load(CONFIG))
        now = {
            **space.settings,
            "excitation_power": space.settings["excitation_power"].model_copy(
                update={"unit": "%", "watts_per_unit": 2e-6}
            ),
        }
        low, high = (float(edge) for edge in space.search["excitation_power"])
        halved = Space(now, {**space.search, "excitation_power": (low / 2, high / 2)})
        points = space.sobol(16, 3)
        in_percent = [{**p, "excitation_power": float(p["excitation_power"]) / 2} for p in points]
        before, after = past_sessions([folder], space), past_sessions([folder], halved)
        assert before is not None and after is not None
        assert after.expect(in_percent)[0] == pytest.approx(before.expect(points)[0], abs=1e-6)

    def test_what_does_not_fit_is_named(self, tmp_path: Path) -> None:
        config = load(CONFIG)
        space = run_space(config)
        few = run_folder(tmp_path / "few", 4)
        with pytest.raises(UserError, match=r"few: 4 usable trials; .* at least 5"):
            past_sessions([few], space)
        doubted = run_folder(tmp_path / "doubted", 8, flags=["unknown"])
        with pytest.raises(UserError, match="doubted: 0 usable trials"):
            past_sessions([doubted], space)
        with pytest.raises(UserError, match="not a run folder"):
            past_sessions([tmp_path], space)
        less = Space({"dwell_time": space.settings["dwell_time"]}, {})
        with pytest.raises(UserError, match=r"few: tuned excitation_power, .*accepted.*dwell"):
            past_sessions([few], less)
        slower = {
            **space.settings,
            "dwell_time": space.settings["dwell_time"].model_copy(update={"unit": "ms"}),
        }
        with pytest.raises(UserError, match="`dwell_time` in µs; accepted: ms"):
            past_sessions([few], Space(slower, space.search))


@pytest.mark.slow
def test_combined_memories_answer_each_for_itself(tmp_path: Path) -> None:
    space = run_space(load(CONFIG))
    past = past_sessions([run_folder(tmp_path / "a", 8), run_folder(tmp_path / "b", 12)], space)
    assert past is not None
    library = Library(Sessions.read(), CONTROLS)
    both = Combined([library, past], [1, 3])
    prior = np.exp(both.log_prior)
    assert prior.sum() == pytest.approx(1)
    assert prior[-2:] == pytest.approx([0.375, 0.375])
    points = space.sobol(8, 0)
    end = len(library)
    which = [end + 1, 2, end, 0]
    found, whole = both.expect(points, which), both.expect(points)
    for part in (0, 1):
        assert found[part] == pytest.approx(whole[part][which])
        assert whole[part][:end] == pytest.approx(library.expect(points)[part])
        assert whole[part][end:] == pytest.approx(past.expect(points)[part])
    with pytest.raises(ValueError, match="weight above 0"):
        Combined([library, past], [1, 0])
