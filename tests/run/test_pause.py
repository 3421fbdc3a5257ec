"""Pause, resume, stop and the filter's queue, sent to running runs; and what is not applied."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.record.folder import read_config
from agent.record.ledger import Ledger
from agent.run import Session
from agent.run.pause import Pause
from agent.steering.control_file import FILE
from tests import faulty
from tests.doubles.restorers import Doubling
from tests.faulty import cli
from tests.helpers.runs import (
    Work,
    assert_left_well,
    entries,
    frames_in,
    recorded,
    resume,
    until,
)


def pauses(run: Path) -> list[dict[str, Any]]:
    with closing(Ledger(run, readonly=True)) as ledger:
        return [entry.data for entry in ledger.entries("pause")]


@pytest.mark.slow
def test_a_pause_is_dark_and_the_run_goes_on_where_it_stood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(tmp_path, live={"frames": 12, "interval_s": 0.05}).start()
    until(lambda: work.progress.frames >= 3)
    work.tell(pause=True, id="a", by="Ana", at="now")
    until(lambda: work.progress.paused)
    core, taken = work.microscope.core, work.progress.frames
    assert float(core.getProperty("Excitation", "Power_mW")) == 0
    assert float(core.getProperty("Depletion", "Power_mW")) == 0
    assert not core.getShutterOpen()
    time.sleep(0.4)
    assert work.progress.frames == taken, "a frame was taken during the pause"
    status = json.loads((work.run / "status.json").read_text(encoding="utf-8"))
    assert status["status"] == "running" and status["frames"] <= taken
    work.tell(pause=True, id="a")  # replayed: it is not heeded again
    work.tell(resume=True, id="b", by="Ana")
    assert work.ended().status == "completed"
    began, over = pauses(work.run)
    assert began["safe_state"]["ok"] and not over["paused"]
    assert over["lasted_s"] > 0.3
    commands = recorded(work.run).commands
    assert [(one.get("by"), one["told"]) for one in commands] == [
        ("Ana", {"pause": True}),
        ("Ana", {"resume": True}),
    ]
    summary = assert_left_well(capsys, work.run, "completed", acquired=12)
    assert [fault["policy"] for fault in summary["faults"]] == ["ignored"]
    # The schedule stood still: no frames were made up for. For the sample, time went on.
    frames = [taken.frame for _, taken in sorted(recorded(work.run).taken.items())]
    scheduled = frames[-1]["schedule_s"] - frames[0]["schedule_s"]
    true = frames[-1]["time_s"] - frames[0]["time_s"]
    assert scheduled < true - over["lasted_s"] + 0.05
    assert true > 0.5 + over["lasted_s"] - 0.05
    code, out, err = cli(capsys, "replay", work.run)
    assert code == 0, err + out
    code, out, _ = cli(capsys, "show", work.run)
    assert "command    pause, by Ana at now" in out


def test_a_pause_that_cannot_be_made_safe_ends_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """During a pause the lid may be opened: no laser is on."""
    stuck = faulty.device("Laser", sticks=True, armed=str(tmp_path / "stuck"))
    work = Work(tmp_path, live={"frames": 400, "interval_s": 0.05}, laser=stuck).start()
    until(lambda: work.progress.frames >= 2)
    (tmp_path / "stuck").touch()
    work.tell(pause=True)
    result = work.ended()
    assert (result.status, result.safe) == ("failed", False)
    assert "could not be made safe for a pause" in result.reason
    assert "excitation_power reads 5" in result.reason
    assert not faulty.made["Shutter"][-1].open and faulty.made["Laser"][-1].power == 0


@pytest.mark.slow
def test_a_wait_for_the_next_time_point_is_cut_short_by_a_pause_and_gives_its_light_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(tmp_path, plan="timelapse", timelapse={"frames": 3, "interval_s": 1.5}).start()
    until(lambda: work.progress.frames == 1 and entries(work.run, "shot") == 2)
    work.tell(pause=True)
    until(lambda: work.progress.paused, 1.2)
    assert entries(work.run, "void") == 1
    work.tell(stop=True, by="Ben")
    result = work.ended()
    assert (result.status, result.reason) == ("stopped", "told to stop by Ben")
    summary = assert_left_well(capsys, work.run, "stopped", acquired=1)
    assert summary["dose"]["lost_shots"] == 0
    assert entries(work.run, "void") == 1, "its light was given back twice"
    resume(capsys, work.run, 3)


@pytest.mark.slow
def test_what_is_written_while_nobody_works_does_not_stop_the_next_session(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(tmp_path, live={"frames": 30, "interval_s": 0.05}).start()
    until(lambda: work.progress.frames >= 2)
    work.tell(stop=True)
    assert work.ended().status == "stopped"
    code, _, err = cli(capsys, "tell", work.run, "stop=true")
    assert code == 2 and "no session of this run is running" in err
    work.tell(stop=True)
    result = Session(read_config(work.run), work.run / "config.yaml", work.run).run()
    assert result.status == "completed"
    assert frames_in(work.run) == list(range(30))
    refused = recorded(work.run).commands[-1]
    assert refused["refused"] == "came while no session was running"


@pytest.mark.slow
def test_commands_that_are_none_are_refused_and_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(tmp_path, plan="timelapse", timelapse={"frames": 12, "interval_s": 0.1}).start()
    until(lambda: work.progress.frames >= 1)
    lines = (
        {"pause": False},
        {"pause": "yes"},
        {"pause": True, "stop": True},
        {"stop": True, "excitation_power": 5},
        {"filter": "all"},
        {"excitation_power": 5},
    )
    with (work.run / FILE).open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines) + "{nonsense}\n")
    assert work.ended().status == "completed"
    faults = recorded(work.run).faults
    assert len(faults) == len(lines) + 1 and not pauses(work.run)
    said = "\n".join(fault["what"] for fault in faults)
    for words in (
        "line 1: `pause`: found False",
        "accepted: one of pause",
        "no filter",
        "is damaged",
    ):
        assert words in said
    assert_left_well(capsys, work.run, "completed", acquired=12)


@pytest.mark.slow
def test_live_settings_are_changed_between_frames_and_stay_within_their_range(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = Work(tmp_path, live={"frames": 25, "interval_s": 0.05}).start()
    until(lambda: work.progress.frames >= 2)
    code, _, err = cli(capsys, "tell", work.run, "depletion_power=1000000")
    assert code == 2 and "depletion_power" in err and "accepted" in err
    code, _, err = cli(capsys, "tell", work.run, "excitation_power=3")
    assert code == 0 and "before the next frame" in err
    work.tell(depletion_power=1e6)
    until(lambda: any(f["policy"] == "ignored" for f in recorded(work.run).faults))
    work.tell(excitation_power="free")
    assert work.ended().status == "completed"
    recording = recorded(work.run)
    used = [t.shot["settings"]["excitation_power"] for _, t in sorted(recording.taken.items())]
    assert used[0] == used[-1] == 5 and 3 in used
    assert {t.shot["settings"]["depletion_power"] for t in recording.taken.values()} == {100}
    assert recording.told[0]["stamps"][0]["keys"] == ["excitation_power"]
    code, out, err = cli(capsys, "replay", work.run)
    assert code == 0 and "told 2 times" in out, err
    code, out, _ = cli(capsys, "show", work.run)
    assert "excitation_power = 3.0, before frame" in out


@pytest.mark.process
@pytest.mark.slow
def test_the_filter_is_switched_off_and_on_while_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.run.opening.check_filter", lambda config, source: None)
    work = Work(
        tmp_path,
        session={"restore": Doubling()},
        live={"frames": 60, "interval_s": 0.03},
        filter={"model": "ours.safetensors"},
    ).start()
    until(lambda: (work.progress.filtered or 0) > 1)
    work.tell(filter="none")
    until(lambda: recorded(work.run).commands)
    off = work.progress.frames
    until(lambda: work.progress.frames > off + 15)
    work.tell(filter="all")
    assert work.ended().status == "completed"
    # The frame that was under way may come late.
    filtered = recorded(work.run).filtered()
    assert not any(off + 2 <= index <= off + 15 for index in filtered)
    assert any(index > off + 15 for index in filtered)


def test_a_pause_that_is_asked_for_again_while_it_ends_is_kept() -> None:
    pause = Pause()
    pause.ask()
    pause.end()
    pause.wait()
    pause.ask()
    pause.over()
    assert pause.asked
    pause.end()
    pause.over()
    assert not pause.asked
