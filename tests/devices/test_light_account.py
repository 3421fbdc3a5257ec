"""The dose is what the light did: judged by what the devices themselves wrote down."""

from __future__ import annotations

import itertools
import re
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.bench import lit
from agent.config import load
from agent.config.schema import DoseConfig
from agent.plans.adaptive.light_budget import LightBudget
from agent.record import text
from agent.record.dose import DoseGate
from agent.record.folder import new_folder, read_config
from agent.record.ledger import Entry, Ledger
from agent.record.summary import summarize
from agent.run import Session
from agent.ui.report.page import render
from agent.ui.report.run_data import Run
from agent.ui.view import payloads
from agent.ui.view.reader import Reader
from devices.errors import BindingError
from devices.light import LightMeter
from tests import faulty
from tests.helpers.runs import Work, recorded, run_session, until

POWER = {
    "device": "Depletion",
    "property": "Power_mW",
    "unit": "mW",
    "range": [0, 300],
    "start": 100,
    "safe": 0,
    "laser": "depletion",
}
EXPOSURE = {
    "device": "Camera",
    "property": "Exposure",
    "unit": "ms",
    "range": [1, 1000],
    "start": 300,
}


def scope(
    *,
    camera: dict[str, Any] | None = None,
    laser: dict[str, Any] | None = None,
    shutter: bool = True,
    settings: dict[str, Any] | None = None,
    **keys: Any,
) -> dict[str, Any]:
    """A microscope of one laser, for `tests.helpers.runs`."""
    devices = {
        "Camera": faulty.device("FlakyCamera", **(camera or {})),
        "Depletion": faulty.device("Laser", **(laser or {})),
        "Stage": faulty.device("Stage"),
    }
    if shutter:
        devices["Shutter"] = faulty.device("Shutter")
    return {
        "python_devices": devices,
        "settings": {"depletion_power": POWER, **(settings or {})},
        "fields": {"rows": 1, "columns": 2},
        **keys,
    }


def entries(run: Path, kind: Any) -> list[Entry]:
    with closing(Ledger(run, readonly=True)) as ledger:
        return list(ledger.entries(kind))


SCOPES: dict[str, dict[str, Any]] = {
    "slow camera": scope(camera={"frame_s": 0.4}),
    "no shutter": scope(camera={"frame_s": 0.4}, shutter=False),
    "shutter: none": scope(camera={"frame_s": 0.4}, shutter="none"),
    "exposure as a setting": scope(
        camera={"honest": True},
        settings={"exposure_time": EXPOSURE},
        exposure={"camera": "exposure_time"},
    ),
    "laser that clamps": scope(
        camera={"frame_s": 0.4},
        laser={"clamp": 50},
        settings={"depletion_power": {**POWER, "tolerance": 60}},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", SCOPES)
def test_the_account_is_what_the_devices_wrote_down(kind: str, tmp_path: Path) -> None:
    microscope = dict(SCOPES[kind])
    without = kind in ("no shutter", "shutter: none")
    if kind == "shutter: none":
        microscope["shutter"] = "none"
    ratios = []
    # A machine that is busy adds to what is measured, and never takes from it.
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        result, run = run_session(
            folder,
            session={},
            plan="timelapse",
            timelapse={"frames": 2, "interval_s": 0.9, "fields": 2, "acquire": "every"},
            microscope=microscope,
        )
        assert result.status == "completed", result.reason
        laser = faulty.made["Laser"][-1]
        given = faulty.energy_j(laser, None if without else faulty.made["Shutter"][-1])
        counted = summarize(run)["dose"]["depletion_J"]
        rows = [entry.data for entry in entries(run, "frame")]
        assert counted == pytest.approx(sum(row["dose_J"]["depletion"] for row in rows))
        ratios.append(counted / given)
        assert ratios[-1] > 0.98
        if ratios[-1] < 1.02:
            break
    assert min(ratios) < 1.02


def test_without_a_shutter_lasers_are_on_for_frames_alone(tmp_path: Path) -> None:
    result, _ = run_session(
        tmp_path,
        session={},
        plan="timelapse",
        timelapse={"frames": 2, "interval_s": 0.3, "fields": 2, "acquire": "every"},
        microscope=scope(shutter=False),
    )
    assert result.status == "completed", result.reason
    powers = [power for _, power in faulty.made["Laser"][-1].given]
    lit = [power for power, _ in itertools.groupby(powers)]
    assert lit == [0.0, 100.0] * 4 + [0.0]


@pytest.mark.slow
@pytest.mark.parametrize("shutter", [True, False])
def test_emission_among_properties_is_on_for_frames(shutter: bool, tmp_path: Path) -> None:
    """What has a safe value is made safe on opening and in a pause, and on again after it."""
    microscope = scope(shutter=shutter, camera={"frame_s": 0.02})
    microscope["python_devices"]["Key"] = faulty.device("Laser")
    microscope["properties"] = [["Key", "Power_mW", 1, 0]]
    work = Work(tmp_path, live={"frames": 30, "interval_s": 0.01}, microscope=microscope).start()
    key = faulty.made["Laser"][-1]
    until(lambda: work.progress.frames >= 3)
    work.tell(pause=True)
    until(lambda: work.progress.paused)
    assert key.power == 0
    work.tell(resume=True)
    assert work.ended().status == "completed"
    ons = [power for power, _ in itertools.groupby(power for _, power in key.given)]
    assert ons == [0.0, 1.0] * (2 if shutter else 30) + [0.0]


def test_which_of_two_shutters_must_be_said(tmp_path: Path) -> None:
    microscope = scope()
    microscope["python_devices"]["Epi"] = faulty.device("Shutter")
    with pytest.raises(BindingError, match=r"which one is opened for a frame.*Shutter, Epi"):
        Work(tmp_path, microscope=microscope)


def test_every_shutter_is_closed_and_one_is_opened_for_frames(tmp_path: Path) -> None:
    log = tmp_path / "log"
    data = lit.config(log, frames=2, shutter="Shutter")
    other = {"class": "agent.bench.lit:LitShutter", "options": {"log": str(log), "name": "epi"}}
    data["microscope"]["python_devices"]["Epi"] = other
    file = faulty.write(tmp_path / "c.yaml", data)
    result = Session(load(file), file, new_folder(load(file), tmp_path, tmp_path / "run")).run()
    assert (result.status, result.safe) == ("completed", True), result.reason
    assert lit.left_lit(log) == {}
    assert {each.device for each in lit.switched_on(log) if each.value == "open"} == {"shutter"}
    readback = summarize(result.folder)["safe_state"]["readback"]
    assert readback["shutter open"]["ok"] and readback["shutter Epi open"]["ok"]


def test_a_shutter_that_does_not_close_is_not_opened_again(tmp_path: Path) -> None:
    microscope = scope()
    microscope["python_devices"]["Shutter"] = {"class": f"{__name__}:Sticking"}
    result, run = run_session(
        tmp_path, session={}, live={"frames": 3}, faults={"retries": 5}, microscope=microscope
    )
    assert result.status == "failed"
    assert "shutter 'Shutter' did not close" in result.reason
    assert [fault["policy"] for fault in recorded(run).faults] == ["stop"]
    given = faulty.energy_j(faulty.made["Laser"][-1], faulty.made["Sticking"][-1])
    assert summarize(run)["dose"]["depletion_J"] >= given > 0


class Sticking(faulty.Shutter):
    """It opens, and does not close at the first command to do so."""

    def set_open(self, open: bool) -> None:
        if self.open and not open and len(self.given) < 6:
            self.given.append((time.monotonic(), True))
            raise RuntimeError("stuck")
        super().set_open(open)


def test_the_ledger_has_what_the_devices_have(tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path, session={}, live={"frames": 2}, microscope=SCOPES["laser that clamps"]
    )
    assert result.status == "completed", result.reason
    for row in entries(run, "frame"):
        assert row.data["settings"] == {"depletion_power": 50.0}
    assert {t.shot["settings"]["depletion_power"] for t in recorded(run).taken.values()} == {50.0}


def test_a_laser_that_clamps_is_a_fault(tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        live={"frames": 2},
        faults={"retries": 1},
        microscope=scope(laser={"clamp": 50}),
    )
    assert result.status == "failed"
    assert "Depletion.Power_mW is 50 mW, not 100 as it was set to" in result.reason
    assert "settings.depletion_power" in result.reason
    assert [fault["policy"] for fault in recorded(run).faults] == ["retry", "stop"]
    # The shutter was not opened: no light fell, and none is counted.
    assert summarize(run)["dose"]["depletion_J"] == 0
    assert not any(opened for _, opened in faulty.made["Shutter"][-1].given)


def test_a_budget_counts_what_was_measured(tmp_path: Path) -> None:
    frame_s = 0.2
    parts: dict[str, Any] = {
        "live": {"frames": 20},
        "dose": {"budget_J": {"depletion": 3.5 * 0.1 * frame_s}},
        "microscope": scope(camera={"frame_s": frame_s}),
    }
    result, run = run_session(tmp_path, session={}, **parts)
    # All 20 would be within the budget if they took what the config says.
    assert result.status == "stopped", result.reason
    assert "dose.budget_J.depletion" in result.reason
    summary = summarize(run)
    assert 1 <= summary["frames"]["acquired"] <= 3
    # The next frame is expected to take as long as the last; on a busy machine it takes longer.
    taken = [row.data["dose_J"]["depletion"] for row in entries(run, "frame")]
    assert sum(taken[:-1]) + sum(taken[-2:-1]) <= 3.5 * 0.1 * frame_s
    (fault,) = summary["faults"]
    assert (fault["part"], fault["policy"]) == ("light", "go on")
    assert "slow camera" in fault["what"]
    # So it does when the run is gone on with.
    result = Session(read_config(run), run / "config.yaml", run).run()
    assert result.status == "stopped", result.reason
    assert summarize(run)["frames"]["acquired"] == summary["frames"]["acquired"]


def test_report_and_page_show_the_time_measured_against_the_time_expected(tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        live={"frames": 3},
        analysis={"score": False},
        microscope=scope(camera={"frame_s": 0.05}),
    )
    assert result.status == "completed", result.reason
    dose = summarize(run)["dose"]
    assert dose["expected_s"] == pytest.approx(0.03) and dose["lit_s"] > 0.15
    report = render(Run.load(run))
    chart = report[report.index('aria-label="Time that light was on') :].partition("</svg>")[0]
    # One line of each, the measured one the higher: it ends further up.
    ends = {
        kind: float(re.findall(rf'class="line {kind}" d="[^"]*V([\d.]+)"', chart)[0])
        for kind in ("within", "start")
    }
    assert ends["within"] < ends["start"]
    assert f"Light was on the sample for {text.duration(dose['lit_s'])}, measured" in report
    reader = Reader(run)
    reader.refresh()
    assert payloads.state(reader)["lit"] == {
        "measured_s": dose["lit_s"],
        "expected_s": dose["expected_s"],
    }


def test_a_hang_with_the_shutter_open_is_counted(tmp_path: Path, impatient: None) -> None:
    camera = faulty.device("HangingCamera", fail_at=1)
    microscope = scope(timeout_s=0.5)
    microscope["python_devices"]["Camera"] = camera
    result, run = run_session(tmp_path, session={}, live={"frames": 3}, microscope=microscope)
    faulty.HangingCamera.released.set()
    assert result.status == "failed" and "hangs" in result.reason
    given = faulty.energy_j(faulty.made["Laser"][-1], faulty.made["Shutter"][-1])
    assert given > 0.1 * 0.5
    assert summarize(run)["dose"]["depletion_J"] > 0.98 * given
    assert summarize(run)["dose"]["lost_shots"] == 1


def test_ledgers_of_earlier_versions_count_what_was_announced(tmp_path: Path) -> None:
    _, run = run_session(tmp_path, session={}, live={"frames": 3}, microscope=scope())
    found = recorded(run)
    for taken in found.taken.values():
        for key in ("settings", "expected_s", "lit_s", "dose_J"):
            del taken.frame[key]
        taken.shot["dose_J"] = {"depletion": 0.25}
    gate = DoseGate.of(DoseConfig(), found)
    assert gate.total == {"depletion": 0.75}
    assert gate.likely({"depletion": 1.0}, 0.01) == {"depletion": 1.0}
    assert gate.mismatch() is None


@pytest.mark.slow
def test_settings_and_position_are_sent_when_they_change_and_after_a_pause(tmp_path: Path) -> None:
    work = Work(
        tmp_path,
        live={"frames": 40, "interval_s": 0.01},
        microscope=scope(camera={"frame_s": 0.02}),
    ).start()
    laser = faulty.made["Laser"][-1]
    until(lambda: work.progress.frames >= 4)
    assert [power for _, power in laser.given if power > 0] == [100.0]
    work.tell(pause=True)
    until(lambda: work.progress.paused)
    assert laser.power == 0
    work.tell(resume=True)
    result = work.ended()
    assert result.status == "completed", result.reason
    assert [power for _, power in laser.given if power > 0] == [100.0] * 2


def test_a_plan_counts_what_was_measured() -> None:
    light = LightBudget(lambda settings, pixels: {"depletion": 1.0}, {"depletion": 10.0}, {})
    light.spend({}, 1, 0)
    assert light.frames(0) == 9
    light.spend({}, 1, 0, {"depletion": 3.0})
    assert light.frames(0) == 2


def test_the_meter_goes_on_while_a_laser_stays_on() -> None:
    now = 0.0
    meter = LightMeter(lambda: now)
    meter.begin()
    meter.on(["a", "b"])
    now = 2.0
    meter.off(["a"])
    now = 3.0
    assert meter.seconds() == {"a": 2.0, "b": 3.0}
    meter.begin()
    now = 7.0
    assert meter.seconds() == {"b": 4.0}
    meter.off()
    now = 9.0
    assert meter.seconds() == {"b": 4.0}
