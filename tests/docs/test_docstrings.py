"""Examples in docstrings do what they say."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = [
    "agent.optimizer.base",
    "agent.optimizer.baselines",
    "agent.optimizer.objectives.bleaching",
    "agent.optimizer.objectives.saturation",
    "agent.optimizer.objectives.signal",
    "agent.optimizer.outcome",
    "agent.optimizer.space",
    "agent.plan",
    "agent.plans.live",
    "devices.fields",
    "devices.shot",
    "models.interpolation.interpolate",
    "models.quality.scorer",
    "models.restoration.engine",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_do_what_they_say(name: str) -> None:
    found = doctest.testmod(import_module(name), verbose=False)
    assert found.attempted > 0, "it has no example"
    assert found.failed == 0
