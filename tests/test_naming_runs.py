"""How a run is named on a command line, and what is said of it at once."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from agent.session import EXIT_CODES
from tests import faulty
from tests.faulty import cli


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(faulty.ROOT))
    return faulty.write(tmp_path / "my.yaml", faulty.config(live={"frames": 2}))


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
    # A folder of that name is what it says.
    Path("last").mkdir()
    assert "last: not a run folder" in cli(capsys, "show", "last")[2]


def test_a_run_says_at_once_where_it_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = cli(capsys, "run", place)
    assert code == 0
    first, *_, last = err.splitlines()
    assert re.fullmatch(r"run: runs/[\d_-]+_live", first)
    assert last == f"stedfast show {first.removeprefix('run: ')}"


def test_a_run_that_its_budget_ends_has_a_code_of_its_own(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    budget = "dose.budget_J={depletion: 1e-5}"
    code, _, err = cli(capsys, "run", place, "--out", "run", "--set", budget)
    assert "stopped: " in err, err
    assert code == EXIT_CODES["stopped"] == 3


def test_a_run_is_gone_on_with_and_viewed(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    viewed: list[tuple[Any, ...]] = []

    class Page:
        def __init__(self, *about: Any) -> None:
            viewed.append(about)

        def links(self) -> dict[str, str]:
            return {"control": "http://here/c", "read": "http://here/r"}

    monkeypatch.setattr("agent.view.command.Beside", Page)
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
