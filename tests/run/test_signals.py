"""Signals beside Ctrl-C: each leaves the light off, and what is ignored stays ignored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent.bench import lit
from agent.config import RunConfig
from agent.plan import Plan
from agent.record.folder import new_folder
from agent.record.ledger import Ledger
from agent.run import Progress, Result, Session
from agent.run.heartbeat import Heartbeat
from agent.run.signals import Interrupts, interrupts
from devices.shot import Field, Shot
from tests import faulty
from tests.helpers.runs import posix, until

STOPS = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


def raised(*names: str) -> Interrupts:
    with interrupts() as seen:
        for name in names:
            signal.raise_signal(getattr(signal, name))
        return seen


@posix
@pytest.mark.parametrize("name", STOPS)
def test_what_would_end_the_process_asks_it_to_stop(name: str) -> None:
    seen = raised(name)
    assert (seen.count, seen.name, seen.asked, seen.now) == (1, name, True, False)


@posix
def test_quit_stops_now() -> None:
    assert raised("SIGQUIT").now


@posix
def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert raised("SIGHUP").count == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_one_collection_within_another() -> None:
    with interrupts() as seen:
        signal.raise_signal(signal.SIGINT)
        with interrupts() as same:
            assert same is seen
        signal.raise_signal(signal.SIGINT)
        assert seen.now


def session(tmp_path: Path, interval_s: float = 0.0) -> tuple[Session, Path, Path]:
    """A run of devices that are lit when they are loaded: session, folder, their log."""
    log = tmp_path / "log"
    config = RunConfig.model_validate(lit.config(log, frames=6, interval_s=interval_s))
    run = new_folder(config, tmp_path, tmp_path / "run")
    return Session(config, tmp_path / "c.yaml", run, scorer=lambda frames: []), run, log


def ended(run: Path) -> list[str]:
    ledger = Ledger(run, readonly=True)
    try:
        return [entry.data["what"] for entry in ledger.entries("fault")]
    finally:
        ledger.close()


@pytest.mark.parametrize("error", [BrokenPipeError(), SystemExit(1), KeyError("x")])
def test_what_only_watches_cannot_end_a_run(error: BaseException, tmp_path: Path) -> None:
    calls = 0

    def watch(progress: Progress) -> None:
        nonlocal calls
        calls += 1
        raise error

    work, run, log = session(tmp_path)
    result = work.run(watch)
    assert (result.status, result.reason) == ("completed", "finished")
    assert calls == 1, "it was asked again"
    assert any("shown no longer" in what for what in ended(run))
    assert lit.left_lit(log) == {}


def test_what_goes_wrong_while_watching_over_a_run_is_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, run, log = session(tmp_path)
    monkeypatch.setattr(Heartbeat, "beat", lambda self, status: 1 / (status != "running"))
    result = work.run()
    assert (result.status, result.safe) == ("failed", True)
    assert "ZeroDivisionError" in result.reason
    assert any("ZeroDivisionError" in what for what in ended(run))
    assert lit.left_lit(log) == {}


def test_no_light_begins_after_a_signal(tmp_path: Path) -> None:
    """The signal comes when everything is open and nothing is lit yet."""
    work, _, log = session(tmp_path)
    with interrupts():
        plan = work._make_plan

        def make_plan(config: RunConfig) -> object:
            signal.raise_signal(signal.SIGINT)
            return plan(config)

        work._make_plan = make_plan  # type: ignore[assignment]
        result = work.run()
    assert result.status == "interrupted"
    assert lit.switched_on(log) == []
    assert lit.left_lit(log) == {}


@pytest.mark.slow
def test_a_run_that_ends_before_it_begins_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The signal comes while the processes beside it start."""

    @contextmanager
    def start(*args: object, **more: object) -> Iterator[None]:
        signal.raise_signal(signal.SIGINT)
        yield

    monkeypatch.setattr("agent.run.session.processes", start)
    log = tmp_path / "log"
    file = faulty.write(tmp_path / "c.yaml", lit.config(log))
    mine = tmp_path / "mine"
    mine.mkdir()
    for folder in (tmp_path / "run", mine):
        code, _, err = faulty.cli(capsys, "run", file, "--out", folder)
        assert code == 130, err
        assert lit.left_lit(log) == {}
    assert not (tmp_path / "run").exists()
    assert list(mine.iterdir()) == []


@posix
@pytest.mark.parametrize("names", [["SIGINT"], ["SIGINT", "SIGTERM"]])
def test_the_stage_is_sent_nowhere_after_a_signal(names: list[str], tmp_path: Path) -> None:
    """They come while a plan computes where to go next, and the run continues at once."""
    work, run, log = session(tmp_path)
    asked = []

    def far(config: RunConfig) -> Plan:
        yield Shot.sted(Field(0, 0.0, 0.0), {})
        with interrupts() as seen:
            for name in names:
                signal.raise_signal(getattr(signal, name))
            until(lambda: seen.count == len(names))
        asked.append(time.monotonic())
        yield Shot.sted(Field(1, 500.0, 500.0), {})

    work._make_plan = far
    result = work.run()
    assert (result.status, result.safe) == ("interrupted", True), result.reason
    assert lit.switched_on(log, after=asked[0]) == []
    assert [each.value for each in lit.commands(log) if each.device == "stage"] == ["at"]
    assert lit.left_lit(log) == {}
    with closing(Ledger(run, readonly=True)) as ledger:
        (safe,) = ledger.entries("safe_state")
    assert safe.data["readback"]["XY stage moving"] == {
        "expected": False,
        "value": False,
        "ok": True,
    }


@posix
def test_suspended_in_the_dark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-Z stops the process when everything is safe; then the run continues where it was."""
    asleep: list[dict[str, str]] = []
    work, _, log = session(tmp_path, interval_s=0.2)

    def suspend(seen: Interrupts) -> None:
        seen.suspended = False
        asleep.append(lit.left_lit(log))

    def watch(progress: Progress) -> None:
        if progress.frames >= 2 and not asleep:
            signal.raise_signal(signal.SIGTSTP)

    monkeypatch.setattr(Interrupts, "suspend", suspend)
    result: Result = work.run(watch)
    assert result.status == "completed"
    assert asleep == [{}]


@pytest.mark.process
@pytest.mark.slow
@posix
def test_a_storm_of_signals() -> None:
    """A slice of `stedfast bench storm`, started as `nohup … &` does: its runs hear all signals."""

    def deaf() -> None:
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "bench", "storm", "--seeds", "7", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=deaf,
    )
    assert done.stdout, done.stderr
    measured = json.loads(done.stdout)
    failed = [check["name"] for check in measured["checks"] if not check["holds"]]
    bad = [case for case in measured["raw"]["cases"] if case["said"]]
    assert not failed, bad
    assert done.returncode == 0, done.stderr
