"""Ctrl-C and SIGTERM, once and twice: the light is off, nothing is lost, the run can continue."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import RunConfig
from agent.plan import Note, Plan
from agent.plans.build import build_plan
from agent.record.folder import read_config
from agent.run import EXIT_CODES, Progress, Session
from devices.shot import Shot
from models.quality.score import Score
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import (
    assert_left_well,
    checked,
    entries,
    mean_score,
    posix,
    resume,
    run_session,
    show,
    started,
)


def wait_until(true: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def repair(run: Path) -> None:
    """Put a camera that works, and is quick, into a run's config."""
    data = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    data["microscope"]["python_devices"]["Camera"]["options"] = {}
    faulty.write(run / "config.yaml", data)


@pytest.mark.process
@pytest.mark.slow
@posix
def test_first_interrupt_finishes_the_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Frame 3 takes long enough to be interrupted in its midst.
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(camera=faulty.device("FlakyCamera", frame_s=1.0, slow_from=3)),
    )
    run = tmp_path / "run"
    with started(config, run) as process:
        wait_until(lambda: entries(run, "shot") == 4)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    # Nor does Micro-Manager's runner have its coloured say about being cancelled.
    assert "MDA" not in out + err
    assert not set(out + err) & {"\x1b", "\r", "━"}, "drawn for a terminal"
    summary = assert_left_well(capsys, run, "interrupted", acquired=4)
    assert summary["reason"] == summary["safe_state"]["reason"] == "SIGINT"
    assert "interrupted" in err and f"stedfast resume {run} continues it" in err
    # The camera is slower than its exposure time, and nothing else is wrong.
    assert [fault["part"] for fault in summary["faults"]] == ["light"]
    repair(run)
    resume(capsys, run, 20)


@pytest.mark.process
@pytest.mark.slow
@posix
def test_second_interrupt_stops_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(camera=faulty.device("FlakyCamera", frame_s=300.0, slow_from=3)),
    )
    run = tmp_path / "run"
    with started(config, run) as process:
        wait_until(lambda: entries(run, "shot") == 4)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        _, err = process.communicate(timeout=240)
    took = time.monotonic() - asked
    assert process.returncode == 130, err
    assert took < 200, "waited for a frame of 300 s"
    # The frame that was under way is given up, its light is not forgotten.
    summary = assert_left_well(capsys, run, "interrupted", acquired=3)
    assert summary["dose"]["lost_shots"] == 1
    assert summary["reason"] == "SIGINT"
    repair(run)
    resume(capsys, run, 20)
    assert show(capsys, run)["dose"]["lost_shots"] == 1


@pytest.mark.slow
def test_interrupt_ends_a_long_wait_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, file, run = checked(
        tmp_path,
        plan="timelapse",
        timelapse={"frames": 3, "interval_s": 600},
        microscope=faulty.LONG,
    )

    def interrupt(progress: Progress) -> None:
        if progress.frames == 1 and not progress.doing.startswith("finishing"):
            signal.raise_signal(signal.SIGINT)

    began = time.monotonic()
    result = Session(config, file, run).run(interrupt)
    assert (result.status, EXIT_CODES[result.status]) == ("interrupted", 130), result.reason
    summary = assert_left_well(capsys, run, "interrupted", acquired=1)
    # The frame that was waited for was announced, and no light fell.
    assert entries(run, "shot") == 2
    assert summary["dose"]["lost_shots"] == 0
    assert summary["dose"]["excitation_J"] == pytest.approx(5e-3 * faulty.LONG_S)

    # Another session is interrupted while it waits: it takes nothing and loses nothing.
    again = Session(read_config(run), run / "config.yaml", run).run(interrupt)
    assert again.status == "interrupted"
    assert_left_well(capsys, run, "interrupted", acquired=1)
    assert time.monotonic() - began < 300


@pytest.mark.process
@pytest.mark.slow
@posix
def test_sigterm_and_a_second_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(camera=faulty.device("FlakyCamera", frame_s=0.1), live={"frames": 50}),
    )
    run = tmp_path / "run"
    with started(config, run) as process:
        wait_until(lambda: entries(run, "frame") >= 2)
        # Nobody else may work in this run meanwhile, but anyone may look.
        code, _, err = cli(capsys, "resume", run)
        assert (code, len(err.splitlines())) == (2, 2), err
        assert "another process is running this run" in err.splitlines()[-1]
        assert show(capsys, run)["status"] == "running"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    summary = assert_left_well(capsys, run, "interrupted")
    assert summary["reason"] == "SIGTERM"
    assert 2 <= summary["frames"]["acquired"] < 50
    repair(run)
    resume(capsys, run, 50)


def interrupt_when(enough: Callable[[Progress], bool]) -> Callable[[Progress], None]:
    """A watcher that sends Ctrl-C, and once more at each look after that."""

    def watch(progress: Progress) -> None:
        if enough(progress) or progress.doing.startswith("finishing"):
            signal.raise_signal(signal.SIGINT)

    return watch


@pytest.mark.slow
def test_a_frame_cut_off_by_the_second_interrupt_is_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The camera comes back soon after, so that the thread still has its say."""
    result, run = run_session(
        tmp_path,
        session={},
        watch=interrupt_when(lambda _: faulty.made["FlakyCamera"][-1].count == 4),
        camera=faulty.device("FlakyCamera", frame_s=1.0, slow_from=3),
    )
    assert (result.status, EXIT_CODES[result.status]) == ("interrupted", 130), result.reason
    summary = assert_left_well(capsys, run, "interrupted", acquired=3)
    assert summary["faults"] == []
    assert summary["dose"]["lost_shots"] == 1
    repair(run)
    resume(capsys, run, 20)


@pytest.mark.slow
@pytest.mark.parametrize("reading", [True, False])
def test_second_interrupt_does_not_wait_for_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reading: bool
) -> None:
    stuck = threading.Event()

    def never(frames: list[Any]) -> list[Score]:
        stuck.wait(600)
        return mean_score(frames)

    @wraps(build_plan)
    def plan(config: RunConfig) -> Plan:
        for _ in range(20):
            frame = yield Shot("sted")
        assert frame is not None
        yield Note("score", {"value": frame.score})

    session: dict[str, Any] = {"scorer": never}
    if reading:
        session["make_plan"] = plan
    scored = {"score": True, "timeout_s": 300}
    config, file, run = checked(tmp_path, live={"frames": 200}, analysis=scored)
    began = time.monotonic()
    result = Session(config, file, run, **session).run(
        interrupt_when(lambda progress: progress.frames >= 20)
    )
    took = time.monotonic() - began
    stuck.set()
    assert result.status == "interrupted", result.reason
    assert took < 200
    assert_left_well(capsys, run, "interrupted")
