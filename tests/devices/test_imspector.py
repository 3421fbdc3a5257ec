"""Abberior microscopes through Imspector: settings that are read back, scans, the safe state."""

from __future__ import annotations

import copy
import inspect
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from agent.config import load
from agent.record.ledger import Ledger
from agent.record.reader import open_run
from agent.run import Result
from devices.config import ImspectorConfig, MicroscopeConfig
from devices.errors import BindingError
from devices.imspector import build
from devices.imspector.connection import Imspector
from devices.microscope import Microscope
from devices.shot import Shot
from tests.doubles.imspector import (
    BEHAVIOURS,
    Application,
    Configuration,
    FakeImspector,
    Lock,
    Measurement,
    Value,
    specpy,
)
from tests.doubles.interpolators import Blend
from tests.faulty import cli
from tests.helpers.runs import mean_score, run_session

MEASUREMENT = Path(__file__).parents[3] / "shared" / "data" / "imspector" / "measurement_16.3.yml"
Serve = Callable[..., FakeImspector]


def laser(label: str, name: str, watts: float, start: float) -> dict[str, Any]:
    bound = {"device": label, "property": "Power", "unit": "%", "watts_per_unit": watts}
    return {**bound, "range": [0, 100], "start": start, "safe": 0, "laser": name}


def scanned(prop: str, least: float, most: float, start: float, **more: Any) -> dict[str, Any]:
    return {"device": "Scan", "property": prop, "range": [least, most], "start": start, **more}


SCOPE: dict[str, Any] = {
    "imspector": {"confirm_s": 0.6, "reply_s": 0.5, "scan_s": 1.0},
    "python_devices": {},
    "shutter": "Beam",
    "pixel_size_nm": 20,
    "exposure": {"dwell_time": "dwell", "line_accumulations": "lines"},
    "settings": {
        "excitation": laser("Exc_640", "excitation", 1e-6, 20),
        "depletion": laser("STED_775", "depletion", 1e-3, 30),
        "dwell": scanned("DwellTime_us", 1, 100, 5, unit="µs"),
        "lines": scanned("LineAccumulations", 1, 8, 1, kind="integer"),
    },
    "modes": {"sted": {}, "confocal": {"depletion": 0}},
}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """Sets a server up, which the driver connects to."""
    monkeypatch.setenv("STEDFAST_STATE", str(tmp_path / "state"))
    servers = []

    def begin(**options: Any) -> FakeImspector:
        server = FakeImspector(**options)
        servers.append(server)

        def connect(config: ImspectorConfig) -> Imspector:
            return Imspector(config, server.get_application, specpy)

        monkeypatch.setattr(build, "connect", connect)
        return server

    yield begin
    for server in servers:
        server.free.set()


def scope(**changes: Any) -> MicroscopeConfig:
    return MicroscopeConfig.model_validate({**SCOPE, **changes})


def take(microscope: Microscope, shot: Shot) -> Any:
    """The frame of a shot."""
    frames: list[Any] = []

    def keep(image: Any, *_: Any) -> None:
        frames.append(image.copy())

    microscope.core.mda.events.frameReady.connect(keep)
    try:
        microscope.core.mda.run(iter([microscope.event(shot, 0)]))
    finally:
        microscope.core.mda.events.frameReady.disconnect(keep)
    return frames[0]


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
    assert server.dark and not server.locked and not server.on_end


def live(tmp_path: Path, frames: int = 6, **microscope: Any) -> tuple[Result, Path]:
    return run_session(
        tmp_path,
        session={"scorer": mean_score},
        plan="live",
        live={"frames": frames},
        faults={"retries": 2},
        microscope={**SCOPE, **microscope},
    )


def check_rows(run: Path) -> int:
    """Frames of a run, each of whose recorded powers are those that its pixels tell."""
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = [entry.data for entry in ledger.entries("frame")]
    stored = open_run(run)
    for number, row in enumerate(rows):
        has = row["settings"]
        told = has["excitation"] + 10 * has["depletion"]
        assert abs(stored.frame(number)[6, 0] - told) <= 1
    return len(rows)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_what_is_recorded_is_what_was_scanned_at(
    tmp_path: Path, serve: Serve, behaviour: str
) -> None:
    server = serve(behaviours=(behaviour,))
    begun = time.monotonic()
    result, run = live(tmp_path)
    assert not server.scanning and not server.locked and result.safe, result.reason
    if behaviour == "closed":  # it has its powers again when a person opens it
        assert result.status == "failed" and "is not open in Imspector" in (result.reason or "")
        assert check_rows(run) > 0
        return
    assert server.dark
    if behaviour == "interlocked":
        assert result.status == "failed" and "STED_775 does not emit" in (result.reason or "")
        return
    assert result.status == "completed", result.reason
    assert check_rows(run) == 6
    # A call that hangs, or a scan without an end, costs its limit and no more.
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_everything_leaves_it_dark(tmp_path: Path, serve: Serve, seed: int) -> None:
    server = serve(behaviours=BEHAVIOURS, chance=0.05, seed=seed)
    server.values["STED_775"]["laser_on"] = True
    result, run = live(tmp_path, frames=10)
    assert not server.scanning and not server.locked and result.safe, result.reason
    assert server.dark or "measurement" in (result.reason or "")  # which was closed
    check_rows(run)


def test_few_calls_lie_between_two_scans(tmp_path: Path, serve: Serve) -> None:
    server = serve()
    calls: list[int] = []
    start = server.start

    def counted() -> None:
        calls.append(server.calls)
        start()

    server.start = counted  # type: ignore[method-assign]
    result, _ = live(tmp_path, frames=8)
    assert result.status == "completed", result.reason
    # At 5 ms a call, 60 ms.
    assert max(np.diff(calls[2:])) <= 12


def test_a_pixel_size_that_is_not_imspectors_is_refused(serve: Serve) -> None:
    server = serve()
    wrong = scope(pixel_size_nm=25)
    with pytest.raises(BindingError, match="by Imspector it is 20"), Microscope.open(wrong):
        pass
    assert server.dark and not server.scanned


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
    server = serve(values={"ExpControl": {}})
    unknown = pytest.raises(BindingError, match="none of the known paths is there")
    with unknown, Microscope.open(scope()):
        pass
    assert not server.on_end


def test_the_double_has_the_names_and_signatures_of_specpy() -> None:
    for double, real in (
        (Application, specpy.Application),
        (Value, specpy.Value),
        (Measurement, specpy.Measurement),
        (Configuration, specpy.Configuration),
        (Lock, specpy.MeasurementGuiLock),
    ):
        for name in (name for name in dir(double) if not name.startswith("_")):
            assert hasattr(real, name), f"{real.__name__} has no {name}"
            documented = getattr(real, name).__doc__ or ""
            asked = inspect.signature(getattr(double, name)).parameters
            # `name(Application self, …)`, once for each way to call it.
            taken = {1 + line.count(",") for line in documented.splitlines() if "(" in line}
            assert len(asked) in taken, documented


@pytest.mark.skipif(not MEASUREMENT.is_file(), reason="needs the data beside the project")
def test_the_tree_of_a_real_microscope_is_driven(serve: Serve) -> None:
    """Three channels and seven lasers, of which one channel and two lasers are used."""
    server = serve(values=yaml.safe_load(MEASUREMENT.read_text()))
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
        take(microscope, Shot.sted(None, {}))
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
