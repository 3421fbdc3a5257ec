"""How the camera lies on the stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import UniMMCore

from devices.affine import Affine
from devices.sources import VirtualStedConfig
from devices.virtual.build import build_virtual_sted
from devices.virtual.devices import ScanEngine
from devices.virtual.mounting import Mounting

MOUNTINGS = {
    "straight": Mounting(),
    "quarter": Mounting(90.0),
    "nearly over": Mounting(173.0),
    "mirrored": Mounting(0.0, mirrored=True),
    "all at once": Mounting(-30.0, mirrored=True, scale=0.8),
    "long": Mounting(10.0, scale=1.2),
}


@pytest.mark.parametrize("name", MOUNTINGS)
def test_what_is_seen_away_from_the_centre_comes_there_by_the_affine(name: str) -> None:
    mounting = MOUNTINGS[name]
    affine = mounting.affine(0.02)
    move = affine.stage_um((7.0, -3.0))
    assert mounting.on_sample(*move) == pytest.approx((-0.06, 0.14))
    assert affine.image_px(move) == pytest.approx((7.0, -3.0))
    assert affine.pixel_um == pytest.approx(0.02 / mounting.scale)
    assert affine.rotation_deg == pytest.approx(mounting.rotation_deg)
    assert affine.mirrored == mounting.mirrored


def test_an_affine_differs_from_another_by_what_a_move_would() -> None:
    one = Affine.mounted(0.02)
    assert one.unlike(one) == 0
    assert one.unlike(Affine.mounted(0.021)) == pytest.approx(0.05)
    assert one.unlike(Affine.mounted(0.02, mirrored=True)) == pytest.approx(2)


@dataclass
class Seen:
    """A frame of the virtual microscope, and the molecules in its field."""

    counts: NDArray[np.uint16]
    molecules: NDArray[np.int64]


def seen(x_um: float, y_um: float, **stage: Any) -> Seen:
    """What there is at a stage position."""
    config = VirtualStedConfig(size_um=12, width_px=32, height_px=32, **stage)
    devices = build_virtual_sted(config, seed=3, pixel_size_nm=20)
    core, scan = UniMMCore(), devices["Scan"]
    assert isinstance(scan, ScanEngine)
    for label, device in devices.items():
        core.loadPyDevice(label, device)
        core.initializeDevice(label)
    core.setCameraDevice("Scan")
    core.setXYStageDevice("XYStage")
    core.setAutoShutter(False)
    core.setProperty("Excitation", "Power_uW", 5)
    core.setProperty("Depletion", "Power_mW", 80)
    core.setShutterOpen("Shutter", True)
    core.setXYPosition(x_um, y_um)
    core.snapImage()
    found = Seen(core.getImage().copy(), scan.truth().molecules)
    core.unloadAllDevices()
    return found


@pytest.mark.slow
def test_a_virtual_stage_runs_as_it_is_mounted() -> None:
    """The camera sees the same sample, at other readings of the stage."""
    straight = seen(1.2, -0.6).molecules
    assert (seen(0.6, 1.2, stage_rotation_deg=90).molecules == straight).all()
    assert (seen(1.2, 0.6, stage_mirrored=True).molecules == straight).all()
    assert (seen(1.5, -0.75, stage_scale=0.8).molecules == straight).all()


def test_a_stage_as_it_should_be_gives_the_frames_that_it_always_gave() -> None:
    """Of every seed: what a virtual microscope learns changes nothing where it is not asked for."""
    found = seen(1.234, -0.567)
    assert found.molecules[5, :16].tolist() == [2, 0, 5, 6, 1, 6, 6, 1, 2, 1, 0, 0, 0, 0, 0, 0]
    assert int(found.molecules.sum()) == 485
    # A photon more or less may be another machine's last digit.
    assert int(found.counts.sum()) == pytest.approx(8566, abs=20)
