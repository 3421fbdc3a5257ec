"""What a `.cfg` has for its start and its end is done, and never switches light on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from agent.record.summary import summarize
from devices.config import MicroscopeConfig
from devices.errors import BindingError, Interrupted
from devices.microscope import Microscope
from devices.presets import Part
from tests import faulty
from tests.helpers.runs import recorded, run_session

CFG = """Property,Core,Initialize,0
Device,Wheel,DemoCamera,DWheel
Device,Lamp Shutter,DemoCamera,DShutter
#py pyDevice,Lamp,tests.faulty,Laser
#py pyDevice,Spare,tests.faulty,Laser
#py pyDevice,Shutter,tests.faulty,Shutter
#py pyDevice,Camera,tests.faulty,FlakyCamera
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Core,Shutter,Shutter
Property,Lamp,Power_mW,50
ConfigGroup,System,Startup,Wheel,State,3
ConfigGroup,System,Startup,Lamp Shutter,State,1
#py ConfigGroup,System,Startup,Lamp,Power_mW,200
ConfigGroup,System,Shutdown,Wheel,State,7
ConfigGroup,System,Shutdown,Lamp Shutter,State,1
#py ConfigGroup,System,Shutdown,Lamp,Power_mW,200
#py ConfigGroup,System,Shutdown,Spare,Power_mW,80
"""
POWER = {
    "device": "Lamp",
    "property": "Power_mW",
    "unit": "mW",
    "range": [0, 300],
    "start": 5,
    "safe": 0,
    "laser": "lamp",
}


def scope(tmp_path: Path, cfg: str = CFG) -> dict[str, Any]:
    (tmp_path / "my.cfg").write_text(cfg, encoding="utf-8")
    return {
        "cfg": str(tmp_path / "my.cfg"),
        "python_devices": {},
        "settings": {"power": POWER},
        "pixel_size_nm": 20,
        "exposure": {"camera_ms": 10},
        "fields": {},
    }


class Watched:
    """What is there, and how it stands, at each time that the devices are unloaded."""

    def __init__(self, microscope: Microscope) -> None:
        self._core = microscope.core
        self.wheel, self.shutter = "", True
        self._unload = self._core.unloadAllDevices
        self._core.unloadAllDevices = self._look  # type: ignore[method-assign]

    def _look(self) -> None:
        self.wheel = self._core.getProperty("Wheel", "State")
        self.shutter = self._core.getShutterOpen("Lamp Shutter")
        self._unload()


def test_startup_is_done_on_loading_and_shutdown_at_the_end(tmp_path: Path) -> None:
    with Microscope.open(MicroscopeConfig.model_validate(scope(tmp_path))) as microscope:
        lamp, spare = faulty.made["Laser"][-2:]
        assert microscope.core.getProperty("Wheel", "State") == "3"
        assert not microscope.core.getShutterOpen("Lamp Shutter")
        watched = Watched(microscope)
        # As the .cfg's own line had it, until everything was up: then dark, whatever Startup says.
        assert lamp.given[0][1] == 50
        assert {power for _, power in lamp.given[1:]} == {0}
        assert microscope.close().ok
    assert (watched.wheel, watched.shutter) == ("7", False)
    assert {power for _, power in lamp.given[1:]} == {0}
    assert spare.given == [], "what looks like light is not switched on"
    assert not any(is_open for _, is_open in faulty.made["Shutter"][-1].given)


def test_a_shutdown_that_is_refused_is_written_down(tmp_path: Path) -> None:
    """A run is as good as without it, and dark."""
    cfg = f"{CFG}#py ConfigGroup,System,Shutdown,Lamp,Model,new\n"
    result, run = run_session(
        tmp_path, session={}, microscope=scope(tmp_path, cfg), live={"frames": 1}
    )
    assert (result.status, result.safe) == ("completed", True), result.reason
    (fault,) = recorded(run).faults
    assert "Shutdown preset: Lamp.Model = new: " in str(fault)
    assert summarize(run)["safe_state"]["ok"]
    assert faulty.made["Laser"][-2].power == 0


def test_a_shutdown_that_hangs_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.opening._SHUTDOWN_S", 0.2)
    monkeypatch.setattr("devices.opening._LET_GO_S", 0.2)
    cfg = CFG.replace(
        "Property,Core,Initialize,1\n",
        "#py pyDevice,Stuck,tests.faulty,StuckLaser\nProperty,Core,Initialize,1\n",
    )
    cfg += "#py ConfigGroup,System,Shutdown,Stuck,Power_mW,0\n"
    with Microscope.open(MicroscopeConfig.model_validate(scope(tmp_path, cfg))) as microscope:
        lamp = faulty.made["Laser"][-2]
        assert microscope.shut_down("test") == "a device hangs: it is not set after 0.2 s"
        safe = microscope.close()
    faulty.StuckLaser.released.set()
    assert safe.ok and not microscope.closed
    assert lamp.power == 0


def test_a_cfg_that_fails_before_its_groups_leaves_no_preset_lit(tmp_path: Path) -> None:
    """Micro-Manager does not know of the safe preset yet."""
    cfg = (
        CFG.replace("ConfigGroup,System,Startup,Wheel,State,3\n", "Label,Wheel\n")
        + "#py ConfigGroup,Lamp,On,Lamp,Power_mW,50\n#py ConfigGroup,Lamp,Off,Lamp,Power_mW,0\n"
    )
    lamp = {"group": "Lamp", "choices": ["On"], "start": "On", "safe": "Off"}
    asked = {**scope(tmp_path, cfg), "settings": {"lamp": lamp}}
    with (
        pytest.raises(BindingError, match="Label command requires 3 arguments"),
        Microscope.open(MicroscopeConfig.model_validate(asked)),
    ):
        pass
    assert [power for _, power in faulty.made["Laser"][-2].given] == [50, 0]


def test_a_safe_preset_is_carried_out_as_far_as_its_devices_are_there(tmp_path: Path) -> None:
    """What is not there keeps nothing else lit."""
    cfg = (
        CFG + "#py ConfigGroup,Lamp,On,Lamp,Power_mW,50\n#py ConfigGroup,Lamp,Off,Lamp,Power_mW,0\n"
        "#py ConfigGroup,Lamp,On,Late,Power_mW,50\n#py ConfigGroup,Lamp,Off,Late,Power_mW,0\n"
    )
    lamp = {"group": "Lamp", "choices": ["On"], "start": "On", "safe": "Off"}
    late = {"Late": {"class": "tests.faulty:Nothing"}}
    asked = {**scope(tmp_path, cfg), "settings": {"lamp": lamp}, "python_devices": late}
    with (
        pytest.raises(BindingError, match="cannot be imported"),
        Microscope.open(MicroscopeConfig.model_validate(asked)),
    ):
        pass
    assert faulty.made["Laser"][-2].power == 0


@pytest.mark.parametrize(
    ("kept", "listed"),
    [
        ([], [("Laser_Shutter", "State", "0")]),
        ([["Laser_Shutter", "State", 1, 0]], []),
        ([["Laser_Shutter", "Label", "State-1", "State-0"]], []),
    ],
)
def test_a_switch_that_is_called_as_light_is_listed(
    kept: list[list[Any]], listed: list[tuple[str, ...]], tmp_path: Path
) -> None:
    """Many a shutter is a state device; so is the filter wheel, which is not called so."""
    cfg = CFG.replace("Device,Wheel", "Device,Laser_Shutter,DemoCamera,DWheel\nDevice,Wheel", 1)
    asked = {**scope(tmp_path, cfg), "properties": kept}
    with Microscope.open(MicroscopeConfig.model_validate(asked)) as microscope:
        loose = [(one.device, one.property, one.value) for one in microscope.loose]
    assert [one for one in loose if one[0] != "Spare"] == listed


class Asked:
    """Whether it is to end, as a signal says it."""

    asked, now = False, False


def test_no_line_of_a_cfg_is_carried_out_once_it_is_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal while its devices come up: what the lines after that would light stays dark."""
    stop = Asked()
    monkeypatch.setattr(faulty.FlakyCamera, "initialize", lambda self: setattr(stop, "asked", True))
    config = MicroscopeConfig.model_validate(scope(tmp_path))
    with pytest.raises(Interrupted), Microscope.open(config, stop=stop):
        pass
    assert {power for _, power in faulty.made["Laser"][-2].given} <= {0}


def test_startup_ends_where_it_is_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal within it: nothing of it moves after that, and what moves by it is told to stop."""
    stop, done = Asked(), []
    put = Part.put

    def put_one(part: Part, core: Any) -> None:
        done.append(part.where)
        stop.asked = True
        put(part, core)

    monkeypatch.setattr(Part, "put", put_one)
    cfg = f"{CFG}ConfigGroup,System,Startup,Wheel,ClosedPosition,2\n"
    config = MicroscopeConfig.model_validate(scope(tmp_path, cfg))
    with pytest.raises(Interrupted), Microscope.open(config, stop=stop):
        pass
    assert done == ["Wheel.State"]


def test_a_second_signal_does_not_wait_for_a_shutdown_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.opening._SHUTDOWN_S", 60)
    monkeypatch.setattr("devices.opening._LET_GO_S", 0.2)
    stop = Asked()
    monkeypatch.setattr("devices.opening.shut_down", lambda core, lights: hang(stop))
    with Microscope.open(MicroscopeConfig.model_validate(scope(tmp_path)), stop=stop) as microscope:
        assert "not waited for" in str(microscope.shut_down("test"))
        safe = microscope.close()
    released.set()
    assert safe.ok


released = threading.Event()


def hang(stop: Asked) -> None:
    stop.asked = stop.now = True
    released.wait(20)
