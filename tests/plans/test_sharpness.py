"""What counts as a focus: sharp planes among blurred ones, and not noise."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from agent.plans.focusing import vertex
from agent.plans.sharpness import Sharpness, is_focus, sharpness

SIDE, HEIGHTS = 96, [-1.0, -0.5, 0.0, 0.5, 1.0]


def sweep(seed: int, photons: float, focus_um: float, measure: str) -> list[Sharpness]:
    """Five planes of spots with some photons each, blurred by 1.2 px for each µm."""
    rng = np.random.default_rng(seed)
    spots = np.zeros((SIDE, SIDE))
    spots[tuple(rng.integers(0, SIDE, (2, 200)))] = photons
    spots = gaussian_filter(spots, 0.7)
    planes = (gaussian_filter(spots, 0.01 + 1.2 * abs(z - focus_um)) for z in HEIGHTS)
    frames: list[Any] = [SimpleNamespace(pixels=rng.poisson(2 + seen)) for seen in planes]
    return [sharpness(frame, measure) for frame in frames]


@pytest.mark.slow
@pytest.mark.parametrize("measure", ["variance", "spectrum"])
def test_noise_is_no_focus(measure: str) -> None:
    assert sum(is_focus(sweep(seed, 0.0, 0.0, measure)) for seed in range(40)) <= 1


@pytest.mark.parametrize("measure", ["variance", "spectrum"])
def test_a_focus_is_found_between_planes(measure: str) -> None:
    for seed in range(12):
        focus_um = np.random.default_rng(seed).uniform(-0.5, 0.5)
        planes = sweep(seed, 100.0, focus_um, measure)
        assert is_focus(planes)
        found = vertex(HEIGHTS, [plane.value for plane in planes])
        assert found == pytest.approx(focus_um, abs=0.08)


def test_scores_are_compared_with_their_deviation() -> None:
    def scored(*values: float, sd: float) -> list[Sharpness]:
        return [Sharpness(value, sd=sd) for value in values]

    assert is_focus(scored(0.2, 0.5, 0.3, sd=0.05))
    assert not is_focus(scored(0.2, 0.5, 0.3, sd=0.2))
    assert not is_focus(scored(0.2, float("nan"), 0.3, sd=0.01))


def test_a_dark_frame_is_not_sharp() -> None:
    dark: Any = SimpleNamespace(pixels=np.zeros((16, 16), np.uint16))
    for measure in ("variance", "spectrum"):
        assert sharpness(dark, measure) == Sharpness(0.0, (0.0,) * 4)
    assert not is_focus([sharpness(dark, "variance")] * 5)
