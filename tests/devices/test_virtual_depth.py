"""The virtual sample has planes, leaves the focus, and may have a second dye."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import UniMMCore
from scipy.ndimage import gaussian_filter

from devices.sources import SecondDyeConfig, VirtualStedConfig
from devices.virtual.build import build_virtual_sted
from devices.virtual.devices import ScanEngine

SIDE = 48


class Virtual:
    """A core with the virtual microscope in it, its shutter open."""

    def __init__(self, **config: Any) -> None:
        defaults = {"size_um": 10.0, "width_px": SIDE, "height_px": SIDE, "structure": "mesh"}
        settings = VirtualStedConfig(**(defaults | config))
        devices = build_virtual_sted(settings, seed=3, pixel_size_nm=20)
        self.core = UniMMCore()
        for label, device in devices.items():
            self.core.loadPyDevice(label, device)
            self.core.initializeDevice(label)
        self.core.setCameraDevice("Scan")
        self.core.setFocusDevice("ZStage")
        self.core.setAutoShutter(False)
        self.core.setShutterOpen("Shutter", True)
        scan = devices["Scan"]
        assert isinstance(scan, ScanEngine)
        self.scan = scan

    def snap(self, z_um: float = 0.0, **powers: float) -> NDArray[np.uint16]:
        for laser in ("Excitation", "Excitation2"):
            if laser in self.core.getLoadedDevices():
                self.core.setProperty(laser, "Power_uW", powers.get(laser, 0.0))
        self.core.setProperty("Depletion", "Power_mW", powers.get("Depletion", 0.0))
        self.core.setPosition("ZStage", z_um)
        self.core.snapImage()
        return self.core.getImage().copy()

    def looks_like(self, frame: NDArray[np.uint16], dye: int = 0) -> float:
        """Correlation of a confocal frame with the molecules in the plane next to the focus."""
        seen = gaussian_filter(self.scan.truth(dye).molecules.astype(float), 4.5)
        return float(np.corrcoef(seen.ravel(), frame.ravel())[0, 1])


@pytest.fixture
def made() -> Iterator[list[Virtual]]:
    found: list[Virtual] = []
    yield found
    for one in found:
        one.core.unloadAllDevices()


@pytest.mark.slow
def test_each_plane_is_seen_where_it_is_in_focus(made: list[Virtual]) -> None:
    made += [Virtual(), Virtual(planes=3, plane_pitch_um=1.0)]
    flat, thick = made
    alone = flat.snap(Excitation=8)
    planes = {}
    for z_um in (0.0, 1.0, -1.0):
        frame = thick.snap(z_um, Excitation=8)
        assert thick.looks_like(frame) > 0.8
        planes[z_um] = thick.scan.truth().molecules
    # The one in the middle is that of a flat sample; light of the others comes on top.
    thick.core.setProperty("Scan", "DwellTime_us", 10)
    assert (planes[0.0] == flat.scan.truth().molecules).all()
    assert len({plane.tobytes() for plane in planes.values()}) == 3
    assert thick.snap(0.0, Excitation=8).mean() > 1.05 * alone.mean()


@pytest.mark.slow
def test_a_plane_out_of_focus_bleaches_too(made: list[Virtual]) -> None:
    made.append(scope := Virtual(planes=2, plane_pitch_um=0.4, dye="fragile"))
    scope.snap(0.0, Excitation=10, Depletion=60)
    near = scope.scan.truth().survival.mean()
    scope.snap(0.4)
    assert near < scope.scan.truth().survival.mean() < 0.99


def test_a_sample_that_rises_is_sharp_where_the_focus_follows(made: list[Virtual]) -> None:
    made.append(scope := Virtual(z_drift_nm_per_s=20.0, focus_reach_um=8.0))
    first = scope.snap(0.0, Excitation=8).std()
    scope.core.setProperty("Scan", "Clock_s", 100.0)
    assert scope.snap(0.0, Excitation=8).std() < 0.5 * first
    assert scope.snap(2.0, Excitation=8).std() == pytest.approx(first, rel=0.2)
    assert scope.snap(-2.0, Excitation=8).std() < 0.5 * first


@pytest.mark.slow
def test_each_dye_answers_to_its_own_laser(made: list[Virtual]) -> None:
    dye: dict[str, Any] = {"structure": "patches"}
    for crosstalk in (0.0, 0.1):
        second = SecondDyeConfig(**dye, crosstalk=crosstalk)
        made.append(Virtual(second_dye=second, background_hz=0))
    apart, mixed = made
    frames = {}
    for laser, own in (("Excitation", 0), ("Excitation2", 1)):
        frames[laser] = apart.snap(**{laser: 8})
        assert apart.looks_like(frames[laser], own) > 0.6
        assert apart.looks_like(frames[laser], 1 - own) < 0.4
    # By a tenth, the other laser excites a dye, too.
    means = {laser: frame.mean() for laser, frame in frames.items()}
    for laser, other in (("Excitation", "Excitation2"), ("Excitation2", "Excitation")):
        more = mixed.snap(**{laser: 8}).mean() - means[laser]
        assert more == pytest.approx(0.1 * means[other], rel=0.2)
    light_j = {"Excitation": 8e-6, "Excitation2": 8e-6, "Depletion": 0.0}
    expected = {laser: watts * 10e-6 * SIDE**2 for laser, watts in light_j.items()}
    assert mixed.scan.light_j() == pytest.approx(expected)


@pytest.mark.slow
def test_a_dye_that_no_laser_is_made_for_is_dark(made: list[Virtual]) -> None:
    second = SecondDyeConfig(crosstalk=0)
    made += [Virtual(), Virtual(second_dye=second)]
    first, both = (scope.snap(Excitation=8) for scope in made)
    assert (first == both).all()
