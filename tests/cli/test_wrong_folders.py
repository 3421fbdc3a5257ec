"""Commands on folders that are no runs, broken ones, and results in the way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import faulty
from tests.faulty import cli
from tests.helpers.refused import assert_refused


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run that is complete."""
    from agent.config import load
    from agent.run import Session

    folder = tmp_path_factory.mktemp("run")
    file = faulty.write(folder / "my.yaml", faulty.config(live={"frames": 2}))
    made = folder / "run"
    made.mkdir()
    assert Session(load(file), file, made).run().status == "completed"
    return made


def arguments(command: str, folder: Path) -> list[str | Path]:
    return [command, folder, *([folder.parent / "out.ome.tif"] if command == "export" else [])]


COMMANDS = ["show", "resume", "export", "replay", "report"]


@pytest.mark.parametrize("command", COMMANDS)
def test_not_a_run_folder(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(cli(capsys, *arguments(command, tmp_path / "gone")), "gone", "no such folder")
    (tmp_path / "file").touch()
    assert_refused(cli(capsys, *arguments(command, tmp_path / "file")), "file: is a file", "folder")
    assert_refused(cli(capsys, "view", tmp_path / "file"), "file: is a file")
    empty = tmp_path / "empty"
    empty.mkdir()
    assert_refused(cli(capsys, *arguments(command, empty)), "empty", "not a run folder")
    assert list(empty.iterdir()) == [], "looking at a folder must not change it"


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("broken", ["config.yaml", "ledger.sqlite"])
def test_broken_run_folder(
    command: str, broken: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(run, tmp_path / "run")
    (folder / broken).write_bytes(b"rubbish " * 600)
    assert_refused(cli(capsys, *arguments(command, folder)), str(folder), broken)


def test_run_into_what_is_there(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(run.rglob("*"))
    file = faulty.write(tmp_path / "my.yaml", faulty.config())
    assert_refused(cli(capsys, "run", file, "--out", run), str(run), "--out", "new or empty")
    assert_refused(cli(capsys, "run", file, "--out", file), str(file), "new or empty")
    assert sorted(run.rglob("*")) == before


def test_export_into_what_is_there(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.ome.tif"
    out.write_bytes(b"mine")
    assert_refused(cli(capsys, "export", run, out), str(out), "--overwrite")
    assert out.read_bytes() == b"mine"
    png = tmp_path / "out.png"
    assert_refused(cli(capsys, "export", run, png), str(png), ".tif")


def test_export_into_a_folder_that_is_not_there(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = tmp_path / "gone" / "out.ome.tif"
    assert_refused(cli(capsys, "export", run, nowhere), str(nowhere))


# ---------------------------------------------------------------------- real processes


def in_a_process(*args: str | Path) -> tuple[int, str, str, float]:
    """The real command: exit code, stdout, stderr and processor time (s)."""
    path = os.pathsep.join([str(faulty.ROOT), os.environ.get("PYTHONPATH", "")])
    began = os.times()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "agent.cli", *map(str, args)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
        check=False,
    )
    ended = os.times()
    took = ended.children_user + ended.children_system - began.children_user - began.children_system
    return done.returncode, done.stdout, done.stderr, took


@pytest.mark.slow
def test_a_run_that_compares_no_frames_waits_for_no_library_that_does() -> None:
    code = "import sys; from agent.run import Session; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "scipy", "skimage", "skopt", "sklearn", "matplotlib", "pysted"}
    assert heavy & set(done.stdout.split()) == set()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["--help", "show", "resume", "run", "check"])
def test_answers_at_once_without_heavy_imports(command: str, run: Path, tmp_path: Path) -> None:
    config = faulty.write(tmp_path / "my.yaml", faulty.config(live={"frames": "many"}))
    target = {
        "show": [run, "--json"],
        "resume": [tmp_path / "gone"],
        "run": [config],
        "check": [config],
    }
    code, out, err, took = in_a_process(*command.split(), *target.get(command, []))
    imported = {line.rsplit("|", 1)[1].strip() for line in err.splitlines() if "|" in line}
    assert "agent.config" in imported, "importtime was not understood"
    heavy = {"torch", "pymmcore", "pymmcore_plus", "pysted", "skopt", "sklearn", "matplotlib"}
    if command == "--help":
        heavy |= {"numpy"}
    if command in ("run", "check"):
        heavy |= {"scipy", "useq", "zarr"}
    assert imported & heavy == set()
    said = [line for line in err.splitlines() if not line.startswith("import time:")]
    if command == "show" or "--help" in command:
        assert (code, said) == (0, [])
        assert out
    else:
        assert_refused((code, out, "\n".join(said)))
    # One second where there is room; cores that are shared with others take longer for the same.
    assert took < 4
