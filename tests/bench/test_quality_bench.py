"""`bench quality`: what its figures count."""

from __future__ import annotations

import numpy as np
import pytest

from agent.bench import quality
from agent.bench.quality.sampling import CHANGES, ExpectedImage, after_changes, by_pixel_size
from models.quality import QualityScorer
from tests.helpers.filaments import filaments

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scenes() -> list[ExpectedImage]:
    return [ExpectedImage(2 * (filaments(seed, 10.0) + 0.1)) for seed in range(2)]


@pytest.mark.slow
def test_a_scene_has_the_same_light_at_every_pixel_size(scenes: list[ExpectedImage]) -> None:
    frames = {size: scenes[0].frame(size, (1,)) for size in (10.0, 15.0, 20.0, 30.0)}
    photons = {size: frame.mean() / size**2 for size, frame in frames.items()}
    assert list(photons.values()) == pytest.approx([photons[10.0]] * 4, rel=0.02)
    assert frames[30.0].shape == (149, 149)


@pytest.mark.slow
def test_scans_are_compared_with_the_score_of_the_same_sample(scenes: list[ExpectedImage]) -> None:
    scorer = QualityScorer()
    sizes = by_pixel_size(scorer, scenes, 1)
    assert sizes.keys() >= {"another draw", "12 nm", "30 nm"}
    assert max(one["rmse"] for one in sizes.values()) < 0.06
    changes = after_changes(scorer, scenes, 1)
    assert changes.keys() == {"none", *CHANGES}
    assert changes["none"]["rmse"] == changes["none"]["named"] == 0
    assert changes["lines displaced by 2"]["named"] == 1
    checks = {check.name: check for check in quality._scan_checks(sizes, changes)}
    assert checks["lines displaced by 2: flagged `phase`"].holds
    blind = {name: one | {"named": 0.0} for name, one in changes.items()}
    assert not all(check.holds for check in quality._scan_checks(sizes, blind))


def test_chance_draws_from_what_training_knew() -> None:
    label = np.full(10, 0.9, np.float32)
    found = quality._random(label, np.array([0.1, 0.1]), 1)
    assert found["rmse"] == pytest.approx(0.8, abs=1e-6)
