"""`stedfast bench microscopes`: a stage is calibrated and a field is followed on it."""

from __future__ import annotations

import pytest

from agent.bench import microscopes
from devices.virtual.mounting import Mounting


@pytest.mark.slow
def test_a_stage_is_calibrated_and_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microscopes, "_SIDE", 96)
    monkeypatch.setattr(microscopes, "_FRAMES", 6)
    found = microscopes._tried(Mounting(90.0, mirrored=True, scale=1.2), 7001)
    assert found.refused is None
    assert found.residual_px < 1
    assert found.off < 0.1
    assert found.away_px < 3
