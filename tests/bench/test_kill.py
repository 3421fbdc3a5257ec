"""SIGKILL, as by a power cut: what the ledger says is on disk, and the run can be completed.

Two kills here; `stedfast bench kill` does twenty.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.bench.kill import run


@pytest.mark.slow
def test_killed_runs_lose_nothing(tmp_path: Path) -> None:
    kills = run(2, 1, tmp_path)
    assert len(kills) == 2
    assert max(kill["frames"] for kill in kills) > 0, "every kill came before the first frame"
    for kill in kills:
        assert kill["unreadable"] == kill["twice"] == kill["lost"] == []
        assert (kill["completed"], kill["exit"]) == (True, 0)
        assert kill["missing"] == kill["changed"] == []
        assert kill["unreadable_at_end"] == kill["twice_at_end"] == []
        # A quick machine ends the live view before its second kill; an optimization gets that one.
        assert kill["total"] == {"live": 240, "optimize": 102}[kill["plan"]]
