"""`stedfast bench dose`: its scenes, its truth, and what it makes of a time-lapse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.bench.dose import BOUND, WINDOW, _windows, decibels, judged, one, scene_of
from agent.bench.dose.drive import Filmed
from agent.bench.dose.stage import FilmedSample, FilmStage, ScanLight, SuddenEvent
from agent.plans.adaptive.drift_tracking import DriftTracker
from agent.plans.adaptive.motion import drift
from devices.affine import Affine
from devices.shot import Field
from tests.doubles.interpolators import Blend

LIGHT = ScanLight(excitation_w=8e-6, depletion_w=50e-3, dwell_s=10e-6)


@pytest.mark.slow
def test_a_scene_bleaches_and_its_truth_does_not() -> None:
    scene = replace(scene_of(3, quick=True), points=6)
    stage = FilmStage(scene, LIGHT)
    truth, before = stage.truth(0), stage.mean(0)
    np.testing.assert_array_equal(truth, before)
    frames = [stage.take(point) for point in range(6)]
    assert stage.mean(5).mean() < 0.98 * stage.truth(5).mean()
    # The mean is that of the frames: Poisson noise apart they agree.
    assert frames[0].mean() == pytest.approx(before.mean(), rel=0.06)
    np.testing.assert_array_equal(truth, stage.truth(0))
    np.testing.assert_array_equal(frames[0], FilmStage(scene, LIGHT).take(0))


def test_an_event_is_in_the_frames_and_not_in_the_truth() -> None:
    for seed in range(1, 30):
        scene = scene_of(seed)
        if (event := scene.happenings()[0]).kind == "bleach":
            break
    stage = FilmStage(scene, LIGHT)
    before, after = stage.mean(event.at - 1).mean(), stage.mean(event.at).mean()
    assert after < 0.75 * before
    assert stage.truth(event.at).mean() > 0.8 * stage.truth(event.at - 1).mean()


@pytest.mark.slow
def test_a_drifting_field_is_followed_with_the_stage() -> None:
    """The virtual microscope's stage and image run the same way."""
    scene = replace(scene_of(4, quick=True), points=6, side_px=80, drift_nm=30.0, motion_nm=0.5)
    stage = FilmStage(scene, LIGHT)
    follower = DriftTracker(Field(0, 0.0, 0.0), Affine.square(0.02), 2.0)
    first = last = stage.take(0)
    for point in range(1, 6):
        frame = stage.take(point, follower.place.x_um, follower.place.y_um)
        follower.see(drift(last, frame))
        last = frame
    left = max(map(abs, drift(first, stage.take(5, follower.place.x_um, follower.place.y_um))))
    whole = max(map(abs, drift(first, stage.take(5))))
    assert follower.following
    assert whole > 5 and left < 0.5


def test_fidelity_does_not_see_brightness() -> None:
    truth = np.random.default_rng(1).random((32, 32))
    noisy = truth + np.random.default_rng(2).normal(0, 0.1, truth.shape)
    assert decibels(noisy, truth) == pytest.approx(decibels(3 * noisy + 7, truth))
    assert decibels(noisy, truth) == pytest.approx(20, abs=1)


@pytest.mark.slow
def test_a_scene_is_filmed_in_all_ways_with_the_same_light() -> None:
    found = one(scene_of(2, quick=True), Blend())
    assert found["light"] == found["taken"] / 20 and found["taken"] < 20
    assert set(found["fidelity"]) == {
        "adaptive", "every", "every, full light", "skip 2", "skip 3",
    }  # fmt: skip
    assert len(found["true"]) == 20 - found["taken"] == len(found["expected"])
    checks = {check.name: check for check in judged([found], [2]).checks}
    assert checks["error by audits, over the true one: off by"].holds
    assert checks["windows within the bound, rebuilt frames alone"].value == np.mean(
        [window <= BOUND for window in found["windows"]["rebuilt"]]
    )


def test_the_bound_is_for_rebuilt_frames_and_events_are_counted_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = scene_of(2, quick=True)
    monkeypatch.setattr(FilmedSample, "happenings", lambda self: (SuddenEvent("bleach", 14, 3),))
    done = Filmed(
        taken=[0, 2, 4, 12, 15, *range(17, 20)],
        true_error={1: 0.04, 3: 0.16, 13: 0.81, 14: 0.25, 16: 0.04},
        between={1: (0, 2), 3: (2, 4), 13: (12, 15), 14: (12, 15), 16: (15, 17)},
    )
    found = _windows(done, scene)
    assert found["of events"] == pytest.approx([0.9, 0.5])
    # A measured frame does not make a window better, nor does a window without a rebuilt one.
    assert found["rebuilt"][0] == pytest.approx(np.sqrt(0.1))
    assert len(found["rebuilt"]) == 20 - WINDOW + 1 - 3
    assert found["rebuilt"][-1] == pytest.approx(0.2)
