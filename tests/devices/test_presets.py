"""Settings that are config groups: sent, read back, made safe, and refused where light is open."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agent.config import load, plain_yaml
from agent.config.data import as_data
from agent.record.folder import read_config
from agent.record.ledger import Ledger
from agent.record.summary import summarize
from agent.run import Session
from agent.run.estimate import expect
from devices import presets
from devices.config import MicroscopeConfig
from devices.errors import BindingError, DeviceFault
from devices.microscope import Microscope
from devices.shot import Shot
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import cut_after, mean_score, recorded, run_session

CHANNEL: dict[str, Any] = {"group": "Channel", "choices": ["FITC", "DAPI"], "start": "FITC"}
DEMO: dict[str, Any] = {
    "cfg": "demo",
    "pixel_size_nm": 1000,
    "exposure": {"camera_ms": 1},
    "settings": {"channel": CHANNEL},
    "modes": {"sted": {}, "dapi": {"channel": "DAPI"}},
}
CFG = """Property,Core,Initialize,0
Device,Wheel,DemoCamera,DWheel
Device,Other Shutter,DemoCamera,DShutter
Property,Core,Initialize,1
ConfigGroup,Empty
ConfigGroup,Line,640 nm,Wheel,State,1
ConfigGroup,Line,640 nm,Excitation,Power_mW,5
ConfigGroup,Line,640 nm,Depletion,Power_mW,0
ConfigGroup,Line,775+640,Wheel,State,2
ConfigGroup,Line,775+640,Excitation,Power_mW,10
ConfigGroup,Line,775+640,Depletion,Power_mW,100
ConfigGroup,Line,Dark,Wheel,State,0
ConfigGroup,Line,Dark,Excitation,Power_mW,0
ConfigGroup,Line,Dark,Depletion,Power_mW,0
ConfigGroup,Line,Half,Excitation,Power_mW,0
ConfigGroup,Turn,Left,Wheel,Label,State-4
ConfigGroup,Turn,Right,Wheel,Label,State-5
ConfigGroup,Place,One,Wheel,State,1
ConfigGroup,Place,Beyond,Wheel,State,77
ConfigGroup,Place,Gone,Whel,State,1
ConfigGroup,Place,Opening,Other Shutter,State,1
ConfigGroup,Place,Eye,Core,Camera,Camera
ConfigGroup,Place,Slow,Camera,Exposure,500
ConfigGroup,Place,Side,Core,Shutter,Other Shutter
ConfigGroup,Place,Front,Core,Shutter,Shutter
ConfigGroup,Place,Back,Core,Shutter,Shuter
"""
LINE: dict[str, Any] = {
    "group": "Line",
    "choices": ["640 nm", "775+640"],
    "start": "640 nm",
    "safe": "Dark",
    "laser": "lines",
    "watts": {"640 nm": 0.005, "775+640": 0.11},
}

BY_LASER: dict[str, Any] = {
    "640 nm": {"red": 0.005},
    "775+640": {"red": 0.01, "donut": 0.1},
}


def demo(**changes: Any) -> MicroscopeConfig:
    return MicroscopeConfig.model_validate(DEMO | changes)


def scope(tmp_path: Path, *, shutter: bool = True, **changes: Any) -> dict[str, Any]:
    """Two Python lasers that presets of a `.cfg` switch, and a wheel of Micro-Manager's."""
    (tmp_path / "my.cfg").write_text(CFG, encoding="utf-8")
    devices = {
        "Camera": faulty.device("FlakyCamera"),
        "Excitation": faulty.device("Laser"),
        "Depletion": faulty.device("Laser"),
        "Stage": faulty.device("Stage"),
    }
    if shutter:
        devices["Shutter"] = faulty.device("Shutter")
    return {
        "cfg": str(tmp_path / "my.cfg"),
        "python_devices": devices,
        "shutter": "Shutter" if shutter else "none",
        "settings": {"line": LINE},
        **changes,
    }


def take(microscope: Microscope, *shots: Shot) -> None:
    microscope.core.mda.run(iter([microscope.event(shot, i) for i, shot in enumerate(shots)]))


def test_a_setting_that_is_a_group_is_set_and_read_back() -> None:
    """And what a mode pins is a preset, too; Micro-Manager says the same of it."""
    with Microscope.open(demo()) as microscope:
        core = microscope.core
        for shot, preset in (
            (Shot("sted"), "FITC"),
            (Shot("dapi"), "DAPI"),
            (Shot("sted", {"channel": "FITC"}), "FITC"),
        ):
            asked = microscope.settings(shot)
            take(microscope, shot)
            assert asked == {"channel": preset}
            assert core.getCurrentConfig("Channel") == preset
            assert microscope.received(asked).settings == {"channel": preset}


def test_a_preset_of_each_kind_of_group_of_the_demo() -> None:
    settings = {
        "path": {"group": "LightPath", "choices": ["Eyepiece", "Camera-left"], "start": "Eyepiece"},
        "objective": {"group": "Objective", "choices": ["20X", "40X"], "start": "40X"},
    }
    with Microscope.open(demo(settings=settings, modes={"sted": {}})) as microscope:
        take(microscope, Shot("sted", {"path": "Camera-left"}))
        assert presets.current(microscope.core, "LightPath") == "Camera-left"
        assert presets.current(microscope.core, "Objective") == "40X"


def test_presets_may_change_the_size_of_a_frame() -> None:
    camera = {"group": "Camera", "choices": ["LowRes", "HighRes"], "start": "LowRes"}
    both = demo(settings={"camera": camera}, modes={"sted": {}})
    with Microscope.open(both) as microscope:
        assert microscope.sizing == ("camera",)
        assert (microscope.shapes["sted"], microscope.shape) == ((128, 128), (512, 512))
    alone = {**camera, "choices": ["LowRes"]}
    with Microscope.open(demo(settings={"camera": alone}, modes={"sted": {}})) as microscope:
        assert microscope.shape == (128, 128)


REFUSED: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "a group that is not there": (
        {"group": "Lime"},
        ("settings", "line", "group"),
        "found 'Lime'; accepted: Empty, Line, Place, Turn; did you mean 'Line'?",
    ),
    "a group without presets": (
        {"group": "Empty"},
        ("settings", "line", "group"),
        "'Empty' has no presets",
    ),
    "a preset that is not there": (
        {"choices": ["640nm"], "start": "640nm"},
        ("settings", "line", "choices"),
        "did you mean '640 nm'?",
    ),
    "a safe preset that is not there": (
        {"safe": "Darc"},
        ("settings", "line", "safe"),
        "did you mean 'Dark'?",
    ),
    "light that nobody speaks of": (
        {"safe": None},
        ("settings", "line"),
        "Depletion.Power_mW, Excitation.Power_mW, which looks like light; accepted: with "
        "`safe: PRESET`",
    ),
    "a safe preset that leaves a laser on": (
        {"safe": "Half"},
        ("settings", "line", "choices"),
        "preset 'Half' leaves Depletion.Power_mW as another preset set it",
    ),
    "a value that the device refuses": (
        {"group": "Place", "choices": ["One", "Beyond"], "start": "One"},
        ("settings", "line", "choices"),
        "preset 'Beyond': Wheel.State: found '77'; accepted: 0 … 9",
    ),
    "a device that is not there": (
        {"group": "Place", "choices": ["Gone"], "start": "Gone"},
        ("settings", "line", "choices"),
        "there is no device 'Whel'",
    ),
    "a shutter that is opened": (
        {"group": "Place", "choices": ["Opening"], "start": "Opening"},
        ("settings", "line", "choices"),
        "a shutter is opened for each frame, and only then",
    ),
    "another camera": (
        {"group": "Place", "choices": ["Eye"], "start": "Eye"},
        ("settings", "line", "choices"),
        "Core.Camera: is Micro-Manager's own",
    ),
    "the exposure time": (
        {"group": "Place", "choices": ["Slow"], "start": "Slow"},
        ("settings", "line", "choices"),
        "is how long light is on",
    ),
    "another shutter than the config's": (
        {"group": "Place", "choices": ["Side"], "start": "Side"},
        ("settings", "line", "choices"),
        "by `shutter` it is 'Shutter'",
    ),
    "a shutter that is not there": (
        {"group": "Place", "choices": ["Back"], "start": "Back"},
        ("settings", "line", "choices"),
        "did you mean 'Shutter'?",
    ),
    "a shutter in one preset alone": (
        {"group": "Place", "choices": ["One", "Front"], "start": "One"},
        ("settings", "line", "choices"),
        "preset 'One' leaves Core.Shutter",
    ),
}


def unlit(setting: dict[str, Any]) -> dict[str, Any]:
    """A setting of presets that are no light."""
    if setting.get("group") == "Place":
        return {**setting, "safe": None, "laser": None, "watts": None}
    return setting


@pytest.mark.parametrize("case", REFUSED)
def test_a_group_that_a_run_cannot_use_is_refused(case: str, tmp_path: Path) -> None:
    changes, path, said = REFUSED[case]
    line = unlit({**LINE, **changes})
    if "choices" in changes or case == "light that nobody speaks of":
        line |= {"laser": None, "watts": None}
    keys = {"pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    config = MicroscopeConfig.model_validate(scope(tmp_path, settings={"line": line}) | keys)
    with pytest.raises(BindingError) as refused, Microscope.open(config):
        pass
    assert refused.value.path == path
    assert said in str(refused.value)
    for laser in faulty.made["Laser"][-2:]:
        assert {power for _, power in laser.given} == {0.0} or not laser.given


TURN = {"group": "Turn", "choices": ["Left", "Right"], "start": "Left"}
TWICE: dict[str, tuple[dict[str, Any], str]] = {
    "two groups": (
        {"settings": {"line": LINE, "turn": TURN}},
        "Wheel.Label is set by the setting 'line' (its presets of Line) already, as State",
    ),
    "a group and a property": (
        {
            "settings": {
                "line": LINE,
                "power": {
                    "device": "Excitation",
                    "property": "Power_mW",
                    "unit": "mW",
                    "range": [0, 500],
                    "start": 0,
                },
            }
        },
        "Excitation.Power_mW is set by the setting 'line'",
    ),
    "a group and `properties`": (
        {"properties": [["Depletion", "Power_mW", 50]]},
        "Depletion.Power_mW is set by the setting 'line'",
    ),
    "one wheel by both its names": (
        {
            "settings": {},
            "properties": [["Wheel", "State", 1], ["Wheel", "Label", "State-2"]],
        },
        "Wheel.Label is set by `properties.0` already, as State",
    ),
    "one group twice": (
        {"settings": {"line": LINE, "again": {**LINE, "laser": "other"}}},
        "group Line is the setting 'line' already; one setting a group",
    ),
}


@pytest.mark.parametrize("case", TWICE)
def test_a_property_has_one_owner_through_all_groups(case: str, tmp_path: Path) -> None:
    changes, said = TWICE[case]
    keys = {"pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    config = MicroscopeConfig.model_validate(scope(tmp_path, **changes) | keys)
    with pytest.raises(BindingError) as refused, Microscope.open(config):
        pass
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device": "Wheel"}, "takes `device` and `property`, or a `group`, not both"),
        ({"kind": "real", "range": [0, 1], "choices": None}, "a `group` is a `kind: choice`"),
        ({"watts": {"640 nm": 0.005}}, "without '775+640'"),
        ({"watts": {**LINE["watts"], "561 nm": 1}}, "'561 nm' is not one of"),
        ({"laser": None}, "`watts` has a number (W) at each choice, of the one `laser`; or"),
        ({"watts": BY_LASER}, "`watts` has a number (W) at each choice, of the one `laser`; or"),
        ({"laser": None, "safe": None, "watts": BY_LASER}, "`watts` needs a `safe` value"),
        ({"safe": None}, "needs a `safe` value"),
        ({"start": "561 nm"}, "'561 nm' is not one of"),
    ],
)
def test_a_group_that_says_too_much_or_too_little(changes: dict[str, Any], said: str) -> None:
    settings = {"channel": {**LINE, **changes}}
    with pytest.raises(ValidationError, match=re.escape(said)):
        demo(settings=settings, modes={"sted": {}})


def test_presets_switch_several_lasers(tmp_path: Path) -> None:
    """The dose is that of each, and both are off between frames."""
    line = {**LINE, "laser": None, "watts": BY_LASER, "start": "775+640"}
    result, run = run_session(
        tmp_path,
        session={},
        microscope=scope(tmp_path, shutter=False, settings={"line": line}),
        live={"frames": 2},
        dose={"budget_J": {"donut": 100}},
    )
    assert (result.status, result.safe) == ("completed", True), result.reason
    dose = summarize(run)["dose"]
    excitation, depletion = faulty.made["Laser"][-2:]
    for name, laser in (("red", excitation), ("donut", depletion)):
        assert dose[f"{name}_J"] > 0.98 * faulty.energy_j(laser, None) > 0
        assert laser.power == 0
    config = read_config(run).microscope
    assert config.watts({"line": "640 nm"}) == {"red": 0.005, "donut": 0}
    assert config.watts({"line": "something else"}) == {"red": 0.01, "donut": 0.1}


@pytest.mark.parametrize("shutter", [True, False])
def test_the_dose_by_preset_is_what_the_lasers_gave(shutter: bool, tmp_path: Path) -> None:
    """And at every end they are at their safe preset; read back, as it says."""
    result, run = run_session(
        tmp_path,
        session={},
        microscope=scope(tmp_path, shutter=shutter, modes={"sted": {"line": "775+640"}}),
        live={"frames": 3},
    )
    assert (result.status, result.safe) == ("completed", True), result.reason
    excitation, depletion = faulty.made["Laser"][-2:]
    mw = {laser: {power for _, power in laser.given} for laser in (excitation, depletion)}
    assert mw[excitation] | mw[depletion] == {0.0, 10.0, 100.0}
    opened = faulty.made["Shutter"][-1] if shutter else None
    given = sum(faulty.energy_j(laser, opened) for laser in (excitation, depletion))
    counted = summarize(run)["dose"]["lines_J"]
    assert counted > 0.98 * given
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = [entry.data for entry in ledger.entries("frame")]
        (safe,) = [entry.data for entry in ledger.entries("safe_state")]
    assert all(row["dose_J"]["lines"] >= 0.11 * row["expected_s"] for row in rows)
    assert safe["readback"]["line"] == {"expected": "Dark", "value": "Dark", "ok": True}
    assert (excitation.power, depletion.power) == (0, 0)


def test_a_preset_that_reads_back_otherwise_is_a_fault(tmp_path: Path) -> None:
    devices = scope(tmp_path)
    devices["python_devices"]["Depletion"] = faulty.device("Laser", clamp=50)
    keys = {"pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    with (
        Microscope.open(MicroscopeConfig.model_validate(devices | keys)) as microscope,
        pytest.raises(
            DeviceFault,
            match=r"group Line is not '775\+640' as it was set to: Depletion.Power_mW is 50",
        ),
    ):
        take(microscope, Shot("sted", {"line": "775+640"}))


def test_light_of_a_preset_that_came_out_otherwise_is_counted_as_the_brightest(
    tmp_path: Path,
) -> None:
    """No shutter keeps it off: it was on until the difference was read back."""
    scope_ = scope(tmp_path, shutter=False, modes={"sted": {"line": "640 nm"}})
    scope_["python_devices"]["Excitation"] = faulty.device("Laser", clamp=1)
    result, run = run_session(
        tmp_path, session={}, microscope=scope_, live={"frames": 1}, faults={"retries": 0}
    )
    assert (result.status, result.safe) == ("failed", True)
    assert "Excitation.Power_mW is 1, not 5 as preset '640 nm' says" in result.reason
    (void,) = recorded(run).lost
    assert void["settings"]["line"] == ""
    assert void["dose_J"]["lines"] >= 0.11 * 0.01


def test_a_preset_that_a_device_refuses_is_a_fault_and_ends_dark(tmp_path: Path) -> None:
    """What is refused is tried again after the others: some need another property first."""
    devices = scope(tmp_path)
    devices["python_devices"]["Excitation"] = faulty.device("Choosy", needs=2)
    keys = {"pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    with Microscope.open(MicroscopeConfig.model_validate(devices | keys)) as microscope:
        take(microscope, Shot("sted", {"line": "640 nm"}))  # refused once, then taken
        faulty.made["Choosy"][-1].needs = 10**6
        with pytest.raises(DeviceFault, match=r"Excitation.Power_mW = 10: .*not yet.*'775\+640'"):
            take(microscope, Shot("sted", {"line": "775+640"}))
    assert faulty.made["Choosy"][-1].power == faulty.made["Laser"][-1].power == 0
    assert not faulty.made["Shutter"][-1].open


def test_a_safe_state_that_is_refused_is_told(tmp_path: Path) -> None:
    devices = scope(tmp_path)
    devices["python_devices"]["Excitation"] = faulty.device("Laser", sticks=True)
    keys = {"pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    with Microscope.open(MicroscopeConfig.model_validate(devices | keys)) as microscope:
        take(microscope, Shot("sted"))
        safe = microscope.make_safe("test")
    assert safe.wrong == (
        "line reads Excitation.Power_mW is 5.0, not 0 as preset 'Dark' says, not Dark"
    )
    assert faulty.made["Laser"][-1].power == 0, "the other one is dark"


def test_presets_choose_the_shutter_that_is_opened(tmp_path: Path) -> None:
    """Where several are there and none is the `.cfg`'s own, it is that of the preset."""
    place = {"group": "Place", "choices": ["Front", "Side"], "start": "Front"}
    keys = {"pixel_size_nm": 20, "exposure": {"camera_ms": 10}, "shutter": None}
    data = scope(tmp_path, settings={"place": place}) | keys
    with Microscope.open(MicroscopeConfig.model_validate(data)) as microscope:
        take(microscope, Shot("sted"), Shot("sted", {"place": "Side"}))
        assert microscope.core.getShutterDevice() == "Other Shutter"
        assert [is_open for _, is_open in faulty.made["Shutter"][-1].given].count(True) == 1


def test_config_with_groups_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    data = faulty.config(microscope=scope(tmp_path))
    data["microscope"]["settings"]["line"]["watts"] = {**LINE["watts"], "Dark": 0}
    config = load(faulty.write(tmp_path / "a.yaml", data))
    again = tmp_path / "b.yaml"
    again.write_text(plain_yaml.write(as_data(config)), encoding="utf-8")
    assert load(again).microscope == config.microscope


def searching(tmp_path: Path) -> dict[str, Any]:
    """A search over presets and over a wheel's places."""
    fields = {"rows": 3, "columns": 4}
    modes = {"sted": {}, "confocal": {"line": "640 nm"}}
    return {
        "plan": "optimize",
        "analysis": {"score": True},
        "optimize": {"trials": 4, "engine": "random", "retest_fields": 1},
        "microscope": scope(tmp_path, modes=modes, fields=fields),
    }


@pytest.mark.slow
def test_optimize_searches_presets_and_a_run_is_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = searching(tmp_path)
    session = {"scorer": mean_score, "make_plan": cut_after(7)}
    result, run = run_session(tmp_path, session=session, **parts)
    assert result.status == "failed" and "power cut" in result.reason
    config = read_config(run)
    result = Session(config, run / "config.yaml", run, scorer=mean_score).run()
    assert (result.status, result.safe) == ("completed", True), result.reason
    notes = [note for note in recorded(run).notes if note["topic"] == "trial"]
    tried = [note["data"]["settings"]["line"] for note in notes]
    assert len(tried) == 4 and set(tried) == {"640 nm", "775+640"}
    code, _, err = cli(capsys, "replay", run)
    assert code == 0, err


def test_the_dearest_preset_is_the_brightest_wherever_it_stands(tmp_path: Path) -> None:
    parts = searching(tmp_path)
    line = {**LINE, "choices": ["775+640", "640 nm"]}
    parts["microscope"]["settings"] = {"line": line}
    config = load(faulty.write(tmp_path / "c.yaml", faulty.config(**parts)))
    with Microscope.open(config.microscope) as microscope:
        expected = expect(config, microscope)
    assert expected.dose_J is not None
    low, high = expected.dose_J["lines"]
    # A confocal frame before and after each STED frame, at 10 ms each; as many at most.
    assert low == pytest.approx(0.01 * 0.005 * (expected.fewest or 0))
    assert high > 0.01 * 0.11 * 4
