"""Autofocus devices written in Python behind Micro-Manager's calls: the virtual microscope's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from devices.python_autofocus import AutofocusCore
from devices.sources import VirtualStedConfig
from devices.virtual.build import build_virtual_sted

NEAR_UM = 0.1


@pytest.fixture
def core() -> Iterator[AutofocusCore]:
    """The sample rises by 0.2 µm/s."""
    config = VirtualStedConfig(
        size_um=12, width_px=32, height_px=32, z_drift_nm_per_s=200, focus_reach_um=20
    )
    core = AutofocusCore()
    for label, device in build_virtual_sted(config, seed=1, pixel_size_nm=20).items():
        core.loadPyDevice(label, device)
        core.initializeDevice(label)
    core.setFocusDevice("ZStage")
    core.setAutoFocusDevice("Autofocus")
    yield core
    core.unloadAllDevices()


def test_full_focus_goes_to_the_sample(core: AutofocusCore) -> None:
    assert core.getAutoFocusDevice() == "Autofocus"
    core.setProperty("Scan", "Clock_s", 10.0)
    for focus in (core.fullFocus, core.incrementalFocus):
        core.setPosition("ZStage", 0.5)
        focus()
        assert core.getPosition("ZStage") == pytest.approx(2.0, abs=NEAR_UM)
    core.setAutoFocusOffset(1.0)
    core.fullFocus()
    assert core.getAutoFocusOffset() == 1.0
    assert core.getPosition("ZStage") == pytest.approx(3.0, abs=NEAR_UM)
    core.setPosition("ZStage", -4.0)
    with pytest.raises(RuntimeError, match="no sample within 5 µm"):
        core.fullFocus()


def test_continuous_focus_holds_it_there(core: AutofocusCore) -> None:
    assert not core.isContinuousFocusEnabled() and not core.isContinuousFocusLocked()
    core.enableContinuousFocus(True)
    assert core.isContinuousFocusEnabled() and core.isContinuousFocusLocked()
    for clock_s in (1.0, 7.0):
        core.setProperty("Scan", "Clock_s", clock_s)
        assert core.getPosition("ZStage") == pytest.approx(0.2 * clock_s, abs=NEAR_UM)
    with pytest.raises(ValueError, match="is held by the continuous focus"):
        core.setPosition("ZStage", 0.0)
    core.enableContinuousFocus(False)
    core.setProperty("Scan", "Clock_s", 60.0)
    assert core.getPosition("ZStage") == pytest.approx(1.4, abs=NEAR_UM)
    # Too far away by now, it does not lock.
    core.enableContinuousFocus(True)
    assert core.isContinuousFocusEnabled() and not core.isContinuousFocusLocked()


def test_only_an_autofocus_device_is_one(core: AutofocusCore) -> None:
    with pytest.raises(RuntimeError, match="'ZStage' is no autofocus device"):
        core.setAutoFocusDevice("ZStage")
    core.setAutoFocusDevice("")
    assert core.getAutoFocusDevice() == "" and not core.isContinuousFocusEnabled()
    with pytest.raises(RuntimeError):
        core.fullFocus()
