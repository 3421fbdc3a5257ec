"""How a run is named on a command line, and what is said of it at once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, cast

import pytest
from typer.main import get_command

from agent.bench import _BENCHES
from agent.bench.measurement import Check, Measurement
from agent.cli import app
from agent.plan import KEYS
from agent.run import EXIT_CODES
from agent.steering.control_file import COMMANDS
from tests import faulty
from tests.faulty import cli


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(faulty.ROOT))
    return faulty.write(tmp_path / "my.yaml", faulty.config(live={"frames": 2}))


@pytest.mark.slow
def test_last_is_the_newest_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = cli(capsys, "show", "last")
    assert code == 2 and "last: there is no run in" in err
    for name in ("b", "a"):
        assert cli(capsys, "run", place, "--out", f"runs/{name}")[0] == 0
    os.utime("runs/b/config.yaml", (1e9, 1e9))
    for command in (("show",), ("report",), ("replay",), ("resume",)):
        code, _, err = cli(capsys, *command, "last")
        assert code == 0, err
    assert "runs/a" in err and "runs/b" not in err
    code, _, err = cli(capsys, "export", "last", "out.ome.tif")
    assert (code, err) == (0, "out.ome.tif: 2 frames\n")
    code, _, err = cli(capsys, "reconstruct", "last", "twice.tif")
    assert code == 0, err
    # A folder of that name is what it says.
    Path("last").mkdir()
    assert "last: not a run folder" in cli(capsys, "show", "last")[2]


@pytest.mark.slow
def test_a_run_says_at_once_where_it_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = cli(capsys, "run", place)
    assert code == 0
    first, disk, *_, last = err.splitlines()
    assert disk.startswith("disk: ")
    assert re.fullmatch(r"run: runs/[\d_-]+_live", first)
    assert last == f"stedfast show {first.removeprefix('run: ')}"


def test_a_run_that_its_budget_ends_has_a_code_of_its_own(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = "dose.budget_J={depletion: 1e-5}"
    code, _, err = cli(capsys, "run", place, "--out", "run", "--set", budget)
    assert "stopped: " in err, err
    assert code == EXIT_CODES["stopped"] == 3


@pytest.mark.slow
def test_a_run_is_gone_on_with_and_viewed(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewed: list[tuple[Any, ...]] = []

    class Page:
        def __init__(self, *about: Any) -> None:
            viewed.append(about)

        def links(self) -> dict[str, str]:
            return {"control": "http://here/c", "read": "http://here/r"}

    monkeypatch.setattr("agent.ui.view.serve.ViewProcess", Page)
    data = faulty.config(live={"frames": 3})
    flag = place.parent / "fails"
    flag.touch()
    options = {"fail_at": 1, "armed": str(flag)}
    data["microscope"]["python_devices"]["Camera"]["options"] = options
    assert cli(capsys, "run", faulty.write(place, data), "--out", "run")[0] == 1
    flag.unlink()
    code, _, err = cli(capsys, "resume", "run", "--view", "--no-open", "--port", "0")
    assert code == 0, err
    assert viewed[0][0] == Path("run") and "view: http://here/c" in err and "3 of 3" not in err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = cli(capsys, "--version")
    assert code == 0 and re.match(r"stedfast \d+\.\d+", out)


@pytest.mark.parametrize(
    ("command", "words"),
    [("bench", tuple(_BENCHES)), ("tell", ("a setting", *KEYS, *COMMANDS))],
)
def test_help_names_all_that_is_accepted(command: str, words: tuple[str, ...]) -> None:
    params = cast(Any, get_command(app)).commands[command].params
    told = [param.help for param in params if param.param_type_name == "argument"][-1]
    listed = re.split(r", | or ", told.split(";")[0])
    assert sorted(listed) == sorted(words)


@pytest.mark.parametrize("command", ["filter", "reconstruct"])
def test_what_is_refused_before_any_work_shows_no_bar(
    command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = cli(capsys, command, "none.tif", "out.tif", "--model", "flow")
    assert code == 2 and len(err.splitlines()) == 1, err


@pytest.mark.parametrize("name", ["gpu", "storm", "fuzz", "guard", "kill", "long"])
def test_a_bench_that_checks_has_the_code_of_its_checks(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for left, code in ((0, 0), (1, 1)):
        measured = Measurement(("runs",), [(1,)], [Check("lost", left, "<=", 0)])
        monkeypatch.setattr(f"agent.bench.{name}.measure", lambda found=measured, **_: found)
        assert cli(capsys, "bench", name)[0] == code
