"""Loading a microscope: `.cfg` files as people have them, adapters, and modules beside a config."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.config import load, plain_yaml
from agent.record.folder import read_config
from devices import adapters
from devices.config import ExposureConfig, MicroscopeConfig
from devices.errors import BindingError
from devices.loading import new_core
from devices.opening import open_core
from tests.faulty import cli

CFG = """# a comment
Property,Core,Initialize,0
Device,DHub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,Obj,DemoCamera,DObjective
Device,Shutter 1,DemoCamera,DShutter

Parent,Camera,DHub
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Core,AutoFocus,
Property,Core,AutoShutter,1
Label,Obj,0,10x
Delay,Shutter 1,50.0
FocusDirection,Obj,1
ConfigGroup,Channel,far red,Obj,State,0
ConfigPixelSize,Res10x,Obj,Label,10x
PixelSize_um,Res10x,0.065
PixelSizeAffine,Res10x,0.065,0,0,0,-0.065,0
"""
UMLAUTS = CFG.replace("a comment", "Größe, 5 µm").replace("10x", "10× Öl")


def config(cfg: Path | str) -> MicroscopeConfig:
    return MicroscopeConfig(cfg=str(cfg), pixel_size_nm=20, exposure=ExposureConfig(camera_ms=10))


@pytest.mark.parametrize(
    ("content", "label"),
    [
        (CFG.encode(), "10x"),
        (CFG.replace("\n", "\r\n").encode(), "10x"),
        (CFG.replace("\n", "\r").encode(), "10x"),
        (CFG.encode("utf-8-sig"), "10x"),
        (CFG.encode("utf-16"), "10x"),
        (UMLAUTS.encode(), "10× Öl"),
        (UMLAUTS.encode("utf-8-sig"), "10× Öl"),
        (UMLAUTS.encode("latin-1"), "10× Öl"),
        (f"{CFG}SomethingNew,Camera,3\n".encode(), "10x"),
    ],
    ids=["lf", "crlf", "cr", "bom", "utf-16", "utf-8", "umlauts bom", "latin-1", "new command"],
)
def test_a_cfg_that_micro_manager_loads_loads(content: bytes, label: str, tmp_path: Path) -> None:
    file = tmp_path / "my.cfg"
    file.write_bytes(content)
    with open_core(config(file)) as held:
        assert held.core.getCameraDevice() == "Camera"
        assert held.core.getAllowedPropertyValues("Obj", "Label")[0] == label
        assert held.core.getDeviceDelayMs("Shutter 1") == 50
        assert held.core.getPixelSizeUm() == 0.065


@pytest.mark.parametrize(
    ("line", "number", "why"),
    [
        ("Device,COM3,SerialManager,COM3", 3, "'SerialManager' is not a known"),
        ("Device,Cam,DemoCamera,DNone", 3, "DNone"),
        ("PixelSize_um,Res10x,0,065", 3, "requires 2 arguments, got 3"),
        ("Property,Laser,Power,5", 3, 'No device with label "Laser"'),
        ("ConfigGroup,System,Shutdown", 3, "requires 1, 4, or 5 arguments"),
    ],
)
def test_a_refused_line_is_told_with_its_reason(
    line: str, number: int, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "my.cfg"
    file.write_text(f"Property,Core,Initialize,0\n\n{line}\n", encoding="utf-8")
    with pytest.raises(BindingError) as refused, open_core(config(file)):
        pass
    said = str(refused.value)
    assert f"my.cfg, line {number}: {line}: " in said and why in said
    assert "\n" not in said
    hints = ("adapters are looked for in", "MICROMANAGER_PATH", "mmcore install")
    assert all(hint in said for hint in hints) == line.startswith("Device")


def test_a_startup_that_fails_is_told(tmp_path: Path) -> None:
    file = tmp_path / "my.cfg"
    file.write_text(f"{CFG}ConfigGroup,System,Startup,Obj,Label,20x\n", encoding="utf-8")
    with pytest.raises(BindingError, match=r"my\.cfg.*20x"), open_core(config(file)):
        pass


def test_an_installed_micro_manager_comes_before_the_adapters_for_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = adapters.adapters_for("demo")
    assert tests is not None
    installed = SimpleNamespace(path=tmp_path, div_compatible=True)
    old = SimpleNamespace(path=tmp_path / "old", div_compatible=False)
    ours = SimpleNamespace(path=tests.resolve(), div_compatible=True)
    monkeypatch.delenv(adapters.VARIABLE, raising=False)
    for found, expected in (
        ([old, ours, installed], tmp_path),
        ([ours], tests),
        ([old], tests),
        ([], tests),
    ):
        discovered: list[Any] = found
        monkeypatch.setattr(
            "pymmcore_plus._discovery.discover_mm", lambda discovered=discovered: iter(discovered)
        )
        assert adapters.adapters_for("my.cfg") == expected
        assert adapters.adapters_for("demo") == tests
        assert adapters.adapters_for(None) is None
    monkeypatch.setenv(adapters.VARIABLE, str(tmp_path / ".."))
    assert adapters.adapters_for("my.cfg") == tmp_path / ".."


LASER = """
from pymmcore_plus.experimental.unicore import GenericDevice
from tests.faulty import StillCamera as Camera
import helper_of_{folder}

class Laser(GenericDevice):
    made_by = helper_of_{folder}.NAME
"""


def beside(folder: Path, module: str = "my_devices") -> Path:
    """A config with a module beside it, which imports another one from there."""
    folder.mkdir()
    name = folder.name
    (folder / f"{module}.py").write_text(LASER.format(folder=name), encoding="utf-8")
    (folder / f"helper_of_{name}.py").write_text(f"NAME = {name!r}\n", encoding="utf-8")
    devices = {label: {"class": f"{module}:{label}"} for label in ("Camera", "Laser")}
    scope = {"python_devices": devices, "pixel_size_nm": 20, "exposure": {"camera_ms": 1}}
    data = {"plan": "live", "live": {"frames": 2}, "microscope": scope}
    file = folder / "my.yaml"
    file.write_text(plain_yaml.write(data), encoding="utf-8")
    return file


@pytest.fixture(autouse=True)
def _same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is imported from beside a config is gone for the next test."""
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_module_beside_the_config_is_found_by_run_and_by_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file, run = beside(tmp_path / "a"), tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    assert cli(capsys, "check", "a/my.yaml")[0] == 0
    code, _, err = cli(capsys, "run", "a/my.yaml", "--out", run)
    assert code == 0, err
    assert read_config(run).microscope.modules == file.parent
    with open_core(read_config(run).microscope, base=run) as held:
        assert held.core.getDeviceLibrary("Laser") == "my_devices"


def test_modules_of_one_name_beside_two_configs_are_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        file = beside(tmp_path / name)
        with open_core(load(file).microscope, base=file.parent):
            assert sys.modules["my_devices"].Laser.made_by == name


def test_a_module_with_a_name_in_use_is_refused(tmp_path: Path) -> None:
    file = beside(tmp_path / "c", "devices")
    scope = load(file).microscope
    with pytest.raises(BindingError, match=r"in use; rename it"), open_core(scope):
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
        ("class Laser(", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("", "has no attribute"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told(text: str, said: str, tmp_path: Path) -> None:
    file = beside(tmp_path / "d", "broken_devices")
    (file.parent / "broken_devices.py").write_text(text, encoding="utf-8")
    with pytest.raises(BindingError) as refused, open_core(load(file).microscope):
        pass
    assert said in str(refused.value) and str(file.parent) in str(refused.value)


def test_devices_names_a_cfg_that_is_in_use(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "c.cfg"
    file.write_text(CFG, encoding="utf-8")
    with open_core(config(file)):
        code, _, err = cli(capsys, "devices", file)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert err.startswith(f"{file}: is in use by process ")


@pytest.mark.parametrize("labels", [True, False])
def test_a_cfg_that_never_initializes_its_devices_is_told_which_line_it_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: bool
) -> None:
    """Micro-Manager would load it, and leave all of its devices useless."""
    file = tmp_path / "c.cfg"
    lines = [line for line in CFG.splitlines() if line != "Property,Core,Initialize,1"]
    if not labels:  # then none of its lines is refused
        lines = lines[: lines.index("Parent,Camera,DHub")]
    file.write_text("\n".join(lines), encoding="utf-8")
    code, _, err = cli(capsys, "devices", file)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert str(file) in err
    assert "Property,Core,Initialize,1" in err


@pytest.mark.parametrize(
    ("line", "before", "said"),
    [
        ("Device,Focus,Utilities,DA Z Stage", True, "No DA Device loaded"),
        ("Device,Wheel,DemoCamera,DWheel", False, "before it there is no Wheel"),
    ],
    ids=["fails to initialize", "is never initialized"],
)
def test_a_cpp_device_that_did_not_come_up_is_refused(
    line: str, before: bool, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not used as if it were there: neither one that fails, nor one that is not asked."""
    file = tmp_path / "c.cfg"
    initializes = "Property,Core,Initialize,1"
    lines = [line, initializes] if before else [initializes, line]
    file.write_text("\n".join(["Device,Camera,DemoCamera,DCam", *lines]), encoding="utf-8")
    code, _, err = cli(capsys, "devices", file)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert str(file) in err and said in err


def test_a_core_that_is_let_go_of_is_not_destroyed() -> None:
    """Its destructor has waited for ever for its logging thread, in a garbage collection."""
    config = MicroscopeConfig(cfg="demo", pixel_size_nm=20, exposure=ExposureConfig(camera_ms=10))
    with open_core(config) as held:
        core: Any = held.core
    assert core.getLoadedDevices() == ("Core",)
    # Of what SWIG does not own it calls no destructor.
    assert core.thisown is False


def test_a_core_never_waits_for_its_logging_thread_to_end() -> None:
    """As it does to write another log, at times for ever: 1 in some thousands of cores."""
    core = new_core(lambda: None)
    assert not core.getPrimaryLogFile()
