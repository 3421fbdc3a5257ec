"""Sleep, a clock that is set, summer time: all is noted, and no schedule changes."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.record.recording import Recording
from agent.run import Progress
from agent.run.clock import Clock, elapsed_s
from agent.run.time_watch import Clocks, TimeWatch, read_clocks
from agent.workers.notify import _news
from tests.faulty import cli
from tests.helpers.runs import assert_left_well, entries, recorded, run_session


class Computer:
    """Its clocks; a test makes it sleep, sets its clock, and moves it to another zone."""

    def __init__(self) -> None:
        self.slept = self.set = self.zone = 0.0

    def elapsed_s(self) -> float:
        return elapsed_s() + self.slept

    def clocks(self) -> Clocks:
        awake = elapsed_s()
        wall = awake + self.slept + self.set
        return Clocks(awake, awake + self.slept, wall, self.zone)


class Table:
    """Clocks that stand where a test puts them."""

    def __init__(self) -> None:
        self.now = Clocks(10, 20, 1000, 3600)

    def __call__(self) -> Clocks:
        return self.now


@pytest.mark.parametrize(
    ("then", "events"),
    [
        (Clocks(70, 80, 1060, 3600), []),
        (Clocks(70, 80, 1060.9, 3600), []),  # adjusted
        (Clocks(12, 620, 1600, 3600), [("sleep", 598)]),
        (Clocks(70, 80, 4660, 3600), [("jump", 3600)]),
        (Clocks(70, 80, -100, 3600), [("jump", -1160)]),
        (Clocks(70, 80, 1060, 7200), [("zone", 3600)]),
        (Clocks(12, 620, 5200, 7200), [("sleep", 598), ("jump", 3600), ("zone", 3600)]),
    ],
)
def test_what_happened_since_the_last_look(then: Clocks, events: list[Any]) -> None:
    table = Table()
    watch = TimeWatch(table)
    table.now = then
    assert [(one.event, pytest.approx(one.by_s)) for one in watch.look()] == events
    assert watch.look() == [], "once"


def test_this_computers_clocks_go_on() -> None:
    one, two = read_clocks(), read_clocks()
    assert two.awake >= one.awake and two.elapsed >= one.elapsed
    local = datetime.now().astimezone().utcoffset()
    assert local is not None and two.zone == local.total_seconds()


def watched(computer: Computer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the clocks of runs be those of a computer."""
    monkeypatch.setitem(Clock.__init__.__kwdefaults__, "now", computer.elapsed_s)
    monkeypatch.setattr("agent.run.supervisor.TimeWatch", lambda: TimeWatch(computer.clocks))
    monkeypatch.setattr("agent.run.time_watch._EVERY_S", 0)


def test_frames_are_on_time_after_a_sleep_and_the_microscope_was_dark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The computer sleeps through most of each wait of five minutes: the frames come on time."""
    computer = Computer()
    watched(computer, monkeypatch)
    frames = 0

    def sleeps(progress: Progress) -> None:
        nonlocal frames
        if progress.due_s is not None and progress.frames > frames:
            frames = progress.frames
            computer.slept += 299.8

    result, run = run_session(
        tmp_path, session={}, watch=sleeps, live={"frames": 4, "interval_s": 300}
    )
    assert result.status == "completed", result.reason
    assert_left_well(capsys, run, "completed", acquired=4)
    found = recorded(run)
    for at, taken in enumerate(found.taken.values()):
        assert taken.shot["at_s"] == 300 * at
        assert taken.frame["schedule_s"] == pytest.approx(300 * at, abs=20)
    assert [one["event"] for one in found.clock] == ["sleep"] * 3
    assert all(one["by_s"] == pytest.approx(299.8, abs=1) for one in found.clock)
    assert entries(run, "pause") == 6, "dark and read back behind each sleep"
    assert found.faults == []
    _, out, _ = cli(capsys, "show", run)
    assert "the computer slept for 300 s" in out


def test_a_set_clock_and_summer_time_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computer = Computer()
    watched(computer, monkeypatch)
    seen = threading.Event()

    def jumps(progress: Progress) -> None:
        if progress.frames >= 3 and not seen.is_set():
            seen.set()
            computer.set, computer.zone = -7200.0, 3600.0

    result, run = run_session(
        tmp_path, session={}, watch=jumps, live={"frames": 8, "interval_s": 0.1}
    )
    assert result.status == "completed", result.reason
    found = recorded(run)
    assert [one["event"] for one in found.clock] == ["jump", "zone"]
    assert "set back by 7200 s" in found.clock[0]["what"]
    assert entries(run, "pause") == 0
    assert all(datetime.fromisoformat(one["at"]).utcoffset() == timedelta(0) for one in found.clock)


def test_a_run_is_as_old_as_it_is_after_its_clock_was_set() -> None:
    born = datetime.now(UTC) - timedelta(hours=2)
    left = Recording(
        sessions=[{"at": (born + timedelta(days=1)).isoformat()}],
        clock=[{"event": "jump", "by_s": -86400.0}, {"event": "zone", "by_s": 3600.0}],
    )
    assert Clock.of(left, lambda: None).time_s == pytest.approx(7200, abs=30)


def test_somebody_is_told_of_a_sleep() -> None:
    data = {"event": "sleep", "by_s": 60.0, "what": "the computer slept for 60 s"}
    assert _news("clock", data)[0][-1] == data["what"]
    assert _news("clock", {**data, "event": "zone"}) == []
