"""What real systems do, on the double: what is recorded was applied, and it ends dark."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pytest

from agent.bench.imspector.behaviours import BEHAVIOURS
from agent.bench.imspector.names import ANOTHER, BEGIN, MEASUREMENT
from agent.bench.imspector.server import FIRST, FakeImspector
from agent.bench.imspector.tree import tree
from devices.errors import BindingError
from devices.imspector import build
from devices.microscope import Microscope
from devices.shot import Shot
from devices.sources import ImspectorConfig
from tests.helpers.imspector import SCOPE, Serve, check_rows, live, scope, take
from tests.helpers.runs import recorded

ENDS = {"interlocked": "STED_775 does not emit", "closed": "is not open in Imspector"}
"""How a run ends that cannot go on."""
SLOWLY = {**SCOPE["settings"], "dwell": {**SCOPE["settings"]["dwell"], "start": 100}}
"""Frames that take longer than calls do on a busy machine."""
FAULTS = {
    "disconnected": ["closed by the server"],
    "hung": ["did not answer within 0.5 s"],
    "stopped": ["it was stopped in Imspector"],
    "stopped_late": ["it was stopped in Imspector"],
    "other": ["became active in Imspector"],
    "reconfigured": ["became active in Imspector"],
    "changed": ["it was changed in Imspector"],
    "runs_on": ["did not end within"],
    "late_start": ["the scan may still begin", "it was not asked to"],
    "started": ["it was not asked to"],
}
"""What its ledger says."""


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_what_is_recorded_is_what_was_scanned_at(
    tmp_path: Path, serve: Serve, behaviour: str
) -> None:
    server = serve(behaviours=(behaviour,))
    begun = time.monotonic()
    slowly = behaviour in ("stopped", "other", "reconfigured")
    changes = {"settings": SLOWLY} if slowly else {}
    result, run = live(tmp_path, frames=5, **changes)
    assert not server.scanning and not server.locked and result.safe, result.reason
    assert server.dark or server.left_alone  # it has its powers when a person opens it
    assert not server.left_alone or behaviour == "closed"
    if behaviour in ENDS:
        assert result.status == "failed" and ENDS[behaviour] in (result.reason or "")
        assert check_rows(run) == (0 if behaviour == "interlocked" else 2)
        return
    assert result.status == "completed", result.reason
    assert check_rows(run) == 5
    faults = [str(one["what"]) for one in recorded(run).faults if one["policy"] == "retry"]
    assert bool(faults) == (behaviour in FAULTS), faults
    for said in FAULTS.get(behaviour, ()):
        assert any(said in fault for fault in faults), faults
    # A call that hangs, or a scan without an end, costs its limit and no more.
    assert time.monotonic() - begun < 200


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_storm_of_everything_leaves_it_dark(tmp_path: Path, serve: Serve, seed: int) -> None:
    server = serve(behaviours=BEHAVIOURS, chance=0.05, seed=seed)
    server.values["STED_775"]["laser_on"] = True
    result, run = live(tmp_path, frames=10)
    assert not server.scanning and not server.locked and result.safe, result.reason
    assert server.dark or server.left_alone
    check_rows(run)


@pytest.mark.slow
def test_a_configuration_becomes_active_late(tmp_path: Path, serve: Serve) -> None:
    server = serve(behaviours=("late",), others={"overview": tree(64)}, active="overview")
    server.values["Measurement"]["axes"]["num_synced"] = 1
    wanted = {"imspector": {**SCOPE["imspector"], "configuration": "stedfast"}}
    result, run = live(tmp_path, frames=1, **wanted)
    assert result.status == "completed", result.reason
    assert server.active == "stedfast" and check_rows(run) == 1
    axes = server.values["Measurement"]["axes"]
    assert axes["num_synced"] == 2  # as activating does
    axes["num_synced"] = 1
    (again := tmp_path / "again").mkdir()
    assert live(again, frames=1, **wanted)[0].status == "completed"
    assert axes["num_synced"] == 1  # it was active


def test_a_start_whose_answer_is_lost_is_waited_for_at_the_end(serve: Serve) -> None:
    server = serve(late_s=0.3)
    link = build.connect(ImspectorConfig(confirm_s=0.6, reply_s=0.5, scan_s=1.0))
    link.hands_off()
    for _ in range(FIRST):
        link.scan(0.01, ["STED 640"], ["STED 640"])
    server.behaviours = ("late_start",)
    with pytest.raises(RuntimeError, match="the scan may still begin"):
        link.scan(0.01, ["STED 640"], ["STED 640"])
    assert not server.scanning
    server.values["ExpControl"]["measurement"]["channels"][0]["dwelltime"] = 1e-2
    link.close()
    # It did begin, and would have taken ten seconds.
    assert server.scans == FIRST + 1 and server.scanned[-1].seconds < 5
    assert not server.scanning and not server.locked


@pytest.mark.parametrize("call", ["state", "get", "put"])
def test_a_connection_lost_between_frames_ends_no_run(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    server = serve()
    ask, lost = server.ask, []
    behind = 1 if call == "put" else 2  # settings are put for the first frame alone

    def asked(connection: int, name: str, *arguments: Any) -> Any:
        if name == call and server.scans == behind and not (lost or server.scanning):
            lost.append(connection)
            server.dead.add(connection)
        return ask(connection, name, *arguments)

    monkeypatch.setattr(server, "ask", asked)
    result, run = live(tmp_path, frames=3)
    assert lost and result.status == "completed", result.reason
    assert check_rows(run) == 3 and server.dark and not server.locked


def test_a_connection_that_was_left_tells_nothing_more(serve: Serve) -> None:
    server = serve()
    link = build.connect(ImspectorConfig())
    (first,) = [told for (_, signal), told in server.listeners.items() if signal == BEGIN]
    link.lose()
    link.check()
    (second,) = [
        told for (_, signal), told in server.listeners.items() if signal == BEGIN and told != first
    ]
    first()
    link.check()
    second()
    with pytest.raises(RuntimeError, match="it was not asked to"):
        link.check()
    link.close()


def test_what_the_server_does_always() -> None:
    server = FakeImspector()
    with pytest.raises(RuntimeError, match="No parameter 'ExpControl/nothing'"):
        server.get("ExpControl/nothing")
    with pytest.raises(RuntimeError, match="Unknown device or parameter"):
        server.state("nothing")
    with pytest.raises(RuntimeError, match="not all of its values"):
        server.put("ExpControl/scan/range/x", {"psz": 1e-8})
    axes = server.get("Measurement/axes")
    server.put("Measurement/axes", {**axes, "num_synced": 1})
    assert server.get("Measurement/axes/num_synced") == 2
    server.put("Measurement/axes/num_synced", 1)
    assert server.get("Measurement/axes/num_synced") == 1
    power = "ExpControl/measurement/channels/0/lasers/0/power"
    server.put(f"{power}/raw", 10.0)
    assert server.get(f"{power}/calibrated") == pytest.approx(100)


def test_a_run_that_returns_at_once_is_never_used(serve: Serve) -> None:
    server = serve(behaviours=("bad_cast",))
    with pytest.raises(RuntimeError, match="bad cast"):
        server.run()
    assert server.scanning
    server.pause()


def test_lasers_are_made_dark_where_they_are_driven(serve: Serve) -> None:
    """A person activates another measurement between the last scan and the end."""
    server = serve(behaviours=("other",))
    server.behaviours = ()
    with Microscope.open(scope()) as microscope:
        take(microscope, Shot.sted(None, {}))
        assert not server.dark
        server.in_front = ANOTHER
        server.behaviours = ("other",)
        server.scans = 0  # it happens to nothing else
    assert server.dark and server.in_front == MEASUREMENT


def test_a_stop_near_the_end_shows_only_where_the_result_is_told(
    tmp_path: Path, serve: Serve
) -> None:
    server = serve(behaviours=("stopped_late",), old=True)
    result, run = live(tmp_path, frames=5, settings=SLOWLY)
    assert result.status == "completed" and server.scans == 6  # as its documentation says
    assert not recorded(run).faults


def test_a_result_that_a_server_does_not_give_is_done_without(serve: Serve) -> None:
    server = serve(behaviours=("bad_cast",))
    link = build.connect(ImspectorConfig(confirm_s=0.6, reply_s=0.5, scan_s=1.0))
    for number in range(2):
        link.scan(0.01, ["STED 640"], ["STED 640"])
        assert server.scans == number + 1
    link.close()


def test_a_laser_that_a_person_switches_on_is_switched_off_again(
    tmp_path: Path, serve: Serve
) -> None:
    """One that no setting is bound to: nobody counts its light."""
    server = serve()
    start = server.start

    def switched(of: str) -> None:
        if server.scans == FIRST:
            measured = server.values["ExpControl"]["measurement"]
            measured["channels"][0]["lasers"][2]["active"] = True
        start(of)

    server.start = switched  # type: ignore[method-assign]
    result, run = live(tmp_path, frames=4)
    assert result.status == "completed", result.reason
    (fault,) = [one["what"] for one in recorded(run).faults if one["policy"] == "retry"]
    assert "lasers/2/active became True" in fault
    lit = [
        one.values["ExpControl"]["measurement"]["channels"][0]["lasers"][2]["active"]
        for one in server.scanned
    ]
    assert lit == [False] * FIRST + [True] + [False] * 2 and server.dark


def test_a_channel_that_a_person_adds_ends_the_run_dark(tmp_path: Path, serve: Serve) -> None:
    server = serve()
    start = server.start

    def added(of: str) -> None:
        channels = server.values["ExpControl"]["measurement"]["channels"]
        if server.scans == FIRST and len(channels) == 1:
            lit = copy.deepcopy(channels[0])
            lit["lasers"][2]["active"] = True
            channels.append({**lit, "name": "NEW"})
        start(of)

    server.start = added  # type: ignore[method-assign]
    result, run = live(tmp_path, frames=5)
    assert result.status == "failed" and "['STED 640', 'NEW']" in (result.reason or "")
    assert result.safe and server.dark and check_rows(run) == FIRST - 1


@pytest.mark.parametrize(("down_s", "status"), [(0.1, "completed"), (2.0, "failed")])
def test_a_server_that_starts_again_is_waited_for(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, down_s: float, status: str
) -> None:
    server = serve()
    connect, up_again = server.connect, [0.0]

    def reached(host: str = "") -> int:
        if time.monotonic() < up_again[0]:
            return connect("nobody")
        return connect(host)

    start = server.start

    def restarted(of: str) -> None:
        if server.scans == FIRST and not up_again[0]:
            up_again[0] = time.monotonic() + down_s
            server.dead.update(range(server.connections + 1))
            server.listeners.clear()
            server.locked = False
            raise RuntimeError("the connection was closed by the server")
        start(of)

    monkeypatch.setattr(server, "connect", reached)
    server.start = restarted  # type: ignore[method-assign]
    result, run = live(tmp_path, frames=5)
    assert result.status == status, result.reason
    assert result.safe == server.dark == (status == "completed")
    assert check_rows(run) == (5 if result.safe else FIRST - 1)


def test_a_laser_that_cannot_be_made_safe_leaves_no_other_lit(serve: Serve) -> None:
    server = serve()
    put = server.put

    def refused(path: str, value: Any, of: str | None = None) -> None:
        if "lasers/0/power" not in path:
            put(path, value, of)

    server.put = refused  # type: ignore[method-assign]
    with pytest.raises(BindingError, match="cannot be made safe"), Microscope.open(scope()):
        pass
    assert server.dark  # those behind it, too


def test_a_scan_of_a_measurement_that_is_closed_is_stopped(serve: Serve) -> None:
    server = serve()
    link = build.connect(ImspectorConfig(confirm_s=0.6, reply_s=0.5))
    server.values["ExpControl"]["measurement"]["pixel_steps"]["step_duration"][0] = 1e-2
    server.start()
    server.open = False
    link.lose()
    link.stop()
    assert not server.scanning and server.scanned[-1].seconds < 5
    link.close()
