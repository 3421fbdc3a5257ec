"""How a run through Imspector may end, whose server lives on: dark, and people may use it again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.bench.imspector.scans import lasers_of
from tests import faulty
from tests.helpers.imspector import SCOPE, Serve
from tests.helpers.runs import posix, recorded, until

DOUBLE = Path(__file__).parents[1] / "doubles" / "imspector"
pytestmark = [pytest.mark.slow, pytest.mark.process, posix]


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A config of frames of 0.1 s each, lasers on."""
    return faulty.write(
        tmp_path / "live.yaml",
        faulty.config(
            plan="live",
            live={"frames": 200},
            analysis={"score": False},
            microscope={
                **SCOPE,
                "settings": {
                    **SCOPE["settings"],
                    "dwell": {**SCOPE["settings"]["dwell"], "start": 100},
                },
            },
        ),
    )


@contextmanager
def stedfast(server: Any, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own; the server stays in this one."""
    from agent.bench.imspector.wire import served

    folders = [str(DOUBLE), str(faulty.ROOT), os.environ.get("PYTHONPATH", "")]
    with served(server) as port:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent.cli", *map(str, arguments)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(folders),
                "STEDFAST_IMSPECTOR_PORT": str(port),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def lit(server: Any) -> bool:
    """Light falls on the sample, in a scan behind the first."""
    return bool(server.scanning and server.scans > 3 and not server.dark)


def unlit(server: Any) -> bool:
    """No laser is used."""
    return not any(one["active"] and one["power"] > 0 for one in lasers_of(server.values))


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_a_signal_leaves_it_dark(tmp_path: Path, serve: Serve, live: Path, name: str) -> None:
    server = serve()
    with stedfast(server, "run", live, "--out", tmp_path / "run") as process:
        until(lambda: lit(server))
        process.send_signal(getattr(signal, f"SIG{name}"))
        _, said = process.communicate(timeout=240)
        assert process.returncode == 130, said
        assert server.dark and not server.locked and not server.scanning
    state = recorded(tmp_path / "run").safe_state
    assert state is not None and state["ok"]


def test_a_fault_leaves_it_dark(tmp_path: Path, serve: Serve, live: Path) -> None:
    server = serve(behaviours=("interlocked",))
    with stedfast(server, "run", live, "--out", tmp_path / "run") as process:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 1 and "STED_775 does not emit" in said
    # One scan in the dark, and none behind it.
    assert server.dark and not server.locked and server.scans == 1


def test_the_guard_of_a_run_that_is_killed_makes_it_dark(
    tmp_path: Path, serve: Serve, live: Path
) -> None:
    server = serve()
    guarded = ("--set", "microscope.guard=true")
    with stedfast(server, "run", live, *guarded, "--out", tmp_path / "run") as process:
        until(lambda: lit(server))
        process.kill()
        until(lambda: server.dark and not server.locked)


def test_the_command_behind_a_kill_makes_it_dark(tmp_path: Path, serve: Serve, live: Path) -> None:
    server = serve()
    with stedfast(server, "run", live, "--out", tmp_path / "run") as process:
        until(lambda: lit(server))
        process.kill()
        process.wait()
        # Nobody is left who could: a Start at the PC would light the sample.
        assert not server.dark and server.locked
    lit_at_opening = []
    start = server.start

    def watched(of: str) -> None:
        lit_at_opening.append(not unlit(server))
        start(of)

    server.start = watched
    command = ("run", live, "--set", "live.frames=1", "--out", tmp_path / "next")
    with stedfast(server, *command) as process:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    # Dark before its first scan, and at its end, which is a return.
    assert lit_at_opening == [False, True] and server.dark and not server.locked
