"""`stedfast bench microscopes`: calibrated stages, drifting samples, two dyes in depth."""

from __future__ import annotations

import pytest

from agent.bench.microscopes import calibration, focus, two_dyes
from devices.virtual.mounting import Mounting
from tests.helpers.runs import mean_score


@pytest.mark.slow
def test_a_stage_is_calibrated_and_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_SIDE", 96)
    monkeypatch.setattr(calibration, "_FRAMES", 6)
    found = calibration._tried(Mounting(90.0, mirrored=True, scale=1.2), 7001)
    assert found.refused is None
    assert found.residual_px < 1
    assert found.off < 0.1
    assert found.away_px < 3


@pytest.mark.slow
def test_a_failing_autofocus_loses_no_time_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(focus, "_SIDE", 32)
    monkeypatch.setattr(focus, "_SHARE", 0.7)
    monkeypatch.setattr(focus, "_scorer", lambda: mean_score)
    ran = focus._ran(focus._FAILING, focus._CASES[focus._FAILING], 7003, points=4)
    assert (ran.status, ran.missing, ran.searches) == ("completed", 0, 4)
    assert ran.injected and ran.failed >= ran.injected
    assert ran.marked >= ran.failed and not ran.unmarked


@pytest.mark.slow
def test_each_frame_of_two_dyes_is_stored_where_it_belongs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the light of each laser in each channel is what fell on the sample."""
    for name, value in {"_SIDE": 16, "_PLANES": 3, "_PLACES": 2}.items():
        monkeypatch.setattr(two_dyes, name, value)
    ran = two_dyes._run(7001, points=1)
    assert (ran.status, ran.frames, ran.distinct, ran.valid) == ("completed", 12, 12, 2)
    assert ran.off < 0.01
