"""Abberior microscopes through Imspector: settings that are read back, scans, the safe state."""

from __future__ import annotations

import copy
import inspect
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from agent.bench.imspector.tree import old_tree, tree
from agent.config import load
from agent.record.reader import open_run
from devices.errors import BindingError
from devices.microscope import Microscope
from devices.shot import Shot
from tests.doubles.interpolators import Blend
from tests.faulty import cli
from tests.helpers.imspector import SCOPE, Serve, check_rows, live, scanned, scope, take
from tests.helpers.runs import mean_score, run_session

MEASUREMENT = Path(__file__).parents[3] / "shared" / "data" / "imspector" / "measurement_16.3.yml"


@pytest.mark.parametrize("old", [False, True], ids=["2026", "1.2"])
def test_a_frame_is_a_scan_at_what_was_accepted(serve: Serve, old: bool) -> None:
    server = serve(old=old)
    with Microscope.open(scope()) as microscope:
        assert server.dark and server.locked != old
        frame = take(microscope, Shot.sted(None, {"excitation": 40}))
        assert frame.shape == (32, 32) and frame[0, 0] == 40 + 300
        accepted = server.scanned[-1].values["ExpControl"]["measurement"]["channels"][0]
        assert accepted["dwelltime"] == pytest.approx(5e-6)
        assert [one["active"] for one in accepted["lasers"]] == [True, True, False]
        assert take(microscope, Shot.confocal(None))[0, 0] == 20
    assert server.dark and not server.locked and not server.listeners


def test_few_calls_lie_between_two_scans(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve()
    between = [0]
    ask = server.ask

    def counted(connection: int, name: str, *arguments: Any) -> Any:
        if not server.scanning:  # those that are made meanwhile cost no time
            between[-1] += 1
        if name == "start_active":
            between.append(0)
        return ask(connection, name, *arguments)

    monkeypatch.setattr(server, "ask", counted)
    slowly = {**SCOPE["settings"], "dwell": scanned("DwellTime_us", 1, 100, 100, unit="µs")}
    result, _ = live(tmp_path, frames=5, settings=slowly)
    assert result.status == "completed", result.reason
    # At 5 ms a call, 60 ms.
    assert len(between) >= 6 and max(between[2:-1]) <= 10, between


def test_a_pixel_size_that_is_not_imspectors_is_refused(serve: Serve) -> None:
    server = serve()
    wrong = scope(pixel_size_nm=25)
    with pytest.raises(BindingError, match="by Imspector it is 20"), Microscope.open(wrong):
        pass
    assert server.dark and not server.scanned


def test_each_channel_has_the_frame_of_its_own_stack(serve: Serve) -> None:
    server = serve(values=tree(channels=("CONF 640", "STED 640")))
    driven = {"imspector": {**SCOPE["imspector"], "channels": ["STED 640"]}}
    with Microscope.open(scope(**driven)) as microscope:
        assert server.dark
        # The other channel is scanned, too, without any laser.
        frame = take(microscope, Shot.sted(None, {"excitation": 40, "lines": 3}))
        assert frame[0, 0] == 40 + 300
        steps = server.scanned[-1].values["ExpControl"]["measurement"]["line_steps"]
        assert steps["step_duration"] == [1, 3, 1, 1, 1, 1, 1, 1]


def test_two_detectors_of_one_scan_are_camera_channels(tmp_path: Path, serve: Serve) -> None:
    values = tree(channels=("Green", "Red"))
    for channel in values["ExpControl"]["measurement"]["channels"]:
        channel["steps"]["linestep_active"] = [1] + [0] * 7  # at the same time
    server = serve(values=values)
    powers = SCOPE["settings"]["excitation"], SCOPE["settings"]["depletion"]
    excitation, depletion = powers
    settings = {
        **SCOPE["settings"],
        "excitation": {**excitation, "property": "Power Green", "laser": "green"},
        "other": {**excitation, "property": "Power Red", "laser": "red", "start": 7},
        "depletion": {**depletion, "property": "Power Red"},
    }
    result, run = live(tmp_path, frames=2, settings=settings, scored_channel="Red")
    assert result.status == "completed", result.reason
    # One scan on opening, and one for each pair of frames.
    assert server.scans == 3 and server.dark
    stored = open_run(run)
    assert [float(stored.frame(number)[0, 0]) for number in range(4)] == [20, 307, 20, 307]
    assert stored.config.microscope.camera_channels == ("Green", "Red")


def test_line_accumulations_that_are_not_used_are_not_offered(serve: Serve) -> None:
    values = tree()
    values["ExpControl"]["measurement"]["line_steps"]["active"] = False
    serve(values=values)
    with (
        pytest.raises(BindingError, match="LineAccumulations"),
        Microscope.open(scope()),
    ):
        pass


def test_the_first_lines_of_a_frame_can_be_left_out(serve: Serve) -> None:
    serve(behaviours=("bad_lines",))
    with Microscope.open(scope()) as microscope:
        assert take(microscope, Shot.sted(None, {}))[:2].min() == 30000
    left_out = {"imspector": {**SCOPE["imspector"], "skip_lines": 2}}
    with Microscope.open(scope(**left_out)) as microscope:
        frame = take(microscope, Shot.sted(None, {}))
        assert frame.shape == microscope.shape == (30, 32) and frame.max() < 1000


def test_a_scan_along_other_axes_is_refused_before_any_light(serve: Serve) -> None:
    server = serve()
    server.values["ExpControl"]["scan"]["range"]["scanmode"] = "xyz"
    with (
        pytest.raises(BindingError, match=r"scan mode is 'xyz'.*accepted: 'xy'"),
        Microscope.open(scope()),
    ):
        pass
    server.values["ExpControl"]["scan"]["range"]["scanmode"] = "xy"
    server.values["Measurement"]["axes"]["scan_axes"][2] = "ExpControl T"
    with (
        pytest.raises(BindingError, match=r"along ExpControl T, too.*accepted: 'xy'"),
        Microscope.open(scope()),
    ):
        pass
    assert not server.scans and not server.locked


def test_paths_of_before_16_3_are_driven(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(values=old_tree(), old=True)
    lasers = {"excitation": "Laser 0", "depletion": "Laser 1"}
    settings = {
        name: {**one, "device": lasers.get(name, one["device"])}
        for name, one in SCOPE["settings"].items()
    }
    with Microscope.open(scope(settings=settings)) as microscope:
        frame = take(microscope, Shot.sted(None, {"excitation": 40, "lines": 2}))
        assert frame[0, 0] == 40 + 300 and "Gain" not in microscope.core.getDevicePropertyNames(
            "Scan"
        )
        control = server.scanned[-1].values["ExpControl"]
        assert control["gating"]["linesteps"]["step_values"][0] == 2
    assert server.dark
    report = tmp_path / "report.json"
    code, _, said = cli(capsys, "devices", "--imspector", "", "--probe", str(report))
    assert code == 0 and "not mapped" in said and "detector gain" in said
    found = json.loads(report.read_text())
    assert found["paths"] == "14 to early 16" and "detector gain" in found["not_mapped"]
    assert "linesteps" in found["more"]["ExpControl/gating"]


def test_a_probe_takes_no_light_and_says_what_differs(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(behaviours=("res_used",))
    before = copy.deepcopy(server.values)
    report = tmp_path / "report.json"
    code, _, said = cli(capsys, "devices", "--imspector", "", "--probe", str(report))
    assert code == 0, said
    found = json.loads(report.read_text())
    assert found["paths"] == "16.3 and later" and found["way"] == "value_at"
    paths = {answer["path"]: answer for answer in found["answers"]}
    assert paths["ExpControl/measurement/channels/0/dwelltime"]["again"] == pytest.approx(1e-5)
    assert paths["ExpControl/scan/range/coarse_x/g_off"]["again"] is None
    assert found["scanning"] == {"active": False} and "Pinhole" in found["more"]
    assert (
        not server.scanned
        and server.values["ExpControl"]["measurement"] == before["ExpControl"]["measurement"]
    )


def test_a_starter_config_for_it_is_valid_with_its_lasers(
    tmp_path: Path, serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve()
    file = tmp_path / "my.yaml"
    code, _, said = cli(capsys, "devices", "--imspector", "", "--write", str(file))
    assert code == 0, said
    written = file.read_text()
    config = load(file).microscope
    assert config.imspector is not None and config.shutter == "Beam"
    assert "reply_s" not in written and "range: [0.1, 10000.0]" in written
    assert config.exposure.dwell_time and config.exposure.line_accumulations
    for name in ("Exc_640", "STED_775"):
        assert name in written
    assert server.dark
    code, _, said = cli(capsys, "check", str(file))
    assert code == 0, said


def test_what_is_wrong_with_the_connection_is_a_line(serve: Serve) -> None:
    serve()
    for wrong, said in (
        ({"host": "nobody"}, "no server answers on nobody"),
        ({"measurement": "meas99"}, "'meas99' is not open in Imspector; there is meas01"),
        ({"channels": ["Ch9"]}, "found 'Ch9'; accepted: 'STED 640'"),
        ({"configuration": "other"}, "no configuration 'other'; there is stedfast"),
    ):
        with pytest.raises(BindingError, match=said), Microscope.open(scope(imspector=wrong)):
            pass
    server = serve()
    server.open = False
    with pytest.raises(BindingError, match="no measurement is open"), Microscope.open(scope()):
        pass
    server = serve(values={"ExpControl": {}})
    unknown = pytest.raises(BindingError, match="none of the known paths is there")
    with unknown, Microscope.open(scope()):
        pass
    assert not server.listeners


def test_a_specpy_that_cannot_be_used_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    other = ModuleType("specpy")
    vars(other)["__version__"] = "0.9"
    monkeypatch.setitem(sys.modules, "specpy", other)
    said = r"specpy 0\.9 has no get_application and no Imspector; .*(specpy>=|\[imspector\])"
    with pytest.raises(BindingError, match=said), Microscope.open(scope()):
        pass
    monkeypatch.setitem(sys.modules, "specpy", None)
    with (
        pytest.raises(BindingError, match="specpy is not installed"),
        Microscope.open(scope()),
    ):
        pass


def test_only_what_connects_imports_specpy() -> None:
    root = Path(__file__).parents[2]
    files = [
        file for room in ("agent", "devices", "models") for file in (root / room).rglob("*.py")
    ]
    found = {
        str(file.relative_to(root))
        for file in files
        if re.search(
            r'^(import|from) specpy\b|import_module\("specpy"', file.read_text("utf-8"), re.M
        )
    }
    # The second is the benchmark's.
    assert found == {"devices/imspector/build.py", "agent/bench/imspector/client.py"}


def test_a_version_that_tells_nothing_of_scans_is_asked(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(old=True)
    specpy: Any = sys.modules["specpy"]
    monkeypatch.delattr(specpy, "MeasurementSignal")
    monkeypatch.setattr(specpy, "Imspector", specpy.get_application, raising=False)
    monkeypatch.delattr(specpy, "get_application")
    with Microscope.open(scope()) as microscope:
        assert take(microscope, Shot.sted(None, {}))[0, 0] == 20 + 300


def test_the_double_has_the_names_and_signatures_of_specpy() -> None:
    specpy = pytest.importorskip("specpy")
    from agent.bench.imspector import client

    for double, real in (
        (client.Application, specpy.Application),
        (client.Value, specpy.Value),
        (client.Measurement, specpy.Measurement),
        (client.Configuration, specpy.Configuration),
        (client.Lock, specpy.MeasurementGuiLock),
        (client.Future, specpy.Future),
    ):
        for name in (name for name in dir(double) if not name.startswith("_")):
            assert hasattr(real, name), f"{real.__name__} has no {name}"
            documented = getattr(real, name).__doc__ or ""
            asked = inspect.signature(getattr(double, name)).parameters
            # `name(Application self, …)`, once for each way to call it.
            taken = {1 + line.count(",") for line in documented.splitlines() if "(" in line}
            assert len(asked) in taken, documented


@pytest.mark.slow
@pytest.mark.skipif(not MEASUREMENT.is_file(), reason="needs the data beside the project")
def test_the_tree_of_a_real_microscope_is_driven(serve: Serve) -> None:
    """Three channels and seven lasers, of which one channel and two lasers are used."""
    server = serve(values=yaml.safe_load(MEASUREMENT.read_text()))
    # It is of a DyMIN measurement.
    lit_by_another = pytest.raises(BindingError, match=r"light of channel 'STED 640' early")
    with lit_by_another, Microscope.open(scope(imspector={"channels": ["STED 640"]})):
        pass
    for channel in server.values["ExpControl"]["measurement"]["channels"]:
        channel["rescue"]["rescue_allowed"] = False
    driven = {
        "imspector": {**SCOPE["imspector"], "channels": ["STED 640"]},
        "settings": {
            name: {**one, "safe": 0} if one["device"] != "Scan" else one
            for name, one in SCOPE["settings"].items()
        },
    }
    with Microscope.open(scope(**driven)) as microscope:
        assert microscope.shape == (128, 132)
        lasers = [label for label in microscope.core.getLoadedDevices() if "_" in label]
        assert {"Exc_488", "Exc_561", "Exc_640", "STED_595", "STED_775"} <= set(lasers)
        assert server.dark
        take(microscope, Shot.sted(None, {"lines": 3}))
        assert microscope.core.getExposure() == pytest.approx(3 * 5e-3 * 128 * 132)
        channels = server.scanned[-1].values["ExpControl"]["measurement"]["channels"]
        lit = {
            (channel["name"], laser["power"]["calibration_used"])
            for channel in channels
            for laser in channel["lasers"]
            if laser["active"] and laser["power"]["calibrated"] > 0
        }
        assert lit == {("STED 640", "Exc_640"), ("STED 640", "STED_775")}
    assert server.dark


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.parametrize(
    "plan",
    [
        {
            "plan": "optimize",
            "optimize": {
                "trials": 4,
                "engine": "sobol",
                "retest_fields": 1,
                "search": {"depletion": [0, 100], "dwell": [1, 5]},
            },
        },
        {
            "plan": "timelapse",
            "timelapse": {"frames": 6, "interval_s": 0.05, "acquire": "adaptive"},
        },
    ],
    ids=["optimize", "adaptive"],
)
def test_plans_run_on_it(tmp_path: Path, serve: Serve, plan: dict[str, Any]) -> None:
    server = serve()
    result, run = run_session(
        tmp_path,
        session={"scorer": mean_score, "interpolate": Blend()},
        analysis={"score": True},
        microscope={**SCOPE, "fields": {"rows": 2, "columns": 3, "pitch_um": 1}},
        **plan,
    )
    assert (result.status, result.safe) == ("completed", True), result.reason
    assert check_rows(run) >= 3 and server.dark
    stage = server.values["ExpControl"]["scan"]["range"]["coarse_x"]["g_off"]
    assert stage == pytest.approx(1e-3, abs=1e-5)
