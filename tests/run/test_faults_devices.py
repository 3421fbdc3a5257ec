"""Cameras and lasers that fail: the light is off, nothing is lost, and the run can be continued."""

from __future__ import annotations

import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import yaml

from agent.record.folder import read_config
from agent.run import EXIT_CODES, Progress, Session
from devices import engine
from devices.errors import DeviceFault
from devices.microscope import Microscope
from devices.shot import Shot
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import (
    assert_left_well,
    checked,
    entries,
    frames_in,
    posix,
    resume,
    run_session,
    show,
    started,
)

# ---------------------------------------------------------------------- camera


@pytest.mark.slow
def test_camera_raises_at_frame_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(camera=faulty.device("FlakyCamera", fail_at=8, armed=str(flag))),
    )
    run = tmp_path / "run"
    code, _, err = cli(capsys, "run", config, "--out", run)
    assert code == 1
    assert "Traceback" not in err
    assert "cable is out" in err
    summary = assert_left_well(capsys, run, "failed", acquired=8)
    assert summary["dose"]["lost_shots"] == 1
    (fault,) = summary["faults"]
    assert fault["frame"] == 8
    assert "'Camera'" in fault["what"]
    assert "cable is out" in fault["what"]

    # Still broken: the new session's camera fails at its own frame 8, and nothing is lost.
    code, _, _ = cli(capsys, "resume", run)
    assert code == 1
    assert_left_well(capsys, run, "failed", acquired=16)
    flag.unlink()
    code, _, err = cli(capsys, "resume", run)
    assert code == 0, err
    assert_left_well(capsys, run, "completed", acquired=20)
    code, _, err = cli(capsys, "resume", run)
    assert code == 0
    assert "complete already" in err


@pytest.mark.process
@pytest.mark.slow
@posix
def test_camera_hangs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(
            camera=faulty.device("HangingCamera", fail_at=8, armed=str(flag)),
            microscope={"timeout_s": 3},  # a busy machine takes its time for a frame
        ),
    )
    run = tmp_path / "run"
    with started(config, run, "tests.helpers.impatient") as process:
        _, err = process.communicate(timeout=240)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    summary = assert_left_well(capsys, run, "failed", acquired=8)
    assert "hangs" in summary["reason"]
    assert "microscope.timeout_s" in summary["reason"]
    flag.unlink()
    resume(capsys, run, 20)


@pytest.mark.slow
def test_a_camera_that_fails_once_is_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        camera=faulty.device("FlakyCamera", fail_at=8, times=1),
        faults={"retries": 1},
        microscope=faulty.LONG,
    )
    assert result.status == "completed", result.reason
    summary = assert_left_well(capsys, run, "completed", acquired=20)
    found = [(f["frame"], f["policy"]) for f in summary["faults"] if f.get("part") != "light"]
    assert found == [(8, "retry")]
    # Both exposures of frame 8 fell on the sample.
    assert summary["dose"]["excitation_J"] == pytest.approx(21 * 5e-3 * faulty.LONG_S)


def test_retries_come_to_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        camera=faulty.device("FlakyCamera", fail_at=8),
        faults={"retries": 2},
    )
    assert result.status == "failed"
    summary = assert_left_well(capsys, run, "failed", acquired=8)
    assert [fault["policy"] for fault in summary["faults"]] == ["retry", "retry", "stop"]
    assert summary["dose"]["lost_shots"] == 3


# ---------------------------------------------------------------------- light


@pytest.mark.slow
def test_dose_budget_stops_before_it_is_exceeded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    each = 5e-3 * faulty.LONG_S
    result, run = run_session(
        tmp_path,
        session={},
        dose={"budget_J": {"excitation": 7.5 * each}},
        microscope=faulty.LONG,
    )
    assert (result.status, EXIT_CODES[result.status]) == ("stopped", 3)
    summary = assert_left_well(capsys, run, "stopped", acquired=7)
    assert summary["dose"]["excitation_J"] == pytest.approx(7 * each)
    assert summary["dose"]["budget_fraction"] == pytest.approx(7 / 7.5)
    assert "dose.budget_J.excitation" in summary["reason"]
    # The shutter was not even opened for the eighth frame.
    shutter = faulty.made["Shutter"][-1]
    assert sum(opened for _, opened in shutter.given) == 7

    # Resumed as it is, the budget still holds; with a larger one the run goes on.
    again = Session(read_config(run), run / "config.yaml", run).run()
    assert again.status == "stopped"
    assert_left_well(capsys, run, "stopped", acquired=7)
    data = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    data["dose"] = {"budget_J": {"excitation": 1.0}}
    faulty.write(run / "config.yaml", data)
    resume(capsys, run, 20)


@pytest.mark.slow
def test_a_laser_that_stays_on_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All frames are there, but a person must look at that laser."""
    flag = tmp_path / "stuck"
    flag.touch()
    result, run = run_session(
        tmp_path, session={}, laser=faulty.device("Laser", sticks=True, armed=str(flag))
    )
    assert not result.safe
    assert (result.status, EXIT_CODES[result.status]) == ("failed", 1)
    summary = show(capsys, run)
    assert summary["status"] == "failed"
    assert not summary["safe_state"]["ok"]
    readback = summary["safe_state"]["readback"]
    assert readback["excitation_power"] == {"expected": 0.0, "value": 5.0, "ok": False}
    # The stuck laser keeps nothing else from being made safe.
    assert readback["depletion_power"]["ok"]
    assert readback["shutter open"]["ok"]
    assert any("excitation_power" in fault["what"] for fault in summary["faults"])
    assert frames_in(run) == list(range(20))
    flag.unlink()
    resume(capsys, run, 20)


class MuteLaser(faulty.Laser):
    """A laser that does not say its power once: the `mute_at`th time that it is asked."""

    asked = 0
    mute_at = sys.maxsize

    def __init__(self) -> None:
        super().__init__()
        type(self).asked = 0
        self.register_property(
            "Power_mW",
            limits=(0.0, 500.0),
            property_type=float,
            getter=lambda laser: laser.tell(),
            setter=lambda laser, value: laser.accept(value),
        )

    def tell(self) -> float:
        type(self).asked += 1
        if self.asked == self.mute_at:
            raise RuntimeError("no answer")
        return self.power


@pytest.mark.slow
def test_a_laser_that_is_mute_once_at_the_very_end_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict is not that it may be on: it is made safe again, and says so."""
    laser = {"class": f"{__name__}:MuteLaser"}
    parts: dict[str, Any] = {"laser": laser, "live": {"frames": 2}, "analysis": {"score": False}}
    for name in ("before", "after"):
        (tmp_path / name).mkdir()
        result, run = run_session(tmp_path / name, session={}, **parts)
        assert (result.status, result.safe) == ("completed", True), result.reason
        if name == "before":  # where the last question was whether it is safe
            monkeypatch.setattr(MuteLaser, "mute_at", MuteLaser.asked)
    assert MuteLaser.asked == MuteLaser.mute_at + 1
    assert show(capsys, run)["safe_state"]["ok"]


def test_a_laser_that_hangs_keeps_nothing_else_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], impatient: None
) -> None:
    """Nor does it keep the process running: the laser was named, and a person can go to it."""
    try:
        result, run = run_session(tmp_path, session={}, laser=faulty.device("Laser", hangs=True))
    finally:
        faulty.Laser.released.set()
    assert (result.status, result.safe, result.thread_left) == ("failed", False, True)
    summary = show(capsys, run)
    readback = summary["safe_state"]["readback"]
    assert "no answer" in readback["excitation_power"]["value"]
    assert [name for name, entry in readback.items() if not entry["ok"]] == ["excitation_power"]
    assert faulty.made["Laser"][-1].power == 0
    assert not faulty.made["Shutter"][-1].open


@pytest.mark.slow
def test_a_camera_that_comes_back_late_finds_the_light_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], impatient: None
) -> None:
    config, file, run = checked(
        tmp_path,
        camera=faulty.device("HangingCamera", fail_at=3),
        microscope={"timeout_s": 0.5},
        faults={"retries": 5},
    )
    others = set(threading.enumerate())
    try:
        with Microscope.open(config.microscope) as microscope:
            result = Session(config, file, run, microscope=microscope).run()
        ended = time.monotonic()
        assert (result.status, result.safe, result.thread_left) == ("failed", True, True)
        before = entries(run, "shot"), entries(run, "frame"), entries(run, "fault")
        (thread,) = (
            each for each in set(threading.enumerate()) - others if each.name == "acquisition"
        )
    finally:
        faulty.HangingCamera.released.set()  # or its thread would outlive the tests
    thread.join(10)
    assert not thread.is_alive()
    devices = [*faulty.made["Laser"][-2:], faulty.made["Shutter"][-1]]
    assert [value for each in devices for at, value in each.given if at > ended and value] == []
    assert (entries(run, "shot"), entries(run, "frame"), entries(run, "fault")) == before
    assert_left_well(capsys, run, "failed", acquired=3)


def test_no_light_after_the_run_was_stopped(tmp_path: Path) -> None:
    """The thread was setting up a shot when the run was stopped: its laser stays at safe."""
    config, file, run = checked(tmp_path, laser=faulty.device("SlowLaser", seconds=0.6))

    def interrupt(progress: Progress) -> None:
        if laser.setting.is_set():
            signal.raise_signal(signal.SIGINT)

    with Microscope.open(config.microscope, base=tmp_path) as microscope:
        laser = faulty.made["SlowLaser"][-1]
        result = Session(config, file, run, microscope=microscope).run(interrupt)
    assert result.status == "interrupted", result.reason
    assert result.safe
    time.sleep(0.3)
    for each in (laser, faulty.made["Laser"][-1]):
        assert each.power == 0
        assert each.given[-1][1] == 0
    assert faulty.made["Shutter"][-1].open is False
    # The depletion laser's turn came after the stop: it never saw a power above its safe one.
    assert all(power == 0 for _, power in faulty.made["Laser"][-1].given)


class Halt:
    """Holds a thread right before the n-th line of the engine that it comes to."""

    def __init__(self, line: int) -> None:
        self._left = line
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.where = 0

    def __call__(self, frame: FrameType, event: str, arg: object) -> Halt | None:
        if frame.f_code.co_filename != engine.__file__:
            return None
        if event == "line":
            if self._left == 0:
                self.where = frame.f_lineno
                self.reached.set()
                self.go_on.wait(10)
            self._left -= 1
        return self


@pytest.mark.slow
def test_no_light_after_the_safe_state_at_any_line(tmp_path: Path) -> None:
    """Make safe while the acquisition thread stands before each line of the engine in turn.

    That thread continues 50 ms later, or when the microscope is safe. From the moment on that
    `make_safe` has returned, no laser may get another value and the shutter may not open.
    """
    config, _, _ = checked(tmp_path)
    with Microscope.open(config.microscope, base=tmp_path) as microscope:
        excitation, depletion = faulty.made["Laser"][-2:]
        shutter = faulty.made["Shutter"][-1]
        wrong = []
        for line in range(200):
            halt = Halt(line)

            def take_one(halt: Halt = halt, number: int = line) -> None:
                sys.settrace(halt)
                with suppress(DeviceFault):
                    microscope.core.mda.run(iter([microscope.event(Shot("sted"), number)]))

            microscope.arm()
            thread = threading.Thread(target=take_one)
            thread.start()
            while thread.is_alive() and not halt.reached.wait(0.01):
                pass
            if not halt.reached.is_set():
                break
            threading.Timer(0.05, halt.go_on.set).start()
            safe = microscope.make_safe("test")
            made_safe = time.monotonic()
            halt.go_on.set()
            thread.join(10)
            assert not thread.is_alive()
            assert safe.ok
            wrong += [
                f"line {halt.where}: {name} {value} after the safe state"
                for name, device in (
                    ("laser", excitation),
                    ("laser", depletion),
                    ("shutter", shutter),
                )
                for at, value in device.given
                if at > made_safe and value
            ]
            assert not shutter.open
        assert line > 20, "the engine was not traced"
        assert wrong == []
