"""From a config to an engine: memory, light, and what cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.optimizer.baselines import RandomSearch, SobolSearch
from agent.optimizer.build import make_optimizer
from agent.optimizer.outcome import Outcome
from agent.optimizer.skopt import SkoptOptimizer
from agent.optimizer.stedfast import StedfastOptimizer

CONFIG = Path(__file__).parents[2] / "configs" / "optimize.yaml"
GENTLE: dict[str, Any] = {
    "excitation_power": 2.0,
    "depletion_power": 100.0,
    "dwell_time": 5.0,
    "line_accumulations": 1,
}


@pytest.mark.parametrize(
    ("engine", "kind"),
    [
        ("stedfast", StedfastOptimizer),
        ("skopt", SkoptOptimizer),
        ("sobol", SobolSearch),
        ("random", RandomSearch),
    ],
)
def test_the_config_names_the_engine(engine: str, kind: type) -> None:
    made = make_optimizer(load(CONFIG, [f"optimize.engine={engine}"]))
    assert type(made) is kind
    assert made.ask().keys() == GENTLE.keys()


def test_library_is_used_unless_it_is_declined() -> None:
    with_it = make_optimizer(load(CONFIG))
    without = make_optimizer(load(CONFIG, ["optimize.library=false"]))
    assert isinstance(with_it, StedfastOptimizer) and isinstance(without, StedfastOptimizer)
    assert with_it.memory_share is not None and without.memory_share is None


def test_a_trial_that_the_budget_has_no_light_for_is_not_asked_for() -> None:
    """0.5 J of depletion: after one trial of 0.025 J, what costs more than 0.08 J is left alone."""
    frame = 224 * 224 * 5e-6 * 0.1

    def asked(joules: float) -> float:
        made = make_optimizer(
            load(CONFIG, [f"dose.budget_J={{depletion: {joules}}}", "optimize.library=false"])
        )
        outcome = Outcome(0.4, 0.05, 0.05, bleaching_sd=0.01, time_s=frame / 0.1)
        for _ in range(6):
            made.tell(GENTLE, outcome)
        settings = made.ask()
        return (
            float(settings["depletion_power"])
            * float(settings["dwell_time"])
            * float(settings["line_accumulations"])
        )

    assert asked(0.5) * 1e-9 * 224 * 224 <= (0.5 - 6 * frame) / 5
    assert asked(100.0) > 0
