"""The side of a pixel is that of each frame: it follows what is switched during a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymmcore_plus import DeviceType
from pymmcore_plus.experimental.unicore import Device

from agent.config import RunConfig, load
from agent.plan import Frame, Note, Plan
from agent.run import Session
from agent.run.replay import replay
from devices.config import MicroscopeConfig
from devices.errors import BindingError
from devices.microscope import Microscope
from devices.pixels import PixelSize
from devices.shot import Shot
from tests.helpers.runs import recorded

TURRET = """Property,Core,Initialize,0
Device,DHub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,Objective,DemoCamera,DObjective
Parent,Camera,DHub
Parent,Objective,DHub
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Core,AutoShutter,0
Property,Camera,OnCameraCCDXSize,32
Property,Camera,OnCameraCCDYSize,32
ConfigPixelSize,Low,Objective,State,0
PixelSize_um,Low,0.1
ConfigPixelSize,High,Objective,State,1
PixelSize_um,High,0.0201
"""
CONFIG = """\
plan: live
live: {mode: high}
microscope:
  cfg: turret.cfg
  pixel_size_nm: 20
  exposure: {camera_ms: 1}
  settings:
    objective: {device: Objective, property: State, kind: choice, choices: [0, 1, 2], start: 1}
  modes: {low: {objective: 0}, high: {objective: 1}, none: {objective: 2}}
"""


@pytest.fixture
def turret(tmp_path: Path) -> Path:
    (tmp_path / "turret.cfg").write_text(TURRET)
    file = tmp_path / "turret.yaml"
    file.write_text(CONFIG)
    return file


def in_turn(config: RunConfig) -> Plan:
    for mode in ("high", "low", "none", "high"):
        frame = yield Shot(mode, {}, None)
        assert isinstance(frame, Frame)
        yield Note("size", {"nm": frame.pixel_size_nm})


def test_each_frame_has_the_pixel_size_of_its_objective(turret: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert Session(load(turret), turret, run, make_plan=in_turn).run().status == "completed"
    found = recorded(run)
    rows = [found.taken[index].frame.get("pixel_size_nm") for index in range(4)]
    # The core's, though the config's is near; the config's where the core has none.
    assert rows == [20.1, 100, None, 20.1]
    assert [note["nm"] for note in found.notes_on("size")] == rows
    assert replay(run, in_turn).difference is None


def scope(turret: Path, **changes: Any) -> MicroscopeConfig:
    return load(turret).microscope.model_copy(update=changes)


def test_a_pixel_size_of_the_config_is_compared_as_the_run_sets_its_devices(turret: Path) -> None:
    """Whatever the objective was when it began."""
    base = turret.parent
    # By the .cfg the objective stands at the low one.
    with Microscope.open(scope(turret, modes={"high": {"objective": 1}}), base=base):
        pass
    wrong = scope(turret, pixel_size_nm=25, modes={"low": {"objective": 0}})
    with (
        pytest.raises(BindingError, match=r"25, but by .*turret.cfg it is 100 as a run has it"),
        Microscope.open(wrong, base=base),
    ):
        pass


def test_a_pixel_size_of_the_config_follows_the_binning() -> None:
    config = MicroscopeConfig.model_validate(
        {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera_ms": 1}}
    )
    with Microscope.open(config) as microscope:
        size = PixelSize(microscope.core, microscope.config, microscope.core.getPixelSizeUm())
        assert size.nm() == 20
        microscope.core.setProperty("Camera", "Binning", 2)
        assert size.nm() == 40


class Tube(Device):
    """A tube lens that enlarges twice, written in Python."""

    _TYPE = DeviceType.Magnifier

    def __init__(self) -> None:
        super().__init__()
        self.register_property("Magnification", default_value=2.0, property_type=float)


def test_a_magnifier_counts_in_the_affine_as_in_the_pixel_size(tmp_path: Path) -> None:
    """A field that drifts would be followed twice as far."""
    devices = TURRET.replace("Device,DHub", f"#py pyDevice,Tube,{__name__},Tube\nDevice,DHub", 1)
    (tmp_path / "turret.cfg").write_text(
        f"{devices}PixelSizeAffine,High,0.0201,0,0,0,-0.0201,0\n"
        "PixelSizeAffine,Low,0.1,0,0,0,0.1,0\n",
        encoding="utf-8",
    )
    config = load(write(tmp_path, CONFIG.replace("pixel_size_nm: 20", "pixel_size_nm: 10")))
    with Microscope.open(config.microscope, base=tmp_path) as microscope:
        mounting = microscope.config.mounting
        # Of the objective that the run sets, and not of the one that was left in.
        assert mounting is not None and mounting.mirrored
        assert mounting.pixel_um == pytest.approx(0.01005)


@pytest.mark.parametrize("magnification", [0.0, float("nan")])
def test_a_magnifier_between_two_places_leaves_the_config_s_pixel_size(
    magnification: float, tmp_path: Path
) -> None:
    devices = TURRET.replace("Device,DHub", f"#py pyDevice,Tube,{__name__},Tube\nDevice,DHub", 1)
    (tmp_path / "turret.cfg").write_text(devices, encoding="utf-8")
    config = load(write(tmp_path, CONFIG.replace("pixel_size_nm: 20", "pixel_size_nm: 10")))
    with Microscope.open(config.microscope, base=tmp_path) as microscope:
        core = microscope.core
        core.setProperty("Objective", "State", "1")
        size = PixelSize(core, microscope.config, core.getPixelSizeUm())
        assert size.nm() == 10.05
        core.setProperty("Tube", "Magnification", magnification)
        assert size.nm() == 10


def write(folder: Path, text: str) -> Path:
    (folder / "turret.yaml").write_text(text)
    return folder / "turret.yaml"
