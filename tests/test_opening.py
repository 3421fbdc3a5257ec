"""Opening a microscope whose devices are lit: whatever goes wrong, they are dark afterwards.

The devices stay as they are when they are let go, as hardware does, and write down every
command that reaches them.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from agent.bench import lit
from agent.config import RunConfig
from devices import binding, lights, loading, microscope, opening
from devices.config import MicroscopeConfig
from devices.microscope import Microscope
from tests import faulty
from tests.faulty import cli

TRACED = {each.__file__ for each in (binding, loading, microscope, opening, lights)}

NOT_OPENING = ("close", "_release", "_look_again", "make_safe", "run")


def devices(log: Path, **changes: Any) -> MicroscopeConfig:
    return RunConfig.model_validate(lit.config(log, **changes)).microscope


def ways_out(log: Path, tmp_path: Path, way: str) -> tuple[dict[str, Any], list[str | Path]]:
    """A config and a command that end before any frame."""
    data = lit.config(log)
    scope = data["microscope"]
    command: list[str | Path] = ["run", tmp_path / "c.yaml", "--out", tmp_path / "run"]
    if way == "typo in a setting":
        scope["settings"]["gain"] = {
            "device": "Camera",
            "property": "Gian",
            "range": [0, 1],
            "start": 0,
        }
    elif way == "typo in a laser":
        scope["settings"]["depletion_power"]["property"] = "Power"
        scope["settings"]["other"] = {
            **scope["settings"]["excitation_power"],
            "device": "Depletion",
            "laser": "other",
        }
    elif way == "typo in the second property":
        scope["properties"] = [["Excitation", "Emission", "On"], ["Camera", "Gian", 1]]
    elif way == "a shutter's state":
        scope["properties"] = [["Shutter", "State", 1]]
    elif way == "a folder that is not empty":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "mine.txt").touch()
    elif way == "no such weights":
        data["analysis"] = {"score": True, "weights": "none.safetensors"}
    elif way == "no such class":
        scope["python_devices"]["Late"] = {"class": "agent.bench.lit:Nothing"}
    elif way == "a device that does not come up":
        scope["python_devices"]["Late"] = {"class": "tests.faulty:DeadLaser"}
    elif way == "a range over another's":
        scope["settings"]["again"] = {
            **scope["settings"]["depletion_power"],
            "range": [0, 500],
            "laser": "again",
        }
    elif way == "a bound property":
        scope["properties"] = [["Depletion", "Power_mW", 450]]
    elif way == "no such camera":
        scope["camera"] = "Camra"
    elif way == "devices":
        command = ["devices", tmp_path / "c.yaml"]
    elif way == "check":
        command = ["check", tmp_path / "c.yaml"]
    return data, command


@pytest.mark.parametrize(
    ("way", "code", "message"),
    [
        ("typo in a setting", 2, "Gian"),
        ("typo in a laser", 2, "on Depletion: no 'Power'"),
        ("typo in the second property", 2, "Gian"),
        ("a shutter's state", 2, "State"),
        ("a folder that is not empty", 2, "is there already"),
        ("no such weights", 2, "none.safetensors"),
        ("no such class", 2, "Nothing"),
        ("a device that does not come up", 2, "'Late' did not come up: laser not connected"),
        ("a range over another's", 2, "is the setting 'depletion_power' already"),
        ("a bound property", 2, "`settings.depletion_power.start`"),
        ("no such camera", 2, "did you mean 'Camera'"),
        ("devices", 0, "Shutter closed"),
        ("check", 0, ""),
    ],
)
def test_dark_after_every_way_out(
    way: str, code: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    data, command = ways_out(log, tmp_path, way)
    faulty.write(tmp_path / "c.yaml", data)
    ended, _, err = cli(capsys, *command)
    assert (ended, "Traceback" in err) == (code, False), err
    assert message in err
    if way in ("a range over another's", "a bound property"):
        assert lit.commands(log) == [], "the config alone was wrong"
    assert lit.left_lit(log) == {}
    assert [c for c in lit.commands(log) if c.device == "stage"] == []
    assert not (tmp_path / "run" / "ledger.sqlite").exists()
    assert lit.switched_on(log) == []


class Break(Exception):
    pass


class BreakAt:
    """Raises right before the n-th line of opening that any thread comes to."""

    def __init__(self, line: int) -> None:
        self._left = line
        self.where = ""

    def __call__(self, frame: FrameType, event: str, arg: object) -> BreakAt | None:
        code = frame.f_code
        if code.co_filename not in TRACED or code.co_name in NOT_OPENING:
            return None
        if event == "line":
            self._left -= 1
            if self._left == 0 and not self.where:
                self.where = f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}"
                raise Break(self.where)
        return self


def test_dark_after_an_exception_at_any_line_of_opening(tmp_path: Path) -> None:
    wrong, line = [], 0
    while line < 2000:
        line += 1
        log = tmp_path / f"{line}"
        config = devices(log)
        at = BreakAt(line)
        sys.settrace(at)
        threading.settrace(at)
        try:
            with Microscope.open(config):
                sys.settrace(None)
                break
        except Exception:
            pass
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        if lit.left_lit(log):
            wrong.append((at.where, lit.left_lit(log)))
    assert line > 150, "opening was not traced"
    assert not wrong, "\n".join(map(str, wrong))
