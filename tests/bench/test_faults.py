"""A slice of `stedfast bench faults`, and what it counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.bench.faults import _checks
from agent.bench.faults.campaign import Case
from agent.bench.faults.strikes import KINDS
from tests.helpers.runs import posix

SLICE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from agent.bench.faults.campaign import campaign
from agent.bench.faults.plans import PLANS
from agent.bench.faults.strikes import KINDS

kinds = [kind for kind in KINDS if kind.name in sys.argv[2:]]
cases = campaign(kinds, PLANS[:1], 1, 3, Path(sys.argv[1]))
print(json.dumps([{**asdict(case), "whole": case.whole} for case in cases]))
"""


@pytest.mark.process
@pytest.mark.slow
@posix
def test_a_slice_of_the_campaign(tmp_path: Path) -> None:
    kinds = ["SIGINT ×2", "dead device", "lost terminal"]
    done = subprocess.run(
        [sys.executable, "-c", SLICE, str(tmp_path), *kinds],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "STEDFAST_STATE": str(tmp_path / "state")},
    )
    assert done.stdout, done.stderr
    cases = json.loads(done.stdout)
    assert [case["kind"] for case in cases] == kinds
    for case in cases:
        assert case["whole"] and case["safe"] and not case["lit"], case
        assert case["status"] in (0, 1, 130), case


@pytest.mark.parametrize(
    ("wrong", "check"),
    [
        ({"lit": {"excitation": "5"}}, "left lit"),
        ({"safe": False}, "not read back"),
        ({"lost": [3]}, "frames lost"),
        ({"twice": [3]}, "frames twice"),
        ({"changed": [3]}, "frames changed"),
        ({"missing": 1}, "frames missing"),
        ({"missing": -1}, "frames missing"),
        ({"ended": "failed"}, "completed by resuming"),
    ],
)
def test_what_is_wrong_is_counted(wrong: dict[str, object], check: str) -> None:
    good = {
        "kind": "SIGKILL",
        "plan": "live",
        "after": 1,
        "and_s": 0.1,
        "safe": True,
        "ended": "completed",
    }
    assert all(one.holds for one in _checks([Case(**good)], 1))  # type: ignore[arg-type]
    failed = [one.name for one in _checks([Case(**good | wrong)], 1) if not one.holds]  # type: ignore[arg-type]
    assert check in failed


def test_every_kind_has_a_name_of_its_own() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) == 15
