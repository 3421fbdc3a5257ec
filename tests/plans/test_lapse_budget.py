"""An adaptive time-lapse under a light budget: its last time point is taken, whatever it audits."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agent.config.plans import TimelapseConfig
from agent.plan import Answer, Due, Frame, Late, Note, Rebuild, Rebuilt
from agent.plans.adaptive.adaptive_schedule import AdaptiveGaps
from agent.plans.adaptive.drift_tracking import DriftTracker
from agent.plans.adaptive.light_budget import LightBudget
from agent.plans.adaptive.schedule import Rules
from agent.plans.timelapse import skipping
from devices.affine import Affine
from devices.shot import Field, Shot
from models.quality.score import Score

MOST = 4
"""Largest gap."""


def taken(
    points: int, fields: int, budget: int, seed: int, afforded: bool = True
) -> list[list[int]]:
    """Time points taken of each field, until the budget of so many frames is spent."""
    rng = np.random.default_rng(seed)
    truth = 4.0 + 30.0 * rng.random((fields, 16, 16)) ** 4
    light = LightBudget(lambda s, p: {"STED": 1.0}, {"STED": budget + 0.5}, {}, fields)
    straight = Affine.square(pixel_um=0.02)
    rules = Rules(points, MOST, drift="off", audit_every=1, afforded=afforded)
    lapses = [
        AdaptiveGaps(DriftTracker(Field(n, 0.0, 0.0), straight, reach_um=1.0), rules)
        for n in range(fields)
    ]
    plan = skipping(TimelapseConfig(frames=points, interval_s=0), lapses, light)
    found: list[list[int]] = [[] for _ in range(fields)]
    answer: Answer = None
    frames = 0
    while True:
        try:
            step = plan.send(answer)
        except StopIteration:
            return found
        answer = None
        if isinstance(step, Due):
            answer = Late()
        elif isinstance(step, Shot):
            if frames == budget:
                return found
            assert step.field is not None
            where = step.field.index
            point = int(step.purpose.removesuffix(", audit").split()[-1])
            found[where].append(point)
            pixels = rng.poisson(truth[where])
            answer = Frame(frames, step, {}, pixels, 0.0, lambda: Score(0.5, sd=0.1))
            frames += 1
        elif isinstance(step, Rebuild):
            # Easily rebuilt here, hardly there: gaps grow and shrink.
            unsure = rng.choice([0.02, 0.02, 0.02, 0.6])
            wanted = len(step.points) + len(step.audits)
            errors = tuple((unsure**2, unsure**2 / 5) for _ in step.audits)
            answer = Rebuilt((unsure,) * wanted, errors)
        else:
            assert isinstance(step, Note)


def least(points: int, fields: int) -> int:
    """Frames without which the last time points cannot be had."""
    return fields * (1 + math.ceil((points - 1) / MOST))


@pytest.mark.slow
@pytest.mark.parametrize("fields", [1, 3])
def test_the_last_time_point_is_taken_if_there_is_light_for_the_largest_gaps(fields: int) -> None:
    for seed in range(12):
        points = 10 + seed
        fewest = least(points, fields)
        for budget in range(fewest, fewest + 3 * fields + 1, fields):
            found = taken(points, fields, budget, seed)
            assert [one[-1] for one in found] == [points - 1] * fields, (seed, budget, found)


def test_light_that_is_left_goes_to_audits() -> None:
    """So that what is rebuilt is compared with frames, as without a budget."""
    plenty = taken(21, 1, 1000, seed=3)
    assert taken(21, 1, len(plenty[0]) + 4, seed=3) == plenty


def test_a_run_of_an_earlier_version_audits_as_it_did() -> None:
    """It could spend the light for its last time point, and is resumed and replayed with that."""
    short = [
        taken(points, 1, least(points, 1), points - 10, afforded=False)[0][-1] < points - 1
        for points in range(10, 22)
    ]
    assert any(short)
