"""Abberior microscopes through Imspector: settings that are read back, scans, the safe state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.record.ledger import Ledger
from agent.record.reader import open_run
from agent.run import Result
from devices.config import ImspectorConfig, MicroscopeConfig
from devices.imspector import build
from devices.imspector.connection import Imspector
from devices.microscope import Microscope
from devices.shot import Shot
from tests.doubles.imspector import BEHAVIOURS, FakeImspector, specpy
from tests.helpers.runs import mean_score, run_session

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
        assert stored.frame(number)[6, 0] == round(has["excitation"] + 10 * has["depletion"])
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
