"""A `.cfg` in the styles that people have: listed, checked and run as it is, or one clear line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agent.config import load
from agent.record.summary import summarize
from tests.devices.test_inventory import uncommented
from tests.faulty import cli

CFGS = Path(__file__).parent / "cfgs"
WORKS = {
    "windows": ("channel",),
    "old_mac": ("vergrößerung",),
    "bom": (),
    "channels": ("channel",),
    "two_shutters": (),
    "led_wheel": ("light",),
    "analog": (),
    "pixel_sizes": (),
    "multi_camera": (),
}
"""Those that work, and the groups that a starter config offers as settings."""
REFUSED = {
    "tabs": "line 2",
    "serial_ports": "line 2: Device,COM3,SerialManager,COM3",
    "decimal_comma": "line 7: PixelSize_um,Res40x,0,1625",
    "never_initialized": "the file lacks the line `Property,Core,Initialize,1`",
    "slashes": "reserved or invalid characters",
}
"""Those that do not, and what is said of them."""


@pytest.mark.parametrize("name", WORKS)
@pytest.mark.slow
def test_works(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(CFGS / f"{name}.cfg", tmp_path)
    config, run = tmp_path / "my.yaml", tmp_path / "run"
    for command in (
        ("devices", tmp_path / f"{name}.cfg", "--write", config),
        ("check", config),
        ("run", config, "--set", "live.frames=2", "--out", run),
    ):
        code, _, err = cli(capsys, *command)
        assert (code, "Traceback" in err) == (0, False), (command[0], err)
    summary = summarize(run)
    assert (summary["status"], summary["frames"]["acquired"]) == ("completed", 2)
    assert summary["safe_state"]["ok"]
    text = config.read_text("utf-8")
    if "  # settings:\n" in text:
        config.write_text(uncommented(text), encoding="utf-8")
    code, _, err = cli(capsys, "check", config)
    assert code == 0, err
    settings = load(config).microscope.settings
    assert WORKS[name] == tuple(key for key, one in settings.items() if one.group is not None)


@pytest.mark.parametrize("name", REFUSED)
def test_ends_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg, config = CFGS / f"{name}.cfg", tmp_path / "my.yaml"
    code, _, err = cli(capsys, "devices", cfg, "--write", config)
    if code == 0:
        code, _, err = cli(capsys, "check", config)
    assert (code, len(err.splitlines())) == (2, 1), err
    assert REFUSED[name] in err
