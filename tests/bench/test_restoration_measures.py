"""What the restoration benchmark measures, on images whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from agent.bench.restoration.classical import CLASSICAL
from agent.bench.restoration.measures import (
    contrast,
    covered,
    energy,
    error_where_unsure,
    kept,
    off_target_left,
    recall,
    similarity,
)

Image = np.ndarray


@pytest.fixture(scope="module")
def parts() -> tuple[Image, Image]:
    """A clean structure of lines, and off-target spots beside it."""
    rng = np.random.default_rng(4)
    clean, spots = np.zeros((128, 128)), np.zeros((128, 128))
    for at in (20, 50, 90):
        clean[at, 10:118] = 40.0
    spots[tuple(rng.integers(5, 123, (2, 40)))] = 60.0
    return gaussian_filter(clean, 1.5), gaussian_filter(spots, 2.0)


def test_gain_and_offset_do_not_count(parts: tuple[Image, Image]) -> None:
    clean, spots = parts
    assert similarity(3 * clean + 7, clean) == pytest.approx(1, abs=1e-6)
    assert similarity(clean + spots, clean) < 0.95
    assert kept(2 * clean + 0.5 * spots + 9, clean, spots) == pytest.approx((2, 0.5))


def test_a_quarter_of_the_off_target_amplitude_is_a_sixteenth_of_its_energy(
    parts: tuple[Image, Image],
) -> None:
    clean, spots = parts
    raw = clean + spots + 2
    assert off_target_left(raw, raw, clean, spots) == pytest.approx(1)
    assert off_target_left(5 * (clean + spots / 4), raw, clean, spots) == pytest.approx(1 / 16)
    assert off_target_left(clean, raw, clean, spots) == pytest.approx(0, abs=1e-12)
    assert np.isnan(off_target_left(spots, raw, clean, spots))


def test_background_costs_contrast(parts: tuple[Image, Image]) -> None:
    clean, spots = parts
    assert contrast(clean, clean) > 0.97
    assert contrast(clean + 10 * spots, clean) < contrast(clean + spots, clean) - 0.05
    assert np.isnan(contrast(clean, np.zeros_like(clean)))


def test_filters_that_learned_nothing_do_what_they_are_for(parts: tuple[Image, Image]) -> None:
    clean, _ = parts
    haze = 20.0 * gaussian_filter(np.eye(128), 20)[::-1] / gaussian_filter(np.eye(128), 20).max()
    frame = np.random.default_rng(1).poisson(clean + haze + 1)

    def best(name: str) -> float:
        return max(similarity(run(frame), clean) for run in CLASSICAL[name])

    assert similarity(frame, clean) < best("Gaussian") < best("difference of Gaussians")
    on_line = max(
        run(frame)[50].mean() / run(frame)[35].mean() for run in CLASSICAL["ridge filter"]
    )
    assert on_line > 3 * frame[50].mean() / frame[35].mean()


def test_a_missing_filament_is_missed(parts: tuple[Image, Image]) -> None:
    clean, _ = parts
    assert recall(clean, clean) == 1
    without = clean.copy()
    without[80:100] = 0
    assert recall(without, clean) == pytest.approx(2 / 3, abs=0.03)


def test_energy_is_above_the_background() -> None:
    flat = np.full((20, 20), 5.0)
    assert energy(flat) == 0
    flat[3, 4] = 25.0
    assert energy(flat) == pytest.approx(1.0)


def test_intervals_and_errors() -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.5, 4, 200_000)
    error = rng.laplace(0, scale)
    assert covered(error, np.sqrt(2) * scale) == pytest.approx(0.9, abs=0.004)
    assert covered(error, scale) < 0.85
    assert error_where_unsure(error, scale) > 0.2
    assert error_where_unsure(error, rng.permutation(scale)) == pytest.approx(0.1, abs=0.02)
