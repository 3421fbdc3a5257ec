"""Each plan's section of the config answers for its plan; no other module asks which plan it is."""

from __future__ import annotations

import ast
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import agent
from agent.config import RunConfig
from agent.plan import Due, Frame, Late, Listen, Note
from agent.plans.build import build_plan
from devices.shot import Shot
from models.quality.score import Score
from tests.helpers.searches import config_data_of_a_run

PIXELS = np.full((16, 16), 3, np.uint16)
PLANS: dict[str, dict[str, Any]] = {
    "live": {"plan": "live", "live": {"frames": 3, "interval_s": 2.0}},
    "optimize": {"plan": "optimize"},
    "timelapse": {
        "plan": "timelapse",
        "timelapse": {"frames": 4, "fields": 2, "interval_s": 5.0},
    },
}


def config_of(plan: str) -> RunConfig:
    data = config_data_of_a_run()
    search = data["optimize"] | {"engine": "sobol", "library": False}
    return RunConfig.model_validate(data | {"optimize": search} | PLANS[plan])


def led(config: RunConfig) -> list[Shot]:
    """Everything that a plan asks for, each frame scored alike."""
    plan, shots = build_plan(config), []
    answer: Any = None
    while True:
        try:
            step = plan.send(answer)
        except StopIteration:
            return shots
        answer = None
        if isinstance(step, Shot):
            number = len(shots)
            shots.append(step)
            settings = {**config.microscope.start(), **step.settings}
            answer = Frame(number, step, settings, PIXELS, float(number), lambda: Score(0.5, 0.1))
        elif isinstance(step, Listen):
            answer = ()
        elif isinstance(step, Due):
            answer = Late()
        else:
            assert isinstance(step, Note)


@pytest.mark.parametrize("plan", PLANS)
def test_section_answers_as_its_plan_does(plan: str) -> None:
    config = config_of(plan)
    section, shots = config.section, led(config)
    assert section is getattr(config, plan)
    assert len(shots) == section.planned_frames() == section.fewest_frames()
    share = len(shots) / len(section.modes())
    modes = Counter({mode: round(share * n) for mode, n in Counter(section.modes()).items()})
    assert Counter(shot.mode for shot in shots) == modes
    fields = [shot.field.index for shot in shots if shot.field is not None]
    assert section.moves() == bool(fields)
    visits = Counter(fields)
    assert section.fewest_frames_of_a_field() == (min(visits.values()) if visits else None)
    left = [new for old, new in pairwise(fields) if new != old]
    assert not fields or section.returns() == (len(left) >= len(visits))
    assert section.waits_s() == max(shot.at_s or 0.0 for shot in shots)
    assert section.listens() == bool(section.adjustable(config.microscope))


@pytest.mark.slow
def test_only_the_config_compares_the_plan_with_a_name() -> None:
    found = []
    for file in Path(agent.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            if any(isinstance(side, ast.Attribute) and side.attr == "plan" for side in sides):
                found.append(f"{file}:{node.lineno}")
    assert found == []
