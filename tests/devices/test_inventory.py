"""What `stedfast devices` finds, and that the config it starts you with is a config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pymmcore_plus.experimental.unicore import Device, GenericDevice, UniMMCore

from agent.config import load as load_config
from agent.config import plain_yaml
from devices import presets
from devices.config import MicroscopeConfig
from devices.inventory import DeviceInfo, PropertyInfo, inventory
from devices.microscope import Microscope
from devices.starter import starter_config
from tests import faulty
from tests.faulty import cli


class Switchboard(GenericDevice):
    """Properties of every sort, one of which cannot be read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_property("Laser 1: Power (mW)", default_value=2.5, limits=(0.0, 250.0))
        self.register_property("Intensity", default_value=20, limits=(5, 100))
        self.register_property("Speed", default_value=1.0, limits=(0.0, 2.0))
        self.register_property(
            "Power limit", default_value=1.0, limits=(0.0, 2.0), is_read_only=True
        )
        self.register_property("Voltage", default_value=0.0)
        self.register_property("Mode", default_value="cw", allowed_values=("cw", "pulsed"))
        self.register_property("Current", property_type=float, getter=Switchboard._broken)

    def _broken(self) -> float:
        raise RuntimeError("not switched on")


@pytest.fixture
def core() -> Iterator[UniMMCore]:
    core = UniMMCore()
    yield core
    core.unloadAllDevices()


def load(core: UniMMCore, **devices: Device) -> UniMMCore:
    for label, device in devices.items():
        core.loadPyDevice(label, device)
        core.initializeDevice(label)
    return core


def demo(core: UniMMCore) -> UniMMCore:
    core.loadSystemConfiguration("MMConfig_demo.cfg")
    return core


def find(core: UniMMCore, label: str) -> tuple[DeviceInfo, dict[str, PropertyInfo]]:
    device = next(device for device in inventory(core) if device.label == label)
    return device, {prop.name: prop for prop in device.properties}


def uncommented(text: str) -> str:
    """The starter config once a person took the suggested settings."""
    head, _, tail = text.partition("  # settings:\n")
    block, _, end = tail.partition("live:\n")
    return head + "  settings:\n" + re.sub("(?m)^  # ", "  ", block) + "live:\n" + end


def microscope(text: str) -> MicroscopeConfig:
    config: dict[str, Any] = yaml.safe_load(text)
    assert list(config) == ["plan", "seed", "microscope", "live"]
    assert config["plan"] == "live"
    assert config["live"] == {"frames": 20}
    return MicroscopeConfig.model_validate(config["microscope"])


def test_inventory_of_cpp_devices(core: UniMMCore) -> None:
    labels = [device.label for device in inventory(demo(core))]
    assert "Core" not in labels
    assert {"Camera", "XY", "Z", "White Light Shutter", "LED"} <= set(labels)
    camera, properties = find(core, "Camera")
    assert (camera.library, camera.name, camera.type) == ("DemoCamera", "DCam", "Camera")
    gain = properties["Gain"]
    assert (gain.kind, gain.value, gain.limits) == ("integer", 0, (-5.0, 8.0))
    assert not gain.read_only
    assert properties["Binning"].allowed == ("1", "2", "4", "8")
    assert properties["Exposure"].value == 10.0
    assert properties["CameraName"].read_only
    assert properties["CameraName"].kind == "text"
    assert properties["MaximumExposureMs"].before_loading


def test_inventory_of_python_devices(core: UniMMCore) -> None:
    device, properties = find(load(core, Lights=Switchboard()), "Lights")
    assert (device.name, device.type) == ("Switchboard", "Generic")
    assert device.library.endswith("test_inventory")
    assert properties["Intensity"] == PropertyInfo(
        "Intensity", "integer", 20, (5.0, 100.0), (), read_only=False, before_loading=False
    )
    assert properties["Mode"].allowed == ("cw", "pulsed")
    assert properties["Current"].value is None


def test_starter_config_of_the_demo_microscope(core: UniMMCore) -> None:
    text = starter_config(demo(core), "demo", ["cfg: demo"])
    config = microscope(text)
    assert config.cfg == "demo"
    assert (config.camera, config.shutter) == ("Camera", "White Light Shutter")
    assert (config.xy_stage, config.focus) == ("XY", "Z")
    assert config.fields.centre_um is None and "centre_um: [0.0, 0.0]" in text
    assert "-0.0" not in text
    assert config.pixel_size_nm == 1000
    assert config.exposure.camera_ms == 10
    assert config.settings == {}
    assert 'there is also "LED Shutter"' in text
    assert '# focus:\n#   device: "Autofocus"\n#   using: full' in text
    for key in ("shutter", "pixel_size_nm", "camera_ms"):
        assert re.search(rf"(?m)^ *{key}: .*# check: ", text), key


def test_starter_config_suggests_light_sources(core: UniMMCore) -> None:
    demo(core)
    core.loadDevice("AOM 635", "DemoCamera", "D-DA")
    core.initializeDevice("AOM 635")
    load(core, Lights=Switchboard())
    text = starter_config(core, "my scope.cfg", ['cfg: "C:\\\\Program Files\\\\my scope.cfg"'])
    assert microscope(text).settings == {}
    config = microscope(uncommented(text))
    assert config.cfg == "C:\\Program Files\\my scope.cfg"
    assert set(config.settings) == {
        *("channel", "lightpath", "objective"),
        "aom_635_voltage",
        "lights_laser_1_power_mw",
        "lights_intensity",
    }
    power = config.settings["lights_laser_1_power_mw"]
    assert (power.device, power.property) == ("Lights", "Laser 1: Power (mW)")
    assert (power.unit, power.range, power.start, power.safe) == ("mW", (0, 250), 0, 0)
    assert power.laser == "Lights Laser 1: Power (mW)"
    assert config.settings["aom_635_voltage"].laser == "AOM 635"
    intensity = config.settings["lights_intensity"]
    assert (intensity.kind, intensity.range, intensity.safe) == ("integer", (5, 100), 5)
    assert intensity.watts_per_unit is not None
    block = text.partition("# settings:")[2]
    assert block.count("# check:") == 3 + 3 * 5 + 2


def test_starter_config_says_when_there_is_no_light_source(core: UniMMCore) -> None:
    assert "check: no property looks like" in starter_config(demo(core), "demo", ["cfg: demo"])


def test_starter_config_without_camera_or_stages(core: UniMMCore) -> None:
    text = starter_config(load(core, Lights=Switchboard()), "odd.cfg", ["cfg: odd.cfg"])
    config = microscope(text)
    assert config.camera is None
    assert config.exposure.camera_ms == 10
    assert "# camera: none on this microscope" in text
    assert "fields:" not in text
    assert "pixel_size_nm: 100  # check: a guess" in text
    assert len(set(microscope(uncommented(text)).lasers)) == 2


def test_starter_config_leaves_an_open_choice_to_the_person(core: UniMMCore) -> None:
    for label in ("One", "Two"):
        core.loadDevice(label, "DemoCamera", "DCam")
        core.initializeDevice(label)
    text = starter_config(core, "two.cfg", ["cfg: two.cfg"])
    assert microscope(text).camera is None
    assert '# camera:  # check: the detector, one of "One", "Two"' in text


GROUPED_CFG = """Property,Core,Initialize,0
Device,Wheel,DemoCamera,DWheel
Device,Camera,DemoCamera,DCam
#py pyDevice,Laser A,tests.faulty,Laser
#py pyDevice,Laser B,tests.faulty,Laser
Property,Core,Initialize,1
Property,Core,Camera,Camera
ConfigGroup,Empty
ConfigGroup,Camera,Fast,Camera,PixelType,8bit
ConfigGroup,Line,640 nm,Wheel,State,1
#py ConfigGroup,Line,640 nm,Laser A,Power_mW,5
ConfigGroup,Line,Dark,Wheel,State,0
#py ConfigGroup,Line,Dark,Laser A,Power_mW,0
#py ConfigGroup,On,Low,Laser B,Power_mW,5
#py ConfigGroup,On,High,Laser B,Power_mW,50
ConfigGroup,Wheel,One,Wheel,Label,State-1
"""


def test_starter_config_offers_groups_before_raw_properties(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As settings that a run takes, all at once; and says why it does not offer the others."""
    cfg = tmp_path / "my.cfg"
    cfg.write_text(GROUPED_CFG, encoding="utf-8")
    config = written(capsys, cfg, tmp_path / "my.yaml", take_lights=True)
    assert list(config.settings) == ["line", "laser_b_power_mw"]
    line = config.settings["line"]
    assert (line.group, line.choices, line.start) == ("Line", ("640 nm",), "640 nm")
    assert (line.safe, line.laser, line.watts) == ("Dark", "Line", {"640 nm": 0.001})
    text = (tmp_path / "my.yaml").read_text("utf-8")
    for group, why in (
        ("Empty", "it has no presets"),
        ("Camera", "preset 'Fast' sets Camera.PixelType: pixels are of one type"),
        ("On", "no preset of it switches off what looks like light: Laser B.Power_mW"),
        ("Wheel", "Wheel.Label is set by the setting 'Line' (its presets of Line) already"),
    ):
        assert f'check: not the group "{group}": {why}' in text


@pytest.mark.slow
def test_groups_of_the_demo_are_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = cli(capsys, "devices", "demo", "--write", tmp_path / "demo.yaml")
    assert code == 0
    assert "config group" in out and "Rhodamine" in out
    text = (tmp_path / "demo.yaml").read_text("utf-8")
    config = microscope(uncommented(text))
    assert list(config.settings) == ["channel", "lightpath", "objective"]
    assert config.settings["channel"].choices == ("Cy5", "DAPI", "FITC", "Rhodamine")
    with Microscope.open(config) as opened:
        assert presets.current(opened.core, "Channel") == config.settings["channel"].start


class Big(GenericDevice):
    """A light source with a limit of many digits."""

    def __init__(self, high: float = 1234567.0) -> None:
        super().__init__()
        self.register_property("Power setpoint", default_value=0.0, limits=(0.0, high))


BESIDE = """
from tests.devices.test_inventory import Big
from tests.faulty import StillCamera

class Light(Big): ...
class Camera(StillCamera): ...
"""
DEMO_CFG = """Property,Core,Initialize,0
Device,Camera,DemoCamera,DCam
Device,Obj,DemoCamera,DObjective
Property,Core,Initialize,1
Property,Core,Camera,Camera
Label,Obj,0,10x
ConfigGroup,System,Startup,Obj,State,0
ConfigPixelSize,Res10x,Obj,Label,10x
PixelSize_um,Res10x,0.065
"""


def written(
    capsys: pytest.CaptureFixture[str], source: Path, target: Path, *, take_lights: bool = False
) -> MicroscopeConfig:
    """The microscope of the starter config for `source`, which `check` accepts."""
    code, _, err = cli(capsys, "devices", source, "--write", target)
    assert code == 0, err
    if take_lights:
        target.write_text(uncommented(target.read_text("utf-8")), encoding="utf-8")
    code, _, err = cli(capsys, "check", target)
    assert code == 0, err
    return load_config(target).microscope


def config_of(folder: Path, **lights: dict[str, Any]) -> Path:
    """A config with a module beside it."""
    (folder / "beside.py").write_text(BESIDE, encoding="utf-8")
    devices: dict[str, Any] = {"Camera": {"class": "beside:Camera"}}
    devices |= {label: {"class": "beside:Light", "options": o} for label, o in lights.items()}
    scope = {"python_devices": devices, "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    file = folder / "source.yaml"
    file.write_text(plain_yaml.write({"plan": "live", "microscope": scope}), encoding="utf-8")
    return file


@pytest.mark.slow
@pytest.mark.parametrize("size", ["0", "0.0", "0.065"])
def test_starter_config_of_a_cfg_with_any_pixel_size(
    size: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = tmp_path / "my.cfg"
    cfg.write_text(DEMO_CFG.replace("0.065", size), encoding="utf-8")
    config = written(capsys, cfg, tmp_path / "my.yaml")
    assert config.pixel_size_nm == (65 if size == "0.065" else 100)


@pytest.mark.parametrize("place", [".", "below"])
def test_starter_config_finds_its_cfg_from_where_it_is_written(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "my.cfg").write_text(DEMO_CFG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    target = Path(place) / "my.yaml"
    config = written(capsys, Path("my.cfg"), target)
    assert config.cfg is not None and Path(config.cfg).samefile("my.cfg")
    shown = "my.cfg" if place == "." else str(tmp_path / "my.cfg")
    assert f"  cfg: {shown}\n" in target.read_text("utf-8")


def test_starter_config_of_a_config_has_its_devices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A module beside it, limits of many digits, and labels that come down to one name."""
    lights: dict[str, dict[str, Any]] = {"AOM 1": {"high": 1234567.0}, "AOM_1": {"high": 0.1 + 0.2}}
    source = config_of(tmp_path, **lights)
    (tmp_path / "below").mkdir()
    config = written(capsys, source, tmp_path / "below" / "new.yaml", take_lights=True)
    assert set(config.python_devices) == {"Camera", "AOM 1", "AOM_1"}
    assert config.pixel_size_nm == 20
    spans = {name: setting.range for name, setting in config.settings.items()}
    assert spans == {
        "aom_1_power_setpoint": (0, 1234567),
        "aom_1_power_setpoint_2": (0, 0.1 + 0.2),
    }


@pytest.mark.slow
def test_each_suggestion_of_a_starter_config_can_be_taken_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a person does it by hand: the comment marks of some lines are removed."""
    source = faulty.write(tmp_path / "source.yaml", faulty.config())
    file = tmp_path / "new.yaml"
    written(capsys, source, file)
    lines = file.read_text("utf-8").splitlines()
    (fields,) = (at for at, line in enumerate(lines) if line.startswith("  # fields:"))
    settings = lines.index("  # settings:")
    first = lines.index("  #   excitation_power_mw:")
    second = lines.index("  #   depletion_power_mw:")
    end = lines.index("live:")
    for taken, lasers in (
        ({fields}, set()),
        ({settings, *range(first, second)}, {"Excitation"}),
        ({settings, *range(second, end)}, {"Depletion"}),
        ({fields, settings, *range(first, end)}, {"Excitation", "Depletion"}),
    ):
        by_hand = [
            line.replace("# ", "", 1) if at in taken else line for at, line in enumerate(lines)
        ]
        file.write_text("\n".join(by_hand), encoding="utf-8")
        code, _, err = cli(capsys, "check", file)
        assert code == 0, err
        config = load_config(file).microscope
        assert set(config.lasers) == lasers
        assert (config.fields.centre_um is not None) == (fields in taken)
    # Those that say "instead" are no use beside what they replace, which is told with its line.
    at = next(at for at, line in enumerate(lines) if line.strip().startswith("# dwell_time"))
    lines[at] = lines[at].replace("# ", "", 1)
    file.write_text("\n".join(lines), encoding="utf-8")
    code, _, err = cli(capsys, "check", file)
    assert code == 2
    assert "takes one of `dwell_time`, `camera_ms`, `camera`" in err and "line " in err


def test_starter_config_is_not_written_where_there_is_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "nowhere" / "my.yaml"
    code, out, err = cli(capsys, "devices", "demo", "--write", target)
    assert (code, out) == (2, "")
    assert "there is no folder" in err and "Traceback" not in err
