"""Runs with faulty devices: started, cut off, looked through and continued.

The devices are Python ones from `tests.faulty`, the rest is the real thing: Micro-Manager's
core and runner, the ledger, the image store and, where signals matter, the real command line
in a process of its own.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from agent.config import RunConfig, load
from agent.plan import Plan
from agent.plans.build import build_plan
from agent.record.folder import new_folder, read_config
from agent.record.images import checksum
from agent.record.ledger import DamagedLedger, Kind, Ledger
from agent.record.recording import Recording
from agent.run import Progress, Result, Session
from agent.steering.control_file import append
from agent.workers.score import Compute
from devices.microscope import Microscope
from devices.shot import Shot
from models.quality.score import Score
from tests import faulty
from tests.faulty import cli

posix = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals to a process")


def show(capsys: pytest.CaptureFixture[str], run: Path) -> dict[str, Any]:
    """What `stedfast show RUN --json` prints."""
    code, out, _ = cli(capsys, "show", run, "--json")
    assert code == 0
    summary: dict[str, Any] = json.loads(out)
    return summary


def recorded(run: Path) -> Recording:
    with closing(Ledger(run, readonly=True)) as ledger:
        return Recording.read(ledger)


def frames_in(run: Path) -> list[int]:
    """Numbers of the ledger's frames, in its order; each is on disk, pixel for pixel."""
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = list(ledger.entries("frame"))
    if rows:
        # Read as anyone would, not through the store that wrote it.
        raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
        for row in rows:
            assert row.frame is not None
            pixels = np.asarray(raw[row.frame])
            assert list(pixels.shape) == row.data["shape"]
            assert checksum(pixels) == row.data["crc32"], f"frame {row.frame} differs"
    return [row.frame for row in rows if row.frame is not None]


def assert_left_well(
    capsys: pytest.CaptureFixture[str], run: Path, status: str, *, acquired: int | None = None
) -> dict[str, Any]:
    """Status, safe state and frames of a run that is over; returns its summary."""
    summary = show(capsys, run)
    assert summary["status"] == status
    safe = summary["safe_state"]
    assert safe["ok"], safe
    # Where nothing had moved yet, nothing is stopped.
    readback = {"sequence running": {"value": False}, "XY stage moving": {"value": False}}
    readback |= safe["readback"]
    assert {name: entry["value"] for name, entry in readback.items()} == {
        "shutter open": False,
        "excitation_power": 0.0,
        "depletion_power": 0.0,
        "sequence running": False,
        "XY stage moving": False,
    }
    frames = frames_in(run)
    assert frames == list(range(len(frames))), "a frame is missing or there twice"
    assert summary["frames"]["acquired"] == len(frames)
    if acquired is not None:
        assert len(frames) == acquired
    return summary


def resume(capsys: pytest.CaptureFixture[str], run: Path, planned: int, **session: Any) -> None:
    """Continue a run, which must then complete without a missing or repeated frame."""
    before = {i: taken.frame for i, taken in recorded(run).taken.items()}
    result = Session(read_config(run), run / "config.yaml", run, **session).run()
    assert (result.status, result.safe) == ("completed", True), result.reason
    assert_left_well(capsys, run, "completed", acquired=planned)
    after = recorded(run).taken
    assert {i: after[i].frame for i in before} == before, "a stored frame was touched"
    shape = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r").shape
    assert shape == (planned, faulty.SIDE, faulty.SIDE)


@contextmanager
def started(config: Path, run: Path, module: str = "agent.cli") -> Iterator[subprocess.Popen[str]]:
    """`stedfast run` in a process of its own; its `module` may be `tests.helpers.impatient`."""
    path = os.pathsep.join([str(faulty.ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", module, "run", str(config), "--out", str(run)],
        env={name: os.environ[name] for name in os.environ if name != "PYMM_LOG_LEVEL"}
        | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def entries(run: Path, kind: Kind) -> int:
    """How many entries of a kind a ledger has, also while another process writes it."""
    if not (run / "ledger.sqlite").exists():
        return 0
    try:
        with closing(Ledger(run, readonly=True)) as ledger:
            return sum(1 for _ in ledger.entries(kind))
    except (sqlite3.OperationalError, DamagedLedger):  # its table is being made
        return 0


def checked(tmp_path: Path, **parts: Any) -> tuple[RunConfig, Path, Path]:
    """A config for faulty devices, its file, and a new run folder."""
    file = faulty.write(tmp_path / "config.yaml", faulty.config(**parts))
    config = load(file)
    return config, file, new_folder(config, tmp_path, tmp_path / "run")


def run_session(
    tmp_path: Path,
    *,
    session: dict[str, Any],
    watch: Callable[[Progress], None] = lambda progress: None,
    **parts: Any,
) -> tuple[Result, Path]:
    """A run in this process, with what the command line would not pass to its session."""
    config, file, run = checked(tmp_path, **parts)
    return Session(config, file, run, **session).run(watch), run


def mean_score(frames: list[Any]) -> list[Score]:
    """Scores that need no network."""
    return [Score(float(pixels.mean() / 4096), float(pixels.std()) / 1e5) for pixels in frames]


def numbered() -> Callable[[Any], int]:
    """Numbers frames in the order they are first seen in; their pixels tell them apart."""
    seen: dict[bytes, int] = {}
    return lambda pixels: seen.setdefault(pixels.tobytes(), len(seen))


def fails_at(number: int) -> Compute:
    """A scorer that fails whenever it is to score a certain one of its frames."""
    number_of = numbered()

    def score(frames: list[Any]) -> list[Score]:
        if number in [number_of(pixels) for pixels in frames]:
            raise ArithmeticError("the network saw a NaN")
        return mean_score(frames)

    return score


def cut_after(frames: int, error: Exception | None = None) -> Callable[[RunConfig], Plan]:
    """The config's plan, ended by an exception after some frames."""

    @wraps(build_plan)
    def plan(config: RunConfig) -> Plan:
        steps, answer, left = build_plan(config), None, frames
        while True:
            step = steps.send(answer)
            if isinstance(step, Shot):
                if left == 0:
                    raise error or RuntimeError("power cut")
                left -= 1
            answer = yield step

    return plan


def until(happens: Callable[[], Any], seconds: float = 240.0) -> None:
    """Wait for something that another thread or process does, on a busy machine for long."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.01)


def in_some_try(holds: Callable[[int], bool], tries: int = 8) -> None:
    """Try what is as quick as it should be only if no other process has the processor.

    Parameters
    ----------
    holds
        Of the try's number, from 0.
    """
    assert any(holds(number) for number in range(tries)), f"not in one of {tries} tries"


_begun: list[Work] = []


def begun() -> tuple[Work, ...]:
    """Sessions that were started, and may be at work."""
    return tuple(_begun)


def stop_begun(before: tuple[Work, ...]) -> None:
    """End the sessions that a failed test left at work: the next one needs their devices."""
    for work in [one for one in _begun if one not in before]:
        _begun.remove(work)
        if work.thread.is_alive():
            work.tell(stop=True)
            work.thread.join(40)


class Work:
    """A session in a thread, which a test watches and tells things.

    Parameters
    ----------
    tmp_path, parts
        Where the run is made, and what its config has beside faulty devices.
    session
        What the command line would not pass to the session.
    """

    def __init__(
        self, tmp_path: Path, *, session: Mapping[str, Any] | None = None, **parts: Any
    ) -> None:
        config, file, self.run = checked(tmp_path, **parts)
        self._open = ExitStack()
        self.microscope = self._open.enter_context(
            Microscope.open(config.microscope, base=tmp_path)
        )
        given = {"microscope": self.microscope, **(session or {})}
        self.session = Session(config, file, self.run, **given)
        self.thread = threading.Thread(target=self._work, daemon=True)
        self.result: Any = None

    def start(self) -> Work:
        _begun.append(self)
        self.thread.start()
        return self

    def _work(self) -> None:
        with self._open:
            self.result = self.session.run()

    @property
    def progress(self) -> Progress:
        return self.session.progress

    def tell(self, **told: Any) -> None:
        append(self.run, told)

    def ended(self) -> Any:
        self.thread.join(240)
        assert not self.thread.is_alive()
        return self.result
