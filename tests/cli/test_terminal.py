"""Names, folders and streams as people have them: what is printed, and what is said to go wrong."""

from __future__ import annotations

import io
import logging
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from agent.cli import main
from agent.cli.machine import in_words
from agent.cli.progress_bar import counting
from agent.cli.terminal import hold_anything, out, say
from agent.offline.training.epochs import shown_epochs
from devices.extras import install
from tests import faulty
from tests.faulty import cli

LONG = "run_" + "x" * 300
NAMES = ("Power [mW]", "State [/]", ":x:", "[bold]Laser", "a:smile:b")


@pytest.mark.parametrize("name", NAMES)
def test_names_are_printed_as_they_are(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = faulty.config()
    data["microscope"]["python_devices"][name] = {"class": "tests.faulty:Laser"}
    code, listed, err = cli(capsys, "devices", faulty.write(tmp_path / "my.yaml", data))
    assert code == 0, err
    assert name in listed
    out.print(name)
    say(name)
    written = capsys.readouterr()
    assert (written.out, written.err) == (f"{name}\n", f"{name}\n")


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251", "cp437", "cp932", "ascii", "utf-8"])
def test_a_stream_of_any_encoding_takes_every_line(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    hold_anything()
    print("score 0.70 − 0.02, 224 × 224 px, 3 µW … 5 µW → \u4e2d\udcff")
    sys.stdout.flush()
    written = raw.getvalue().decode(encoding)
    assert re.match(r"score 0\.70 [−－-] 0\.02, 224 [×x] 224 px, 3 [µμu]W (…|\.\.\.) 5", written)
    assert written.rstrip().endswith("?")


@pytest.mark.process
@pytest.mark.slow
def test_a_command_in_a_windows_code_page(tmp_path: Path) -> None:
    file = faulty.write(tmp_path / "my.yaml", faulty.config())
    told = subprocess.run(
        [sys.executable, "-m", "agent.cli", "check", str(file)],
        cwd=faulty.ROOT,
        env={**os.environ, "PYTHONIOENCODING": "cp1251", "PYTHONUTF8": "0"},
        capture_output=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert b" x " in told.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("run", "CONFIG", "--out", LONG),
        ("run", "CONFIG", "--out", f"{LONG}/run"),
        ("run", "CONFIG", "--out", "my.yaml/run"),
        ("run", "CONFIG", "--set", "runs=my.yaml"),
        ("run", f"{LONG}.yaml"),
        ("devices", f"{LONG}.cfg"),
        ("devices", "demo", "--write", "nowhere/my.yaml"),
        ("devices", "demo", "--write", f"{LONG}.yaml"),
        ("show", LONG),
        ("show", "[/]"),
        ("replay", "my.yaml"),
        ("study", f"{LONG}.csv"),
        ("simulate", "sessions", f"{LONG}.safetensors", "--sessions", "1"),
        ("simulate", "labels", "my.yaml", "--fields", "1"),
        ("simulate", "movies", "my.yaml/x", "--movies", "1"),
        ("train", "quality", f"{LONG}.yaml"),
        ("tell", LONG, "stop=true"),
    ],
    ids=lambda command: " ".join(command)[:40],
)
def test_a_folder_or_name_that_cannot_be_is_told_in_a_line(
    command: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = faulty.write(tmp_path / "my.yaml", faulty.config())
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(faulty.ROOT))
    code, _, err = cli(capsys, *(str(file) if part == "CONFIG" else part for part in command))
    assert code == 2, err
    *bars, line = err.splitlines()
    assert len(bars) <= 1 and "Traceback" not in err
    assert any(part.removeprefix("runs=")[:40] in line for part in command[1:])
    assert list(tmp_path.iterdir()) == [file]


def test_what_the_machine_refuses_has_words_and_a_code() -> None:
    for error, said, code in (
        (FileNotFoundError(2, "No such file or directory", "a/b"), "a/b: No such file", 2),
        (OSError(28, "No space left on device", "a"), "a: No space left on device", 1),
        (OSError(28, "No space left on device"), "No space left on device", 1),
        (sqlite3.OperationalError("database or disk is full"), "disk is full", 1),
        (MemoryError(), "not enough memory", 1),
    ):
        line, left = in_words(error)
        assert said in line and left == code


@pytest.mark.parametrize("extra", ["view", "botorch", "virtual", "bench"])
def test_a_hint_names_packages_that_an_index_has(extra: str) -> None:
    hint = install(extra)
    assert hint.startswith("python -m pip install ")
    assert "stedfast" not in hint
    assert re.search(r'"[a-z-]+>=', hint), hint


@pytest.mark.slow
def test_the_simulator_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in [name for name in sys.modules if name.startswith("devices.virtual")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pysted", None)
    code, _, err = cli(capsys, "check", faulty.ROOT / "configs" / "optimize.yaml")
    assert code == 2
    assert "`microscope.virtual_sted`" in err and 'pip install "' in err and "pysted" in err


def test_a_file_that_output_goes_to_gets_lines_and_no_bars() -> None:
    said = io.StringIO()
    console = Console(file=said)
    with counting(console) as count, shown_epochs(console) as show:
        count(1, 3)  # and then it was interrupted
        show(1, 8, {"train_rmse": 0.25})
    assert said.getvalue() == "epoch 1 of at most 8  train_rmse 0.2500\n"


def test_a_device_that_does_not_come_up_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Micro-Manager's Python side tells of it as well, with a traceback, if nobody listens."""
    monkeypatch.setattr(logging.root, "handlers", [])
    config = faulty.config()
    config["microscope"]["python_devices"]["Late"] = faulty.device("DeadLaser")
    code, _, err = cli(capsys, "check", faulty.write(tmp_path / "c.yaml", config))
    assert (code, len(err.splitlines())) == (2, 1), err
    assert "did not come up: laser not connected" in err


def test_an_output_that_was_closed_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has none then, as under some services; the exit code is that of the command."""
    monkeypatch.setattr("sys.argv", ["stedfast", "--version"])
    monkeypatch.setattr("sys.stderr", None)
    monkeypatch.setattr("agent.run.signals._last", False)
    monkeypatch.setattr("agent.cli.hanging", lambda: False)
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
