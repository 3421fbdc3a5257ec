"""Telling a running optimization something: what it does, that it lasts, and its replay."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from agent.config import RunConfig, load
from agent.plan import Plan
from agent.plans.build import build_plan
from agent.record.folder import new_folder, read_config
from agent.record.summary import summarize
from agent.run import Progress, Result, Session
from agent.steering.control_file import FILE, append
from models.quality.score import Score
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import recorded
from tests.helpers.searches import config_data_of_a_run

# ---------------------------------------------------------------------- runs

Scorer = Callable[[list[Any]], list[Score]]


def scorer(at: Mapping[int, Callable[[], Any]] = {}) -> Scorer:
    """Scores that need no network; does something while it scores the n-th frame, from 1."""
    count = 0

    def score(frames: list[Any]) -> list[Score]:
        nonlocal count
        scores = []
        for pixels in frames:
            count += 1
            if count in at:
                at[count]()
            scores.append(Score(float(pixels.mean() / 4096), 0.01))
        return scores

    return score


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that is about to start, with its config beside it."""
    faulty.write(tmp_path / "config.yaml", config_data_of_a_run())
    return new_folder(load(tmp_path / "config.yaml"), tmp_path, tmp_path / "run")


def work(
    run: Path,
    at: Mapping[int, Callable[[], Any]] = {},
    *,
    interrupted_at: int | None = None,
    make_plan: Callable[[RunConfig], Plan] | None = None,
) -> tuple[Result, Session]:
    """One session of a run, new or resumed; Ctrl-C comes while a frame is scored."""
    fresh = not (run / "config.yaml").exists()
    source = run.parent / "config.yaml" if fresh else run / "config.yaml"
    config = load(source) if fresh else read_config(run)
    stopping = threading.Event()

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        assert stopping.wait(240)

    def watch(progress: Progress) -> None:
        if progress.doing.startswith("finishing"):
            stopping.set()

    if interrupted_at is not None:
        at = {**at, interrupted_at: interrupt}
    session = Session(config, source, run, make_plan=make_plan, scorer=scorer(at))
    return session.run(watch), session


def tells(run: Path, **told: Any) -> Callable[[], None]:
    return lambda: append(run, told)


def trials(run: Path) -> list[dict[str, Any]]:
    return [note["settings"] for note in recorded(run).notes_on("trial")]


def assert_replays(capsys: pytest.CaptureFixture[str], run: Path, told: int) -> None:
    code, out, err = cli(capsys, "replay", run, "--json")
    assert code == 0, err
    found = json.loads(out)
    ledger = recorded(run)
    assert found == {
        "frames": len(ledger.taken),
        "notes": len(ledger.notes),
        "told": told,
        "difference": None,
        "rounded": {"values": 0, "first": []},
    }


@pytest.mark.slow
def test_a_running_optimization_is_told_and_follows(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def by_command() -> None:
        """As a second process would, while the session is running."""
        code, _, said = cli(capsys, "tell", run, "depletion_power=120", "trials=6")
        messages.append((code, said))

    messages: list[tuple[int, str]] = []
    suggestion = {"excitation_power": 3, "depletion_power": 60}
    result, session = work(run, {2: by_command, 3: tells(run, **{"try": suggestion})})
    assert result.status == "completed", result.reason
    assert messages == [
        (
            0,
            "depletion_power, trials: will be applied before the next trial "
            "(1 of 4 trials are done)\n",
        )
    ]
    tried = trials(run)
    assert len(tried) == 6
    assert [settings["depletion_power"] for settings in tried[2:]] == [120, 60, 120, 120]
    assert tried[3] == suggestion
    assert all(settings["depletion_power"] != 120 for settings in tried[:2])
    assert session.progress.planned == session.progress.frames == 24
    summary = summarize(run)
    assert summary["frames"]["planned"] == summary["frames"]["acquired"] == 24
    assert [(note["key"], note["trial"]) for note in summary["told"]] == [
        ("depletion_power", 3),
        ("trials", 3),
        ("try", 4),
    ]
    assert summary["best"]["settings"]["depletion_power"] == 120, "recommended out of its range"
    assert summary["faults"] == []
    assert_replays(capsys, run, 3)
    shown = cli(capsys, "show", run)[1]
    assert "told       depletion_power = 120" in shown


@pytest.mark.slow
def test_a_search_can_be_finished_early(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, session = work(run, {2: tells(run, finish=True)})
    assert result.status == "completed", result.reason
    assert len(trials(run)) == 2 and len(recorded(run).notes_on("retest")) == 2
    assert session.progress.planned == session.progress.frames == 12
    assert summarize(run)["frames"]["planned"] == 12
    assert_replays(capsys, run, 1)


@pytest.mark.slow
def test_what_was_told_lasts_over_an_interruption(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped, _ = work(run, {1: tells(run, excitation_power=[2, 4], trials=3)}, interrupted_at=2)
    assert stopped.status == "interrupted"
    before = recorded(run)
    assert len(before.told) == 1 and len(before.notes_on("told")) == 2
    # An interrupted run can be told something as well.
    code, _, said = cli(capsys, "tell", run, "depletion_power=150")
    assert code == 0 and "when the run is resumed" in said and "of 3 trials" in said
    result, session = work(run)
    assert result.status == "completed", result.reason
    after = recorded(run)
    assert after.told[0] == before.told[0] and len(after.told) == 2
    assert [note["key"] for note in after.notes_on("told")] == [
        "excitation_power",
        "trials",
        "depletion_power",
    ]
    tried = trials(run)
    assert len(tried) == 3 and tried[2]["depletion_power"] == 150
    assert all(2 <= settings["excitation_power"] <= 4 for settings in tried[1:])
    assert session.progress.planned == 15 == summarize(run)["frames"]["planned"]
    assert_replays(capsys, run, 3)


@wraps(build_plan)
def cut_when_told(config: RunConfig) -> Plan:
    """The config's plan, which stops once its instruction is in the ledger."""
    plan, answer = build_plan(config), None
    while True:
        answer = yield plan.send(answer)  # type: ignore[misc]  # answers go through as they are
        if answer and isinstance(answer, tuple):
            raise RuntimeError("power cut")


@pytest.mark.slow
def test_what_was_told_is_heeded_once_after_a_cut(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ledger has the instruction, and nothing yet of what followed from it."""
    told = tells(run, **{"try": {"excitation_power": 7, "depletion_power": 70}})
    cut, _ = work(run, {2: told}, make_plan=cut_when_told)
    assert "power cut" in cut.reason
    before = recorded(run)
    assert len(before.told) == 1 and before.notes_on("told") == []
    assert_replays(capsys, run, 1)
    result, _ = work(run)
    assert result.status == "completed", result.reason
    assert recorded(run).told == before.told
    assert [settings["excitation_power"] == 7 for settings in trials(run)] == [
        False,
        False,
        True,
        False,
    ]
    assert_replays(capsys, run, 1)


BY_HAND = [
    '{"trials": 5}',
    "{trials: 5}",
    '{"depletion_power": 900}',
    '{"depletion_power": 100, "pick": 77}',
    "[1, 2]",
    '{"trials": 2, "trials": 3}',
    "\x00\x01",
    '{"depletion_power": 110}',
]


@pytest.mark.slow
def test_damaged_and_refused_lines_end_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        (run / FILE).write_text("\n".join(BY_HAND) + "\n", encoding="utf-8")

    stopped, _ = work(run, {1: write}, interrupted_at=2)
    assert stopped.status == "interrupted"
    faults = recorded(run).faults
    assert [fault["what"].split(":")[0] for fault in faults] == [
        f"{FILE}, line {line}" for line in range(2, 8)
    ]
    assert {fault["policy"] for fault in faults} == {"ignored"}
    assert "accepted: a JSON object" in faults[0]["what"]
    assert "`depletion_power`: found 900" in faults[1]["what"] and "10 … 200" in faults[1]["what"]
    assert "`pick`: found 77" in faults[2]["what"]
    assert "`trials`: stands here twice" in faults[4]["what"]
    result, _ = work(run)
    assert result.status == "completed", result.reason
    assert len(recorded(run).faults) == len(faults), "told of twice"
    tried = trials(run)
    assert len(tried) == 5 and {settings["depletion_power"] for settings in tried[1:]} == {110.0}
    assert_replays(capsys, run, 2)
    assert cli(capsys, "report", run)[0] == 0


@pytest.mark.slow
def test_what_comes_too_late_is_said_to_be_ignored(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell() -> None:
        answers.append(cli(capsys, "tell", run, "trials=6"))

    answers: list[tuple[int, str, str]] = []
    # The fifth scored frame is the first of the retests.
    result, _ = work(run, {5: tell, 6: tells(run, trials=6)})
    assert result.status == "completed", result.reason
    ((code, _, err),) = answers
    assert code == 2 and "only the retests are left" in err
    (fault,) = recorded(run).faults
    assert fault["what"] == f"{FILE}, line 1: `trials`: too late, the search is over"
    assert_replays(capsys, run, 0)
    code, _, err = cli(capsys, "tell", run, "trials=6")
    assert code == 2 and "is complete" in err


@pytest.mark.slow
def test_telling_checks_before_it_writes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert work(run, interrupted_at=3)[0].status == "interrupted"
    for words, named in (
        (["depletion_power=500"], "`depletion_power`: found 500; accepted: a number"),
        (["trials=6", "depletion_powr=50"], "did you mean `depletion_power`?"),
        (["trials=1"], "accepted: at least the"),
        (["trials"], "not key=value"),
        (["trials=6", "trials=7"], "`trials`: stands here twice"),
        (["try={a: ]"], "not a YAML value"),
        (["depletion_power=2020-01-01"], "found '2020-01-01'"),
        (["pick=4"], "a trial that gave a result: 1, 2"),
    ):
        code, out, err = cli(capsys, "tell", run, *words)
        assert (code, out) == (2, "") and named in err, err
        assert len(err.splitlines()) <= 2 and "Traceback" not in err
    assert not (run / FILE).exists()
    code, _, err = cli(capsys, "tell", run.parent, "trials=6")
    assert code == 2 and "not a run folder" in err


def test_a_complete_run_can_be_told_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = faulty.write(tmp_path / "config.yaml", faulty.config(live={"frames": 2}))
    config = load(file)
    run = new_folder(config, tmp_path, tmp_path / "run")
    Session(config, file, run).run()
    code, _, err = cli(capsys, "tell", run, "trials=6")
    assert code == 2 and "is complete" in err


# ---------------------------------------------------------------------- replaying it


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that got instructions and completed."""
    folder = tmp_path_factory.mktemp("told")
    faulty.write(folder / "config.yaml", config_data_of_a_run())
    made = new_folder(load(folder / "config.yaml"), folder, folder / "run")
    result, _ = work(made, {1: tells(made, depletion_power=120.5), 2: tells(made, trials=3)})
    assert result.status == "completed", result.reason
    return made


@pytest.fixture
def ledger(told: Path) -> Iterator[sqlite3.Connection]:
    """The ledger of the told run, to be changed; it is restored afterwards."""
    file = told / "ledger.sqlite"
    before = file.read_bytes()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        yield connection
    file.write_bytes(before)


def difference(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], str]:
    """What replaying a changed ledger says, to scripts and to people."""
    ledger.commit()
    code, out, err = cli(capsys, "replay", told, "--json")
    assert code == 1 and "Traceback" not in err
    found: dict[str, Any] = json.loads(out)["difference"]
    return found, err


@pytest.mark.slow
def test_replay_names_trial_and_both_values(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """A float that differs by more than rounding is another one."""
    seq, text = ledger.execute(
        "SELECT seq, data FROM entries WHERE kind = 'note' AND data LIKE '%\"trial\"%' "
        "AND data LIKE '%objectives%' ORDER BY seq LIMIT 1 OFFSET 1"
    ).fetchone()
    data = json.loads(text)
    score = data["data"]["objectives"]["score"]
    changed = data["data"]["objectives"]["score"] = score * 1.00001
    ledger.execute("UPDATE entries SET data = ? WHERE seq = ?", (json.dumps(data), seq))
    found, err = difference(told, ledger, capsys)
    assert (found["trial"], found["key"]) == (2, "objectives.score")
    assert (found["now"], found["was"]) == (score, changed) and score != changed
    assert found["frame"] is None and found["note"] == 3
    assert "trial 2" in err and repr(score) in err and repr(changed) in err


@pytest.mark.slow
def test_replay_tells_the_plan_what_the_ledger_says(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_replays(capsys, told, 2)
    ledger.execute("UPDATE entries SET data = replace(data, '120.5', '120.25') WHERE kind = 'told'")
    found, err = difference(told, ledger, capsys)
    assert (found["note"], found["trial"], found["key"]) == (2, 2, "value")
    assert (found["now"], found["was"]) == (120.25, 120.5)
    assert "note 2 (told of trial 2)" in err and "120.25" in err and "120.5" in err


@pytest.mark.slow
def test_replay_sees_that_something_told_is_missing(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.execute("DELETE FROM entries WHERE kind = 'told' AND data LIKE '%120.5%'")
    found, _ = difference(told, ledger, capsys)
    # The plan goes on to the frames of its second trial, at other settings.
    assert (found["trial"], found["frame"]) == (2, 4)
    assert found["key"].startswith("asked.")


@pytest.mark.slow
def test_replay_sees_what_the_plan_never_listened_to(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.execute(
        "INSERT INTO entries (at, kind, data) SELECT at, kind, "
        "json_set(data, '$.listen', 99) FROM entries WHERE kind = 'told' LIMIT 1"
    )
    found, err = difference(told, ledger, capsys)
    assert found["listen"] == 100 and "depletion_power" in err


def test_replay_names_a_frame_with_its_trial(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.execute(
        'UPDATE entries SET data = replace(data, \'"mode": "sted"\', \'"mode": "confocal"\') '
        "WHERE kind = 'shot' AND frame = 7"
    )
    found, err = difference(told, ledger, capsys)
    assert (found["frame"], found["trial"], found["key"]) == (7, 3, "mode")
    assert (found["now"], found["was"]) == ("sted", "confocal")
    assert "frame 7 of trial 3" in err
