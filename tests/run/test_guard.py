"""A run's process that dies leaves no light on: its guard makes the microscope dark.

The devices stay lit when they are let go of, as hardware does (`agent.bench.lit`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from agent.bench.lit import commands, left_lit
from agent.bench.lit import config as lit_config
from agent.bench.sink import sink
from agent.config import load
from agent.record.folder import read_config
from agent.run import Session
from agent.run.guard import Guard, guarded, needed
from agent.run.guard_process import BEAT, OVER, REST, RUN, Watched, record
from agent.run.signals import Interrupts
from devices.occupied import occupy
from tests.faulty import cli
from tests.helpers.runs import entries, frames_in, posix, recorded, started, until

FRAMES = 60


@pytest.fixture
def lit(tmp_path: Path) -> tuple[Path, Path]:
    """A config whose devices stay lit, and what they write."""
    log = tmp_path / "devices.log"
    file = tmp_path / "config.yaml"
    data = lit_config(log, frames=FRAMES, interval_s=0.05, guard=True)
    file.write_text(yaml.safe_dump(data), encoding="utf-8")
    return file, log


def is_free(file: Path) -> bool:
    """Whether nobody has the microscope any more."""
    try:
        occupy(load(file).microscope, file.parent).close()
    except ValueError:
        return False
    return True


def ended(guard: Guard) -> bool:
    return guard._process.poll() is not None


def killed(file: Path, run: Path, how: signal.Signals) -> str:
    """Start a run, send it a signal while it is lit; what it and its guard said."""
    with started(file, run) as process:
        until(lambda: entries(run, "frame") >= 3)
        process.send_signal(how)
        process.wait()
        # The guard has the other end of its output, until it is done.
        return process.communicate()[1]


@posix
@pytest.mark.slow
@pytest.mark.process
def test_a_killed_run_is_dark_and_says_so(
    lit: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, log = lit
    run = tmp_path / "run"
    with sink() as got:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        config["notify"] = {"to": [got.address]}
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        said = killed(file, run, signal.SIGKILL)
    assert left_lit(log) == {}
    assert [title for title, _ in got.messages] == ["run: failed"]
    assert "made dark and read back" in got.messages[0][1]
    assert "killed or crashed" in said and "made dark and read back" in said
    ended = recorded(run)
    assert ended.end is not None and ended.end["status"] == "failed"
    assert ended.safe_state is not None and ended.safe_state["ok"]
    assert [fault["part"] for fault in ended.faults] == ["guard"]
    taken = frames_in(run)
    assert 3 <= len(taken) < FRAMES
    code, out, _ = cli(capsys, "show", run)
    assert code == 0 and "made dark and read back" in out.replace("\n", " ")

    again = read_config(run).model_copy(update={"notify": None})
    result = Session(again, run / "config.yaml", run).run()
    assert result.status == "completed", result.reason
    assert frames_in(run) == list(range(FRAMES))


HANGS = """
import sys
from pathlib import Path
from agent.config import load
from agent.run import Session
from agent.run.guard import Guard

file, run = map(Path, sys.argv[1:])
config = load(file)
run.mkdir()
guard = Guard(config.microscope, file.parent, hung_s=2)
Session(config, file, run, guard=guard).run()
"""


@posix
@pytest.mark.slow
@pytest.mark.process
def test_a_process_that_stands_still_is_ended(lit: tuple[Path, Path], tmp_path: Path) -> None:
    file, log = lit
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", HANGS, str(file), str(run)], stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: entries(run, "frame") >= 3)
        process.send_signal(signal.SIGSTOP)
        said = process.communicate()[1]
    finally:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert left_lit(log) == {}
    assert "no sign of life for 2 s" in said
    assert "no sign of life" in str(recorded(run).end)


@posix
@pytest.mark.slow
@pytest.mark.process
def test_a_guard_that_dies_is_replaced(lit: tuple[Path, Path], tmp_path: Path) -> None:
    file, log = lit
    run = tmp_path / "run"
    run.mkdir()
    checked = load(file, ["live.frames=20"])
    guard = Guard(checked.microscope, file.parent)
    first = guard.pid

    def kill_it(progress: object) -> None:
        if guard.pid == first:
            os.kill(first, signal.SIGKILL)

    try:
        result = Session(checked, file, run, guard=guard).run(kill_it)
        assert result.status == "completed", result.reason
        assert guard.pid != first
        assert ended(guard), "it does not know that the microscope was let go of"
        assert "guard's process ended (-9); there is another one" in recorded(run).faults[0]["what"]
    finally:
        guard.end()
    last = commands(log)[-1]
    assert left_lit(log) == {} and is_free(file)
    assert commands(log)[-1] == last, "the guard touched a device after the end"


@posix
@pytest.mark.process
def test_nobody_waits_for_a_guard_that_stands_still(lit: tuple[Path, Path]) -> None:
    file, log = lit
    guard = Guard(load(file).microscope, file.parent)
    os.kill(guard.pid, signal.SIGSTOP)
    for _ in range(50_000):  # more than a pipe holds
        with guard.resting():
            pass
    guard.end()
    assert commands(log) == []
    with pytest.raises(ProcessLookupError):
        os.kill(guard.pid, 0)


@posix
@pytest.mark.slow
@pytest.mark.process
def test_an_end_in_order_needs_no_guard(lit: tuple[Path, Path], tmp_path: Path) -> None:
    file, log = lit
    run = tmp_path / "run"
    said = killed(file, run, signal.SIGINT)
    assert "guard" not in said and "killed" not in said
    assert recorded(run).faults == [] and left_lit(log) == {}
    assert str(recorded(run).end).count("interrupted") == 1


CHATTY = """
from agent.bench.lit import LitLaser

class Chatty(LitLaser):
    def initialize(self):
        print("laser: hello", flush=True)
        super().initialize()
"""


@posix
@pytest.mark.slow
@pytest.mark.process
def test_where_it_was_started_and_what_devices_print_is_no_matter(
    lit: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files beside a config may have the names of this package's parts; nobody reads any more."""
    file, log = lit
    for name in ("devices", "queue"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong one')\n")
    (tmp_path / "my_laser.py").write_text(CHATTY, encoding="utf-8")
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    config["microscope"]["python_devices"]["Excitation"]["class"] = "my_laser:Chatty"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    checked = load(file)
    log.write_text("1.0 excitation 5\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    guard = Guard(checked.microscope, Path())
    try:
        guard.ready()
        process = guard._process
        assert process.stdin is not None and process.stdout is not None
        guard._over.set()
        guard._beats.join()
        process.stdout.close()
        process.stdin.close()  # as the system does when this process dies
        assert process.wait(40) == 0
    finally:
        guard.end()
    assert left_lit(log) == {} and len(commands(log)) > 1


def test_no_sign_of_life_while_it_rests(
    lit: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that came between the word and the rest would make it a hang."""
    heard: list[bytes] = []
    pipe = SimpleNamespace(write=heard.append, flush=int, close=int)
    process = SimpleNamespace(stdin=pipe, stdout=None, wait=lambda *_: 0, kill=int)
    monkeypatch.setattr("agent.run.guard._BEAT_S", 0.001)
    monkeypatch.setattr(Guard, "_start", lambda self: process)
    guard = Guard(load(lit[0]).microscope, Path())
    with guard.resting():
        until(lambda: heard[-1:] == [REST + b"\n"])
        before = list(heard)
        threading.Event().wait(0.05)  # as long as fifty signs of life take
        assert heard == before
    until(lambda: heard[-1] == BEAT + b"\n")
    guard.end()
    assert heard[-1] == OVER + b"\n"


def test_a_device_that_hangs_is_left_to_the_guard(
    lit: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be reached again once this process is gone, which is a matter of moments then."""
    said: list[str] = []
    guard = SimpleNamespace(resting=nullcontext, end=lambda: said.append("over"))
    monkeypatch.setattr("agent.run.guard.Guard", lambda *_, **__: guard)
    config = load(lit[0])
    for hangs in (True, False):
        monkeypatch.setattr("agent.run.guard.hanging", lambda hangs=hangs: hangs)
        with guarded(config, lit[0], Interrupts()):
            pass
        assert said == ([] if hangs else ["over"])


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    record(tmp_path / "gone", None, "killed")
    assert not (tmp_path / "gone").exists()


def test_words_of_a_process() -> None:
    watched = Watched(hung_s=1.0)
    silence = [watched.hear(None) for _ in range(4)]
    assert silence == [""] * 4, "a second without a word is allowed"
    assert watched.hear(BEAT) == ""
    assert [watched.hear(None) for _ in range(5)] == [""] * 4 + ["hung"]
    watched = Watched(hung_s=1.0)
    assert watched.hear(REST) == ""
    assert {watched.hear(None) for _ in range(100)} == {""}, "it stands still on purpose"
    assert watched.hear(BEAT) == ""
    assert [watched.hear(None) for _ in range(5)][-1] == "hung"
    watched = Watched(hung_s=1.0)
    assert watched.hear(RUN + b"/a/run") == "" and watched.run == Path("/a/run")
    assert watched.hear(b"") == "died"
    assert watched.hear(OVER) == "over"


@pytest.mark.parametrize(
    ("lines", "guards"),
    [
        ([], True),
        (["microscope.guard=false"], False),
        # Nothing in it has a safe value: there is no light that it could switch off.
        (["microscope.settings={}", "microscope.shutter=none"], False),
    ],
)
def test_who_has_a_guard(lit: tuple[Path, Path], lines: list[str], guards: bool) -> None:
    assert needed(load(lit[0], lines).microscope) == guards


def test_simulated_devices_end_with_the_process() -> None:
    assert not needed(load(Path("configs/optimize.yaml")).microscope)


# ---------------------------------------------------------------------- by hand


@pytest.fixture
def lit_now(lit: tuple[Path, Path]) -> Iterator[tuple[Path, Path]]:
    file, log = lit
    log.write_text("1.0 excitation 5\n1.0 shutter open\n", encoding="utf-8")
    yield file, log


def test_by_hand(lit_now: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    file, log = lit_now
    code, out, err = cli(capsys, "safe", file)
    assert code == 0, err
    assert left_lit(log) == {}
    assert "excitation_power" in out and "0.0" in out and f"{file}: dark" in " ".join(err.split())


OFF = """
from agent.bench import lit

class Camera(lit.Camera):
    def initialize(self):
        raise RuntimeError("the camera is off")
"""


def test_a_camera_that_is_off_leaves_no_laser_lit(
    lit_now: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, log = lit_now
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    devices = config["microscope"]["python_devices"]
    (file.parent / "camera_that_is_off.py").write_text(OFF, encoding="utf-8")
    off = {"class": "camera_that_is_off:Camera"}
    others = {name: one for name, one in devices.items() if name != "Camera"}
    config["microscope"]["python_devices"] = {"Camera": off, **others}
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    code, _, err = cli(capsys, "safe", file)
    said = " ".join(err.split())
    assert code == 2 and "the camera is off" in said and "what came up is dark" in said
    assert left_lit(log) == {}


def test_not_while_a_run_has_it(
    lit_now: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, log = lit_now
    with occupy(load(file).microscope, file.parent):
        code, _, err = cli(capsys, "safe", file)
    assert code == 2 and "is in use by process" in " ".join(err.split())
    assert len(commands(log)) == 2, "a device was touched"
