"""What a time-lapse decides with: errors without noise, belief, events, gaps, light and drift."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift

from agent.optimizer.objectives.estimate import Estimate
from agent.plans.adaptive.alignment import between
from agent.plans.adaptive.drift_tracking import DriftTracker
from agent.plans.adaptive.error import UNKNOWN, inherited_noise, squared_error
from agent.plans.adaptive.error_model import ErrorModel, predicted
from agent.plans.adaptive.events import Change, Watch
from agent.plans.adaptive.frame_noise import PHOTONS, Detector, noise, smooth
from agent.plans.adaptive.gap import Gap, affordable, widest
from agent.plans.adaptive.light_budget import LightBudget
from agent.plans.adaptive.motion import Look, drift, likeness, local_change, look
from devices.affine import Affine
from devices.config import StageLimits
from devices.shot import Field
from tests.doubles.interpolators import Blend

Map = NDArray[np.float64]
SIDE = 96


def scene(seed: int = 0, counts: float = 4.0) -> Map:
    """Smooth structure, as a frame would show it without noise."""
    rng = np.random.default_rng(seed)
    lit = gaussian_filter((rng.random((SIDE, SIDE)) > 0.97).astype(float), 2.5)
    return 0.3 + counts * lit / lit.mean()


def moved(image: Map, rows: float, columns: float = 0.0) -> Map:
    found: Map = np.maximum(shift(image, (rows, columns), order=3, mode="wrap"), 0.0)
    return found


def photons(mean: Map, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).poisson(mean)


# ---------------------------------------------------------------------- error


@pytest.mark.parametrize("counts", [0.6, 4.0, 40.0])
def test_a_perfect_frame_has_no_error_however_few_photons_there_are(counts: float) -> None:
    truth = scene(counts=counts)
    found = [squared_error(truth, photons(truth, seed), PHOTONS) for seed in range(40)]
    values = np.array([one.value for one in found])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values)) + 1e-4
    # And it knows how far each of them may be off.
    assert 0.5 < values.std() / np.mean([one.sd for one in found]) < 1.5


@pytest.mark.parametrize("pixels", [1.0, 2.0])
def test_the_error_is_that_against_the_truth(pixels: float) -> None:
    truth = scene(3)
    wrong = moved(truth, pixels)
    expected = float(np.mean(smooth(wrong - truth) ** 2) / np.var(smooth(truth)))
    found = [squared_error(wrong, photons(truth, seed), PHOTONS).value for seed in range(20)]
    assert np.mean(found) == pytest.approx(expected, rel=0.05)


def test_noise_that_a_frame_inherits_is_no_error() -> None:
    """The mean of two frames has half their noise, and of a still scene no other error."""
    truth = scene(5, counts=2.0)
    plain, corrected = [], []
    for seed in range(12):
        before, after, middle = (photons(truth, 10 * seed + i) for i in range(3))
        blend = (before + after) / 2
        inherited = inherited_noise(lambda a, b: (a + b) / 2, before, after, PHOTONS, blend)
        assert inherited == pytest.approx(noise(before, PHOTONS) / 2, rel=0.2)
        plain.append(squared_error(blend, middle, PHOTONS).value)
        corrected.append(squared_error(blend, middle, PHOTONS, inherited).value)
    assert np.mean(plain) > 5 * abs(np.mean(corrected))


def test_a_camera_with_gain_and_offset_gives_the_same_error() -> None:
    truth, camera = scene(7, counts=10.0), Detector(gain=3.0, offset=100.0, read_sd=4.0)
    rng = np.random.default_rng(1)
    wrong = moved(truth, 1.5)
    frame = 3.0 * rng.poisson(truth) + 100 + rng.normal(0, 4, truth.shape)
    expected = float(np.mean(smooth(wrong - truth) ** 2) / np.var(smooth(truth)))
    found = squared_error(3 * wrong + 100, frame, camera)
    assert found.value == pytest.approx(expected, rel=0.15)


def test_a_blank_frame_says_nothing() -> None:
    flat = photons(np.full((SIDE, SIDE), 3.0), 1)
    assert squared_error(flat + 0.0, flat, PHOTONS) is UNKNOWN
    assert not look(flat, PHOTONS).visible
    assert drift(np.zeros((32, 32)), np.zeros((32, 32))) == (0.0, 0.0)


# ---------------------------------------------------------------------- motion and drift


def test_drift_is_found_to_a_part_of_a_pixel_and_motion_without_noise() -> None:
    truth = scene(2, counts=3.0)
    before, after = photons(truth, 1), photons(moved(truth, 2.3, -1.4), 2)
    assert drift(before, after) == pytest.approx((2.3, -1.4), abs=0.25)
    assert likeness(before, photons(truth, 3), PHOTONS) == pytest.approx(1.0, abs=0.03)
    assert likeness(before, photons(0.4 * truth, 3), PHOTONS) == pytest.approx(1.0, abs=0.06)
    assert likeness(before, photons(scene(9), 3), PHOTONS) < 0.3


def test_what_happens_in_a_part_of_the_field_is_seen_there() -> None:
    truth = scene(2, counts=6.0)
    changed = truth.copy()
    changed[:24, :24] = moved(truth, 30, 30)[:24, :24]
    still = local_change(photons(truth, 1), photons(truth, 2), PHOTONS)
    assert local_change(photons(truth, 1), photons(changed, 2), PHOTONS) > 0.5 > 2 * still


def test_drift_is_taken_out_before_a_frame_is_rebuilt() -> None:
    """A blend of two frames that lie five pixels apart shows everything twice."""
    truth = scene(4, counts=50.0)
    before, after, middle = truth, moved(truth, 6.0), moved(truth, 3.0)
    inner = np.s_[12:-12, 12:-12]
    plain = between(Blend(), before, after, 0.5).image
    aligned = between(Blend(), before, after, 0.5, (6.0, 0.0)).image
    worse, better = (float(np.abs(image - middle)[inner].mean()) for image in (plain, aligned))
    assert better < 0.1 * worse


def test_a_stage_that_runs_the_other_way_is_not_followed_for_long() -> None:
    field = Field(3, 10.0, 20.0)
    follower = DriftTracker(field, Affine.square(0.02), 5.0)
    follower.see((0.0, 2.0))
    assert follower.place == Field(3, 10.04, 20.0)
    for drifted in (4.0, 8.0):
        follower.see((0.0, drifted))
    assert not follower.following and follower.place == field
    steady = DriftTracker(field, Affine.square(0.02), 5.0)
    there = [0.0, 0.0]
    for step in range(1, 10):
        there.append(steady.place.y_um - 20)
        # The structure moves on by a pixel, less what the stage went after it.
        steady.see((1.0 - (there[-1] - there[-2]) / 0.02, 0.0))
        assert steady.place.y_um == pytest.approx(20 + 0.02 * step)
    assert steady.following
    far = DriftTracker(field, Affine.square(0.02), 0.1)
    far.see((50.0, 0.0))
    assert far.place.y_um == pytest.approx(20.1)
    fenced = DriftTracker(field, Affine.square(0.02), 5.0, StageLimits(y_um=(19.5, 20.5)))
    fenced.see((50.0, 5.0))
    assert (fenced.place.x_um, fenced.place.y_um) == pytest.approx((10.1, 20.5))


def test_a_drift_in_coarser_pixels_is_followed_farther() -> None:
    """By binning or zoom a mode may have other pixels than those that were calibrated."""
    field = Field(0, 10.0, 20.0)
    went = {}
    for size_nm in (None, 20.3, 40.0):
        tracker = DriftTracker(field, Affine.square(0.021), 5.0, pixel_nm=20.0)
        tracker.see((0.0, 2.0), size_nm)
        went[size_nm] = round(tracker.place.x_um - 10, 9)
    # Two ways of measuring one pixel may differ.
    assert went == {None: 0.042, 20.3: 0.042, 40.0: 0.084}


# ---------------------------------------------------------------------- events

STEADY = Look(10.0, 0.1, 0.01, 0.02, True)


def change(likeness: float = 0.99, after: Look = STEADY, steps: int = 1, local: float = 0.1) -> Any:
    return Change(steps, likeness, local, STEADY, after)


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (change(0.8), "motion"),
        (change(after=Look(6.0, 0.1, 0.01, 0.02, True)), "brightness"),
        (change(after=Look(10.0, 0.05, 0.01, 0.02, True)), "focus"),
        (change(local=0.9), "somewhere"),
        (change(after=Look(0.0, 0.0, math.inf, math.inf, False)), "gone"),
    ],
)
def test_events_are_noticed_at_their_first_frame_and_nothing_else_is(
    event: Change, kind: str
) -> None:
    watch = Watch()
    assert [watch.see(change(0.99 - 0.002 * i)) for i in range(6)] == [None] * 6
    assert watch.see(event) == kind


def test_what_noise_can_do_is_no_event() -> None:
    watch = Watch()
    dim = Look(1.0, 0.1, 0.15, 0.4, True)
    dimmer = Look(0.65, 0.06, 0.15, 0.4, True)
    for _ in range(4):
        watch.see(Change(1, 0.99, 0.1, dim, dim))
    assert watch.see(Change(1, 0.8, 0.5, dim, dimmer)) is None


# ---------------------------------------------------------------------- belief, gap and light


def test_audits_teach_how_large_errors_are() -> None:
    rng = np.random.default_rng(1)
    belief = ErrorModel()
    assert belief.running([0.1]) is None
    told = 0.05 * np.exp(rng.normal(0, 0.5, 300))
    errors = (3.0 * told) ** 2 * np.exp(rng.normal(0, 0.5, 300) - 0.125)
    for one, error in zip(told, errors, strict=True):
        belief.learn(float(one), Estimate(float(error), 0.001))
    assert belief.expected(0.05) == pytest.approx(0.15, rel=0.25)
    assert belief.at_most(0.05, 0.9) > belief.expected(0.05)
    running = belief.running([float(one) for one in told])
    assert running is not None
    true = math.sqrt(float(np.mean((3 * told) ** 2)))
    assert abs(running.value - true) < 3 * running.sd and running.sd < 0.3 * true
    before = belief.count
    belief.doubt()
    assert belief.count < 0.5 * before


def test_more_change_less_certainty_and_the_middle_predict_larger_errors() -> None:
    base = predicted(0.95, 0.1, 0.5)
    assert predicted(0.8, 0.1, 0.5) > base and predicted(0.95, 0.2, 0.5) > base
    assert predicted(0.95, 0.1, 0.25) < base
    assert 0 < predicted(1.0, 0.0, 0.5) < 0.01


def test_the_gap_is_the_widest_that_keeps_the_bound_and_grows_step_by_step() -> None:
    belief = ErrorModel()
    for _ in range(20):
        belief.learn(0.1, Estimate(0.01, 0.0001))

    def chosen(told: float, last: int) -> Gap:
        return widest(belief, told, 2, last=last, most=4, bound=0.22, confidence=0.8)

    assert (chosen(0.02, 4).steps, chosen(0.02, 4).why) == (4, "most")
    assert (chosen(0.02, 1).steps, chosen(0.02, 1).why) == (2, "step")
    assert (chosen(0.1, 4).steps, chosen(0.1, 4).why) == (3, "error")
    assert (chosen(0.5, 4).steps, chosen(0.5, 4).why) == (1, "error")


def test_light_that_would_not_last_widens_the_gap() -> None:
    every, event = Gap(1, "error"), Gap(1, "event")
    assert affordable(every, left=30, frames=None, most=4) == every
    assert affordable(every, left=30, frames=15, most=4) == Gap(2, "budget")
    assert affordable(every, left=30, frames=40, most=4) == every
    # An event may have every frame, as long as the rest can be had at the largest gap.
    assert affordable(event, left=30, frames=15, most=4) == event
    assert affordable(event, left=30, frames=8, most=4) == Gap(4, "budget")


def test_light_is_counted_by_laser_and_field() -> None:
    light = LightBudget(
        lambda settings, pixels: {"depletion": settings["power"] * pixels, "excitation": 0.0},
        {"depletion": 100.0},
        {"depletion": 35.0},
        fields=2,
    )
    assert light.frames(0) is None
    light.spend({"power": 0.1}, 100, 0)
    assert (light.frames(0), light.frames(1)) == (2, 3)
