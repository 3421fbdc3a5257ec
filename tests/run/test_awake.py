"""The computer is kept awake while a run works, and no longer, however the run ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from agent.run.awake import _commands, _started, kept_awake
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import posix, recorded, until

INHIBIT = """#!/bin/sh
for word; do [ "$word" = "--what={refused}" ] && exit 1; done
echo "$@" >> {log}
for word; do last=$word; done
"$last"
echo over >> {log}
"""
COMMANDS = _commands
"""As they are, before `conftest` sees to it that there are none."""


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a `systemd-inhibit` that refuses to forbid all sleep was called with."""
    return installed(tmp_path, monkeypatch, "sleep:idle")


def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str) -> Path:
    """Have a `systemd-inhibit`, and the commands of a Linux system; returns what it writes."""
    log, tool = tmp_path / "inhibit.log", tmp_path / "bin" / "systemd-inhibit"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(INHIBIT.format(log=log, refused=refused), encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("agent.run.awake._commands", COMMANDS)
    return log


def lines(log: Path) -> list[str]:
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


@posix
def test_a_run_keeps_the_computer_awake(
    system: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = faulty.write(tmp_path / "c.yaml", faulty.config(live={"frames": 3}))
    run = tmp_path / "run"
    assert cli(capsys, "run", file, "--out", run)[0] == 0
    called, over = lines(system)
    assert "--what=idle cat" in called and "--mode=block" in called
    assert over == "over"
    assert recorded(run).sessions[0]["awake"] == "systemd-inhibit"
    code, out, _ = cli(capsys, "check", file)
    assert code == 0 and "by systemd-inhibit" in out


@posix
def test_where_all_sleep_may_be_forbidden_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = installed(tmp_path, monkeypatch, "nothing")
    with kept_awake() as by:
        assert by == "systemd-inhibit" and "--what=sleep:idle cat" in lines(log)[0]
        assert len(lines(log)) == 1
    assert lines(log)[1:] == ["over"]


KILLED = """
import os, signal
from agent.run.awake import kept_awake

with kept_awake() as by:
    print(by, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
@pytest.mark.process
def test_a_killed_run_lets_the_computer_sleep_again(system: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True)
    assert done.stdout.strip() == "systemd-inhibit" or sys.platform != "linux"
    until(lambda: lines(system)[-1] == "over")


@posix
def test_what_does_not_answer_keeps_nothing_awake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.run.awake._ANSWER_S", 0.1)
    monkeypatch.setattr("agent.run.awake._LET_GO_S", 0.1)
    assert _started(["sleep", "60"]) is None
    assert _started(["false"]) is None
    assert _started(["there-is-no-such-command"]) is None


def test_check_says_where_nothing_keeps_it_awake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = cli(capsys, "check", faulty.write(tmp_path / "c.yaml", faulty.config()))
    assert code == 0 and "switch the sleep of this computer off" in " ".join(out.split())
