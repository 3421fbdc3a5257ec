"""Opening a microscope whose devices are lit: after every failure they are dark.

The devices stay as they are when they are released, as hardware does, and write down every
command that reaches them.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from agent.bench import lit
from agent.config import RunConfig
from devices import binding, lights, loading, microscope, opening
from devices.config import MicroscopeConfig
from devices.errors import BindingError, DeviceFault, Interrupted
from devices.microscope import Microscope
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import recorded

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


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "code", "message"),
    [
        ("typo in a setting", 2, "Gian"),
        ("typo in a laser", 2, "on Depletion: found 'Power'"),
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
    assert (tmp_path / "run").exists() == (way == "a folder that is not empty")
    assert lit.switched_on(log) == []


Trace = Callable[[FrameType, str, Any], Any]


class Break(Exception):
    pass


class BreakAt:
    """Raises right before a line of opening that it has not raised at yet, in any thread.

    Those of `opening` count once for the first device, and once for a later one.

    Parameters
    ----------
    done
        Lines that one has raised at; gets another one.
    passed
        Calls, by file, line and number, that returned without: there is no other line in them,
        and to look at each again takes half of the time.
    """

    def __init__(self, done: set[tuple[str, int, int]], passed: set[tuple[str, int, int]]) -> None:
        self._done, self._passed = done, passed
        self._seen: Counter[tuple[str, int]] = Counter()
        self._calls: Counter[tuple[str, int]] = Counter()
        self._look_of_opening = self._looks(None)
        self.where = ""

    def __call__(self, frame: FrameType, event: str, arg: object) -> Trace | None:
        code = frame.f_code
        if code.co_filename not in TRACED or code.co_name in NOT_OPENING:
            return None
        if self.where:  # it has raised: what follows need not be traced
            sys.settrace(None)
            return None
        if code.co_filename == opening.__file__:
            return self._look_of_opening
        begins = (code.co_filename, code.co_firstlineno)
        self._calls[begins] += 1
        call = (*begins, self._calls[begins])
        return None if call in self._passed else self._looks(lambda: self._passed.add(call))

    def _looks(self, returned: Callable[[], None] | None) -> Trace:
        def look(frame: FrameType, event: str, arg: object) -> Trace | None:
            if self.where:
                return None
            if event == "line":
                code = frame.f_code
                line = (code.co_filename, frame.f_lineno)
                self._seen[line] += 1
                at = (*line, self._seen[line])
                again = returned is None and self._seen[line] == 4
                if (self._seen[line] == 1 or again) and at not in self._done:
                    self._done.add(at)
                    self.where = f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}"
                    raise Break(self.where)
            elif event == "return" and returned is not None:
                returned()
            return look

        return look


@pytest.mark.slow
def test_dark_after_an_exception_at_any_line_of_opening(tmp_path: Path) -> None:
    done: set[tuple[str, int, int]] = set()
    passed: set[tuple[str, int, int]] = set()
    wrong = []
    while True:
        log = tmp_path / f"{len(done)}"
        config = devices(log)
        at = BreakAt(done, passed)
        sys.settrace(at)
        threading.settrace(at)
        try:
            with Microscope.open(config):
                sys.settrace(None)
        except Exception:
            pass
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
        if lit.left_lit(log):
            wrong.append((at.where, lit.left_lit(log)))
        if not at.where:
            break
    assert len(done) > 150, "opening was not traced"
    assert not wrong, "\n".join(map(str, wrong))


@pytest.fixture
def stuck(impatient: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Short patience, and devices that are let go of in the end."""
    faulty.StuckLaser.released.clear()
    monkeypatch.setattr("devices.opening._LOADING_S", 1.0)
    yield
    faulty.StuckLaser.released.set()


@pytest.mark.parametrize("comes_up", [True, False])
def test_a_device_that_hangs_keeps_nothing_lit_and_ends_the_opening(
    comes_up: bool, tmp_path: Path, stuck: None
) -> None:
    """Whether it hangs in loading or in being set, between two others that are lit."""
    data = lit.config(tmp_path / "log")
    laser = {"class": "tests.faulty:StuckLaser", "options": {"comes_up": comes_up}}
    devices = data["microscope"]["python_devices"]
    first = devices.pop("Excitation")
    data["microscope"]["python_devices"] = {"Excitation": first, "Stuck": laser, **devices}
    power = data["microscope"]["settings"]["excitation_power"]
    data["microscope"]["settings"]["stuck_power"] = {**power, "device": "Stuck", "laser": "stuck"}
    config = RunConfig.model_validate(data).microscope
    began = time.monotonic()
    with pytest.raises((BindingError, DeviceFault)) as caught, Microscope.open(config):
        pass
    assert time.monotonic() - began < 200, "it hangs for 600 s"
    assert "stuck_power" in str(caught.value) or "hangs" in str(caught.value)
    assert lit.left_lit(tmp_path / "log") == {}
    assert opening.hanging()


class Asked:
    """One signal, and no second one."""

    asked, now = True, False


def test_one_signal_ends_the_opening_where_a_device_hangs(
    tmp_path: Path, stuck: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.opening._LOADING_S", 300.0)
    monkeypatch.setattr("devices.opening._ASKED_S", 0.3)
    data = lit.config(tmp_path / "log")
    options = {"comes_up": False, "name": "second"}
    laser = {"class": "tests.faulty:StuckLaser", "options": options}
    others = data["microscope"]["python_devices"]
    data["microscope"]["python_devices"] = {"Stuck": laser, **others}
    config = RunConfig.model_validate(data).microscope
    with pytest.raises(Interrupted), Microscope.open(config, stop=Asked()):
        pass
    assert lit.left_lit(tmp_path / "log") == {}


def test_a_startup_preset_that_fails_halfway_leaves_nothing_lit(tmp_path: Path) -> None:
    """Micro-Manager unloads the devices of a .cfg that fails; they are made safe before that."""
    (tmp_path / "s.cfg").write_text(
        "Device,Camera,DemoCamera,DCam\n"
        "#py pyDevice,Lamp,tests.faulty,Laser\n"
        "#py pyDevice,Shutter,tests.faulty,Shutter\n"
        "Property,Core,Initialize,1\n"
        "#py ConfigGroup,System,Startup,Lamp,Power_mW,200\n"
        "#py ConfigGroup,System,Startup,Shutter,Nothing,1\n",
        encoding="utf-8",
    )
    data = lit.config(tmp_path / "log")["microscope"]
    power = {**data["settings"]["excitation_power"], "device": "Lamp"}
    config = MicroscopeConfig.model_validate(
        {
            "cfg": "s.cfg",
            "pixel_size_nm": 20,
            "exposure": {"camera_ms": 10},
            "settings": {"lamp": power},
        }
    )
    with pytest.raises(BindingError, match="Nothing"), Microscope.open(config, base=tmp_path):
        pass
    assert {power for _, power in faulty.made["Laser"][-1].given} == {0}
    assert {is_open for _, is_open in faulty.made["Shutter"][-1].given} == {False}


def test_a_property_is_given_back_and_light_that_nobody_keeps_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = lit.config(tmp_path / "log")
    data["microscope"]["properties"] = [["Excitation", "Emission", "On", "Off"]]
    file = faulty.write(tmp_path / "c.yaml", data)
    code, out, err = cli(capsys, "check", file)
    assert code == 0, err
    said = " ".join(out.split())
    assert "Shutter closed, excitation_power at 0" in said
    assert "Excitation.Emission at Off" in said
    assert "left as it is Depletion.Emission is On" in said
    assert "left as it is Excitation" not in said
    # So it is afterwards, of every run.
    code, _, err = cli(capsys, "run", file, "--out", tmp_path / "run", "--set", "live.frames=1")
    assert code == 0, err
    (session,) = recorded(tmp_path / "run").sessions
    assert session["loose"] == [{"device": "Depletion", "property": "Emission", "value": "On"}]
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "not made safe: Depletion.Emission (On)" in report


class Silent:
    """Makes one call of a device fail: its `at`th of that method."""

    def __init__(self, method: Callable[..., Any], at: int) -> None:
        self.method, self._at, self.calls = method, at, 0

    def __get__(self, device: object, owner: type) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self.calls += 1
            if self.calls == self._at:
                raise RuntimeError("cable is out")
            return self.method(device, *args)

        return call


@pytest.mark.parametrize(
    ("kind", "method"),
    [
        (lit.LitLaser, "busy"),
        (lit.Stage, "busy"),
        (lit.Stage, "get_position_um"),
        (lit.Camera, "sensor_shape"),
        (lit.Camera, "get_exposure"),
    ],
)
def test_a_device_that_does_not_answer_while_it_is_opened_is_told_in_words(
    kind: type,
    method: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever question it is: the first of its kind, or one halfway to the end."""
    asked = Silent(getattr(kind, method), sys.maxsize)
    monkeypatch.setattr(kind, method, asked)
    file = faulty.write(tmp_path / "c.yaml", lit.config(tmp_path / "log"))
    assert cli(capsys, "check", file)[0] == 0
    for at in {1, (asked.calls + 1) // 2}:
        silent = Silent(asked.method, at)
        monkeypatch.setattr(kind, method, silent)
        code, _, err = cli(capsys, "check", file)
        assert code in (1, 2), f"call {at}: {err}"
        assert "cable is out" in err
        assert lit.left_lit(tmp_path / "log") == {}


def test_a_driver_that_exits_is_no_end_without_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lit.Camera, "get_exposure", lambda _: sys.exit(0))
    file = faulty.write(tmp_path / "c.yaml", lit.config(tmp_path / "log"))
    code, _, err = cli(capsys, "check", file)
    assert code == 1
    assert "does not answer: SystemExit" in err
    assert lit.left_lit(tmp_path / "log") == {}
