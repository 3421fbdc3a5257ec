"""A run ends before its disk is full, and goes on when there is room again."""

from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from agent.record.planned import PlannedFrames
from agent.run.progress import Progress
from agent.run.space import ROOM_S, OutOfRoom, Space
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import assert_left_well, resume

FRAME = {"shape": [1000, 500], "dtype": "uint16"}
"""A frame of 1 MB."""
MB = 1_000_000
Usage = namedtuple("Usage", "total used free")


class Disk:
    """A disk, a clock, and the frames that fill it."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, free_mb: float, planned: int | None
    ) -> None:
        self.free, self.s = free_mb * MB, 0.0
        monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, int(self.free)))
        self.progress = Progress("live", PlannedFrames(planned, 0))
        self.space = Space(self.progress, now=lambda: self.s)

    def take(self, frames: int, seconds: float = 1.0) -> OutOfRoom | None:
        """Take frames of 1 MB, one in so many seconds, until the run is to stop."""
        for _ in range(frames):
            self.space.hear("frame", FRAME)
            self.progress.take("frame", FRAME)
            self.free -= MB
            self.s += seconds
            if (why := self.space.look(Path("/run"))) is not None:
                return why
        return None


def test_two_minutes_of_room_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, 1000, None)
    why = disk.take(1000)
    assert why is not None and "`stedfast resume /run` goes on" in str(why)
    assert ROOM_S <= disk.free / MB <= ROOM_S + 15


def test_a_fast_camera_is_stopped_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """500 MB/s, and 20 GB left: the two minutes are over when it begins."""
    disk = Disk(monkeypatch, 20_000, None)
    assert disk.take(5000, 0.002) is not None
    assert disk.free > 15_000 * MB


def test_a_burst_that_the_rest_of_the_run_cannot_fill_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A time point of 100 MB in a second; three of them are to come, and 500 MB are left."""
    disk = Disk(monkeypatch, 600, 400)
    for _ in range(4):
        assert disk.take(100, 0.01) is None
        disk.s += 600


def test_others_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, 2000, 1000)
    assert disk.take(200) is None
    for _ in range(2000):
        disk.free -= 4 * MB
        if disk.take(1) is not None:
            break
    # What they took in the last two minutes is still there.
    assert 4 * ROOM_S * MB < disk.free < 6.2 * ROOM_S * MB


def test_a_disk_that_nobody_can_ask_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, 0, None)

    def fails(place: Path) -> Any:
        raise OSError("stale handle")

    monkeypatch.setattr(shutil, "disk_usage", fails)
    assert disk.take(5) is None


@pytest.mark.slow
def test_a_run_stops_safely_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, free, seen = tmp_path / "run", [10**12], threading.Event()
    file = faulty.write(tmp_path / "c.yaml", faulty.config())
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, free[0]))
    monkeypatch.setattr("agent.run.space._EVERY_S", 0)

    class Filling(Space):
        def hear(self, kind: str, data: dict[str, Any]) -> None:
            super().hear(kind, data)
            if kind == "frame" and self._taken == 6:
                free[0] = 1000
                assert seen.wait(40)

        def look(self, folder: Path) -> OutOfRoom | None:
            if (why := super().look(folder)) is not None:
                seen.set()
            return why

    with monkeypatch.context() as patch:
        patch.setattr("agent.run.attendants.Space", Filling)
        code, _, err = cli(capsys, "run", file, "--out", run)
    assert code == 3
    assert "disk: 41.0 kB, 1000.0 GB are free" in err
    assert "stopped: the disk of" in err and f"`stedfast resume {run}` goes on" in err
    acquired = assert_left_well(capsys, run, "stopped")["frames"]["acquired"]
    assert 6 <= acquired < 20

    assert cli(capsys, "resume", run)[0] == 3, "there is no room yet"
    assert_left_well(capsys, run, "stopped", acquired=acquired)
    free[0] = 10**12
    resume(capsys, run, 20)


def test_a_run_that_does_not_fit_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = faulty.write(tmp_path / "c.yaml", faulty.config())
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(0, 0, 20_000))
    run = tmp_path / "run"
    code, _, err = cli(capsys, "run", file, "--out", run)
    assert code == 2 and "needs 41.0 kB" in err and "20.0 kB left" in err
    assert not run.exists()
