"""What decides in a run is checked when it is continued: its plan, weights and priors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.config import RunConfig, load
from agent.config.reading import UserError
from agent.plan import Plan
from agent.record.folder import new_folder, read_config
from agent.run import Session, opening
from agent.run.replay import replay
from devices.shot import Shot
from tests import faulty
from tests.doubles.restorers import Doubling
from tests.faulty import cli
from tests.helpers.runs import cut_after, mean_score, recorded, run_session
from tests.helpers.searches import config_data_of_a_run


def my_plan(cut: int | None = None) -> Callable[[RunConfig], Plan]:
    """A plan of its own: six frames, or an end by an exception."""

    def plan(config: RunConfig) -> Plan:
        for number in range(6):
            if number == cut:
                raise RuntimeError("power cut")
            yield Shot.sted(None, {"depletion_power": 10.0 * number})

    return plan


def light_of(run: Path) -> int:
    return len(recorded(run).taken) + len(recorded(run).lost)


@pytest.mark.slow
def test_a_plan_of_one_s_own_is_not_continued_as_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = run_session(tmp_path, session={"make_plan": my_plan(3)})
    assert result.status == "failed" and light_of(run) == 3
    for command in ("resume", "replay"):
        code, _, err = cli(capsys, command, run)
        assert code == 2 and "tests.run.test_origins:my_plan" in err and "make_plan" in err, err
    assert light_of(run) == 3, "light that nobody asked for"
    assert len(recorded(run).sessions) == 1

    again = Session(read_config(run), run / "config.yaml", run, make_plan=my_plan())
    assert again.run().status == "completed"
    assert light_of(run) == 6
    assert replay(run, my_plan()).difference is None


class Other(Doubling):
    """A filter of other weights."""

    def weights_hash(self) -> str:
        return "f" * 64


@pytest.mark.process
@pytest.mark.slow
def test_other_weights_are_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "check_filter", lambda config, source: None)
    session = {"make_plan": cut_after(3), "restore": Doubling()}
    asked = {"model": "ours.safetensors"}
    result, run = run_session(tmp_path, session=session, live={"frames": 6}, filter=asked)
    assert result.status == "failed"

    def again(**options: Any) -> Any:
        return Session(read_config(run), run / "config.yaml", run, restore=Other(), **options).run()

    with pytest.raises(UserError, match=r"filter weights are ffffffffffff….*--accept-changes"):
        again()
    assert light_of(run) == 3 and len(recorded(run).sessions) == 1
    assert again(accept_changes=True).status == "completed"
    assert [one["weights"]["filter"][0] for one in recorded(run).sessions] == ["0", "f"]
    code, out, _ = cli(capsys, "resume", "--help")
    assert code == 0 and "--accept-changes" in out


def search(base: Path, name: str, plan: Any = None, **optimize: Any) -> Path:
    data = config_data_of_a_run()
    del data["optimize"]["initial"]
    data["optimize"] |= {"library": False, **optimize}
    data["microscope"]["fields"] = {"rows": 4, "columns": 4}
    config = load(faulty.write(base / f"{name}.yaml", data))
    run = new_folder(config, base, base / name)
    session = Session(config, base / f"{name}.yaml", run, scorer=mean_score, make_plan=plan)
    assert session.run().status == ("completed" if plan is None else "failed")
    return run


@pytest.mark.slow
def test_what_a_run_learned_from_goes_with_it(tmp_path: Path) -> None:
    first = search(tmp_path, "first", engine="sobol", trials=5)
    run = search(tmp_path, "second", cut_after(4), trials=2, prior=["first"])
    shutil.rmtree(first)
    moved = tmp_path / "elsewhere"
    run.rename(moved)
    assert replay(moved).difference is None
    session = Session(read_config(moved), moved / "config.yaml", moved, scorer=mean_score)
    assert session.run().status == "completed"
    assert replay(moved).difference is None
    assert "prior: [prior/1]" in (moved / "config.yaml").read_text(encoding="utf-8")
