"""What would be found only with light on is found before."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from devices.config import MicroscopeConfig
from devices.errors import BindingError, Interrupted
from devices.microscope import Microscope
from devices.shot import Shot
from tests import faulty

DEMO: dict[str, Any] = {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
TTL = """Property,Core,Initialize,0
Device,DHub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,DA1,DemoCamera,D-DA
Device,TTL,Utilities,DA TTL State Device
Parent,Camera,DHub
Parent,DA1,DHub
Property,Core,Initialize,1
Property,Core,Camera,Camera
"""
BOTH = """Property,Core,Initialize,0
Device,DHub,DemoCamera,DHub
Device,CamA,DemoCamera,DCam
Device,CamB,DemoCamera,DCam
Device,Both,Utilities,Multi Camera
Parent,CamA,DHub
Parent,CamB,DHub
Property,Core,Initialize,1
Property,Core,Camera,Both
ConfigGroup,System,Startup,Both,Physical Camera 1,CamA
ConfigGroup,System,Startup,Both,Physical Camera 2,CamB
"""
SIZED = """Property,Core,Initialize,0
Device,DHub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Parent,Camera,DHub
Property,Core,Initialize,1
Property,Core,Camera,Camera
ConfigPixelSize,Res,Camera,Binning,1
PixelSize_um,Res,0.1
"""


def camera(prop: str, **setting: Any) -> dict[str, Any]:
    return {"x": {"device": "Camera", "property": prop, **setting}}


def opened(changes: Mapping[str, Any], base: Path) -> None:
    with Microscope.open(MicroscopeConfig.model_validate({**DEMO, **changes}), base=base):
        pass


def test_a_property_of_whole_numbers_is_an_integer_setting() -> None:
    settings = camera("Gain", range=[0, 8], start=2)
    config = MicroscopeConfig.model_validate({**DEMO, "settings": settings})
    assert config.settings["x"].kind == "real"
    with Microscope.open(config) as microscope:
        assert microscope.config.settings["x"].kind == "integer"


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "pre-init property": (
        {"settings": camera("MaximumExposureMs", range=[0, 10000], start=500)},
        ("settings", "x", "property"),
        "before the device is initialized",
    ),
    "real on an integer property": (
        {"settings": camera("Gain", range=[0, 8], start=1.9)},
        ("settings", "x", "kind"),
        "takes whole numbers; accepted: `kind: integer`",
    ),
    "integer on a list of values": (
        {"settings": camera("Binning", kind="integer", range=[1, 4], start=1)},
        ("settings", "x", "range"),
        "takes 1, 2, 4, 8 and nothing between",
    ),
    "choice beyond the limits": (
        {"settings": camera("Gain", kind="choice", choices=[0, 80], start=0)},
        ("settings", "x", "choices"),
        "80 is not what Camera.Gain takes: -5 … 8",
    ),
    "setting of the core": (
        {"settings": {"x": {"device": "Core", "property": "AutoShutter"}}},
        ("settings", "x", "device"),
        "Micro-Manager itself",
    ),
    "exposure as any setting": (
        {"settings": camera("Exposure", unit="ms", range=[1, 1000], start=500)},
        ("settings", "x"),
        "`exposure: {camera: x}`",
    ),
    "exposure is another property": (
        {
            "settings": camera("ReadNoise (electrons)", unit="ms", range=[0.25, 50], start=1),
            "exposure": {"camera": "x"},
        },
        ("exposure", "camera"),
        "accepted: a setting that is Camera.Exposure",
    ),
    "exposure among properties": (
        {"properties": [["Camera", "Exposure", 500]]},
        ("properties", "0"),
        "set by `exposure`",
    ),
    "exposure beyond the camera": (
        {"exposure": {"camera_ms": 20000}},
        (),
        "exposes for 10 ms, not 20000",
    ),
    "property that takes something else": (
        {"properties": [["Camera", "Gain", 1.9]]},
        ("properties", "0"),
        "Camera.Gain is 1 after it was set to 1.9",
    ),
    "colour": (
        {"properties": [["Camera", "PixelType", "32bitRGB"]]},
        ("camera",),
        "4 components a pixel",
    ),
    "a region beyond the camera": (
        {"roi": {"sted": [400, 0, 200, 100]}},
        ("roi", "sted"),
        "is beyond the frame of 512 × 512 px",
    ),
    "pixels of two sizes": (
        {"settings": camera("PixelType", kind="choice", choices=["8bit", "16bit"], start="8bit")},
        ("settings", "x"),
        "several numbers of bytes, 1 at 8bit, 2 at 16bit",
    ),
    "pixel size": (
        {"cfg": "sized.cfg"},
        ("pixel_size_nm",),
        "20, but by sized.cfg it is 100 as a run has it",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_is_refused_before_any_light(kind: str, tmp_path: Path) -> None:
    changes, path, message = REFUSED[kind]
    if kind == "setting of the core":
        changes["settings"]["x"] |= {"kind": "choice", "choices": ["0", "1"], "start": "0"}
    (tmp_path / "both.cfg").write_text(BOTH, encoding="ascii")
    (tmp_path / "sized.cfg").write_text(SIZED, encoding="ascii")
    with pytest.raises(BindingError) as caught:
        opened(changes, tmp_path)
    assert message in str(caught.value)
    assert tuple(map(str, caught.value.path)) == path


def test_a_pixel_size_that_agrees_is_taken(tmp_path: Path) -> None:
    (tmp_path / "sized.cfg").write_text(SIZED, encoding="ascii")
    opened({"cfg": "sized.cfg", "pixel_size_nm": 100.5}, tmp_path)


def test_a_choice_is_sent_in_the_property_s_own_spelling(tmp_path: Path) -> None:
    (tmp_path / "ttl.cfg").write_text(TTL, encoding="ascii")
    volts = {"device": "TTL", "property": "TTL Voltage", "kind": "choice", "choices": [3.3, 5]}
    data = {**DEMO, "cfg": "ttl.cfg", "settings": {"volts": {**volts, "start": 3.3}}}
    with Microscope.open(MicroscopeConfig.model_validate(data), base=tmp_path) as scope:
        for value in (5, 3.3):
            shot = Shot("sted", {"volts": value})
            scope.core.mda.run(iter([scope.event(shot, 0)]))
            assert float(scope.core.getProperty("TTL", "TTL Voltage")) == value
            assert scope.received(scope.settings(shot)).settings == {"volts": value}


def test_a_small_number_reaches_a_device_as_it_is(tmp_path: Path) -> None:
    """Micro-Manager's own text of a float has six decimals."""
    noise = camera("Photon Conversion Factor", range=[0.01, 10], start=0.0123)
    config = MicroscopeConfig.model_validate({**DEMO, "settings": noise})
    with Microscope.open(config, base=tmp_path) as scope:
        scope.core.mda.run(iter([scope.event(Shot("sted"), 0)]))
        has = scope.received(scope.settings(Shot("sted"))).settings["x"]
        assert has == float(scope.core.getProperty("Camera", "Photon Conversion Factor"))
        assert has == pytest.approx(0.0123, abs=1e-4)


class Untriggered(faulty.FlakyCamera):
    """A camera that waits for a trigger in vain."""

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        raise RuntimeError("no trigger came")


def test_a_camera_that_gives_no_frame_is_refused(tmp_path: Path) -> None:
    devices = {"Camera": {"class": f"{__name__}:Untriggered"}}
    with pytest.raises(BindingError, match="'Camera' gives no frame: no trigger came"):
        opened({"cfg": None, "python_devices": devices}, tmp_path)


def test_the_look_is_dark(tmp_path: Path) -> None:
    data = faulty.config()["microscope"]
    with Microscope.open(MicroscopeConfig.model_validate(data), base=tmp_path):
        shutter, lasers = faulty.made["Shutter"][-1], faulty.made["Laser"][-2:]
        assert not any(opened for _, opened in shutter.given)
        assert not any(power for laser in lasers for _, power in laser.given)
        assert faulty.made["FlakyCamera"][-1].get_exposure() == 10.0


def test_the_look_leaves_the_exposure_time_as_it_was(tmp_path: Path) -> None:
    """A scanner's is not for a run to set: frames are taken with what the .cfg says."""
    (tmp_path / "my.cfg").write_text(f"{TTL}Property,Camera,Exposure,500\n", encoding="utf-8")
    dwell = {"dwell": {"device": "DA1", "property": "Voltage", "unit": "µs", "range": [0, 5]}}
    dwell["dwell"]["start"] = 1
    scanner = {"cfg": "my.cfg", "settings": dwell, "exposure": {"dwell_time": "dwell"}}
    with Microscope.open(
        MicroscopeConfig.model_validate({**DEMO, **scanner}), base=tmp_path
    ) as microscope:
        assert microscope.core.getExposure() == 500


class Stopping(faulty.FlakyCamera):
    """A camera whose gain is being set when a signal comes."""

    asked = now = False
    gains: tuple[float, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.register_property("Gain", default_value=0.0, limits=(0.0, 8.0), setter=Stopping.take)

    def take(self, gain: float) -> None:
        Stopping.asked, Stopping.gains = True, (*Stopping.gains, gain)


def test_the_look_sets_nothing_once_it_is_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stopping, "asked", False)
    monkeypatch.setattr(Stopping, "gains", ())
    config = faulty.config(
        camera={"class": f"{__name__}:Stopping"},
        microscope={"settings": camera("Gain", range=[0, 8], start=2)},
    )
    scope = MicroscopeConfig.model_validate(config["microscope"])
    with pytest.raises(Interrupted), Microscope.open(scope, stop=Stopping):
        pass
    assert len(Stopping.gains) == 1


def test_a_setting_is_sent_again_where_another_changed_it(tmp_path: Path) -> None:
    """Some cameras forget their gain when something else is set."""
    devices = {
        "Camera": faulty.device("FlakyCamera"),
        "Box": {"class": f"{__name__}:Forgetful"},
    }
    settings = {
        "gain": {"device": "Box", "property": "Gain", "range": [0, 10], "start": 3},
        "speed": {"device": "Box", "property": "Speed", "range": [0, 10], "start": 1},
    }
    data = {**DEMO, "cfg": None, "python_devices": devices, "settings": settings}
    with Microscope.open(MicroscopeConfig.model_validate(data), base=tmp_path) as scope:
        for speed in (1, 2, 2):
            shot = Shot("sted", {"speed": speed})
            scope.core.mda.run(iter([scope.event(shot, 0)]))
            assert scope.received(scope.settings(shot)).settings == {"gain": 3, "speed": speed}
            assert scope.core.getProperty("Box", "Gain") == 3


class Forgetful(faulty.GenericDevice):
    """Setting its speed resets its gain."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = self.speed = 0.0
        self.register_property(
            "Gain",
            property_type=float,
            getter=lambda box: box.gain,
            setter=lambda box, value: setattr(box, "gain", value),
        )
        self.register_property(
            "Speed",
            property_type=float,
            getter=lambda box: box.speed,
            setter=lambda box, value: box.set_speed(value),
        )

    def set_speed(self, value: float) -> None:
        self.gain, self.speed = 0.0, value


@pytest.mark.parametrize(
    ("section", "joules"), [("budget_J", 9.9e-3), ("budget_J", 10e-3), ("per_field_J", 4.9e-3)]
)
def test_check_refuses_a_budget_below_the_least_light(
    section: str, joules: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten frames, five of each field, of 100 mW for 10 ms each."""
    lapse = {"frames": 5, "interval_s": 0.01, "fields": 2, "acquire": "every"}
    file = faulty.write(
        tmp_path / "c.yaml",
        faulty.config(plan="timelapse", timelapse=lapse, dose={section: {"depletion": joules}}),
    )
    code, _, err = faulty.cli(capsys, "check", file)
    if joules == 10e-3:
        assert code == 0, err
    else:
        assert code == 2
        assert f"`dose.{section}.depletion`" in err and "takes at least" in err


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"analysis": {"score": True, "weights": "none.safetensors"}}, ["`analysis.weights`"]),
        ({"optimize": {"prior": ["none"]}}, ["c.yaml, line", "`optimize.prior`", "run folder"]),
        (
            {"optimize": {"engine": "botorch"}},
            ["c.yaml, line", "`optimize.engine`: botorch: is not installed", "pip install"],
        ),
    ],
)
def test_check_opens_what_a_run_needs(
    changes: dict[str, Any],
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent.optimizer.botorch.find_spec", lambda name: None)
    fields = {"fields": {"rows": 7, "columns": 7}, "modes": {"sted": {}, "confocal": {}}}
    parts = {"plan": "optimize", "analysis": {"score": True}, "microscope": fields, **changes}
    file = faulty.write(tmp_path / "c.yaml", faulty.config(**parts))
    commands: list[list[str | Path]] = [["check", file]]
    if "optimize" in changes:  # of the others a process of its own tells, which takes its time
        commands.append(["run", file, "--out", tmp_path / "run"])
    for command in commands:
        code, _, err = faulty.cli(capsys, *command)
        assert code == 2
        assert all(word in err for word in words), err
        assert not (tmp_path / "run").exists()


def test_check_looks_at_the_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = faulty.write(tmp_path / "c.yaml", faulty.config())
    left = shutil.disk_usage(tmp_path)._replace(free=20_000)
    monkeypatch.setattr("agent.run.space.shutil.disk_usage", lambda place: left)
    code, _, err = faulty.cli(capsys, "check", file)
    assert code == 2 and "`runs`" in err and "20.0 kB left" in err


def test_an_exposure_setting_must_be_in_ms() -> None:
    exposure = {"device": "Camera", "property": "Exposure", "range": [1, 9], "start": 1}
    data = {**DEMO, "settings": {"x": {**exposure, "unit": "s"}}, "exposure": {"camera": "x"}}
    with pytest.raises(ValidationError, match="must be ms"):
        MicroscopeConfig.model_validate(data)


def test_numbers_are_not_compared_as_texts() -> None:
    from devices.values import same, spelled

    assert spelled(5.0, ("1", "5", "10")) == "5"
    assert spelled("16bit", ("8bit", "16bit")) == "16bit"
    assert spelled(3.31, ("3.3",)) is None
    assert same("3.3000", 3.3) and not same("On", "on")
