"""Damaged files end in words; and `bench fuzz` sees where one does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.bench.fuzz import originals, summed_up, watched
from agent.bench.fuzz.child import outcome_of
from agent.bench.fuzz.kinds import KINDS
from agent.bench.fuzz.watched import Ended, go_through
from agent.config.reading import UserError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Originals, but for what takes a virtual microscope to make."""
    folder = tmp_path_factory.mktemp("fuzz") / "originals"
    originals.make(folder, runs=False)
    return folder


SLICE = {"configs": 30, "images": 8, "zarrs": 6, "weights": 6, "tables": 30, "ledgers": 12}


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_damaged_file_is_read_or_refused_in_words(kind: str, place: Path, tmp_path: Path) -> None:
    outcomes = []
    for number in range(SLICE.get(kind, 20)):
        rng = np.random.default_rng([7, number])
        folder = tmp_path / str(number)
        folder.mkdir()
        found = outcome_of(KINDS[kind].prepare(folder, place, rng, number > 0))
        assert found["outcome"] in ("done", "refused"), (number, found)
        outcomes.append(found["outcome"])
    assert outcomes[0] == "done", "the original is not read"


def raises(error: BaseException) -> Any:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (UserError("wrong"), "refused"),
        (FileNotFoundError(2, "No such file"), "refused"),
        (SystemExit(2), "refused"),
        (SystemExit(0), "done"),
        (KeyError("x"), "traceback"),
        (RecursionError(), "traceback"),
        (AssertionError(), "traceback"),
        (MemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory"),
    ],
)
def test_outcomes(error: BaseException, outcome: str) -> None:
    assert outcome_of(raises(error))["outcome"] == outcome


# Says which case it is at; 2 hangs, 4 ends the process, 5 is a traceback.
CHILD = """
import json, os, sys, time
_, _, _, first, end, _ = sys.argv[1:]
print(json.dumps({"ready": True}), flush=True)
for case in range(int(first), int(end)):
    print(json.dumps({"begun": case}), flush=True)
    if case == 2:
        time.sleep(600)
    if case == 4:
        os._exit(9)
    outcome = "traceback" if case == 5 else "done"
    print(json.dumps({"case": case, "outcome": outcome, "where": "here"}), flush=True)
"""


def test_a_child_that_hangs_or_dies_is_followed_by_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "HANGS_S", 3.0)
    script = tmp_path / "child.py"
    script.write_text(CHILD, encoding="utf-8")
    ended = list(go_through(tmp_path, {"configs": 7}, 1, (str(script),)))
    assert [(one.case, one.outcome) for one in ended] == [
        *((0, "done"), (1, "done"), (2, "hang"), (3, "done"), (4, "died")),
        *((5, "traceback"), (6, "done")),
    ]
    measured = summed_up(ended, (1,))
    assert [check.holds for check in measured.checks] == [False, False, True]
    assert {found["case"] for found in measured.raw["found"]} == {2, 4, 5}
    json.dumps(measured.raw)
    assert all(check.holds for check in summed_up([Ended("configs", 0, "refused")], (1,)).checks)


@pytest.mark.slow
def test_a_child_goes_through_its_batch(place: Path) -> None:
    ended = list(go_through(place, {"tables": 5}, 3))
    assert [one.case for one in ended] == list(range(5))
    assert all(one.outcome in ("done", "refused") for one in ended)
