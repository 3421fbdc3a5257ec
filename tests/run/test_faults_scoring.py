"""Plans and scorers that fail or doubt: the run ends well, and can be continued."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agent.config import RunConfig
from agent.plan import AnalysisError, Note, Plan
from agent.record.images import ImageStore
from agent.record.ledger import Ledger
from agent.record.strict_json import dumps
from agent.record.summary import flagged_frames
from agent.run import EXIT_CODES, Progress, Session
from agent.ui.view import payloads
from agent.ui.view.reader import Reader
from agent.workers.score import Compute
from devices.shot import Shot
from models.quality.score import Score
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import (
    assert_left_well,
    checked,
    cut_after,
    fails_at,
    mean_score,
    numbered,
    recorded,
    resume,
    run_session,
    show,
)

SCORED = {"analysis": {"score": True}}

# ---------------------------------------------------------------------- plan and scoring


@pytest.mark.slow
def test_exception_in_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = cut_after(5, ZeroDivisionError("the plan divides by nothing"))
    result, run = run_session(tmp_path, session={"make_plan": broken})
    assert (result.status, EXIT_CODES[result.status]) == ("failed", 1)
    summary = assert_left_well(capsys, run, "failed", acquired=5)
    assert "divides by nothing" in summary["reason"]
    assert [fault["frame"] for fault in summary["faults"]] == [5]
    resume(capsys, run, 20)


def test_a_plan_that_cannot_be_made_leaves_no_scorer_behind(tmp_path: Path) -> None:
    """Not even one that waits for frames."""

    def broken(config: RunConfig) -> Plan:
        raise ZeroDivisionError("the plan divides by nothing")

    before = threading.enumerate()
    with pytest.raises(ZeroDivisionError):
        run_session(tmp_path, session={"make_plan": broken, "scorer": mean_score}, **SCORED)
    assert [one.name for one in threading.enumerate() if one not in before] == []


def test_a_score_that_is_none_leaves_json_that_others_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Browsers and scripts know no NaN; own code may give one."""

    def lost(frames: list[Any]) -> list[Score]:
        return [Score(float("nan"), 0.1) for _ in frames]

    _, run = run_session(tmp_path, session={"scorer": lost}, live={"frames": 1}, **SCORED)
    code, said, _ = cli(capsys, "show", run, "--json")
    assert code == 0
    assert json.loads(said, parse_constant=pytest.fail)["score"]["latest"] is None
    json.loads((run / "status.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    reader = Reader(run)
    reader.refresh()
    for part in (payloads.state, payloads.frames, payloads.log):
        json.loads(dumps(part(reader)), parse_constant=pytest.fail)


def reading_plan(frames: int = 20, *, skip: bool = False) -> Callable[[RunConfig], Plan]:
    """A plan that looks at every score, and either ends with it or gives that frame up."""

    def plan(config: RunConfig) -> Plan:
        for number in range(frames):
            frame = yield Shot("sted")
            assert frame is not None
            try:
                value: float | str = frame.score
            except AnalysisError as error:
                if not skip:
                    raise
                value = str(error)
            yield Note("seen", {"frame": number, "score": value})

    return plan


def flags_at(*numbers: int) -> Compute:
    """A scorer that takes certain ones of its frames for saturated, and thinks most of them."""
    number_of = numbered()

    def score(frames: list[Any]) -> list[Score]:
        return [
            Score(0.99, 1 / 3, ("saturated",), 4) if number_of(pixels) in numbers else score
            for pixels, score in zip(frames, mean_score(frames), strict=True)
        ]

    return score


@pytest.mark.slow
def test_exception_in_scoring_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = reading_plan()
    result, run = run_session(
        tmp_path, session={"make_plan": plan, "scorer": fails_at(6)}, **SCORED
    )
    assert (result.status, EXIT_CODES[result.status]) == ("failed", 1)
    summary = assert_left_well(capsys, run, "failed", acquired=7)
    assert "saw a NaN" in summary["reason"]
    assert summary["faults"][0]["frame"] == 6
    assert "saw a NaN" in summary["faults"][0]["what"]
    # The scorer is repaired: the frame that had no score gets one.
    resume(capsys, run, 20, make_plan=plan, scorer=mean_score)
    assert show(capsys, run)["score"]["n"] == 20


@pytest.mark.slow
def test_exception_in_scoring_stops_a_plan_that_does_not_look(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = run_session(
        tmp_path,
        session={"scorer": fails_at(3)},
        live={"frames": 200},
        camera=faulty.device("FlakyCamera", frame_s=0.02),
        **SCORED,
    )
    assert result.status == "failed", "`analysis.on_error: stop` did not stop the run"
    summary = assert_left_well(capsys, run, "failed")
    assert summary["frames"]["acquired"] < 200
    assert "saw a NaN" in summary["reason"]


@pytest.mark.slow
def test_exception_in_scoring_skips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = reading_plan(12, skip=True)
    skipping = {"analysis": {"score": True, "on_error": "skip"}}
    result, run = run_session(
        tmp_path, session={"make_plan": plan, "scorer": fails_at(3)}, **skipping
    )
    assert result.status == "completed", result.reason
    summary = assert_left_well(capsys, run, "completed", acquired=12)
    assert [(fault["frame"], fault["policy"]) for fault in summary["faults"]] == [(3, "skip")]
    assert summary["score"]["n"] == 11


@pytest.mark.slow
def test_a_skipped_score_stays_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A plan gets the same answer again, even from a scorer that works now."""

    def breaks_off(config: RunConfig) -> Plan:
        plan = reading_plan(skip=True)(config)
        answer = None
        for _ in range(16):
            answer = yield plan.send(answer)
        raise RuntimeError("power cut")

    skipping = {"analysis": {"score": True, "on_error": "skip"}}
    session = {"make_plan": breaks_off, "scorer": fails_at(3)}
    result, run = run_session(tmp_path, session=session, **skipping)
    assert result.status == "failed"
    resume(capsys, run, 20, make_plan=reading_plan(skip=True), scorer=mean_score)
    notes = recorded(run).notes_on("seen")
    assert [note["frame"] for note in notes] == list(range(20))
    assert "saw a NaN" in notes[3]["score"]


@pytest.mark.slow
def test_a_score_that_came_too_late_stays_unread(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan that gave up waiting decided without that score; so it must when resumed."""
    calls = iter(range(10**6))

    def dawdles(frames: list[Any]) -> list[Score]:
        if next(calls) == 2:
            time.sleep(0.5)
        return mean_score(frames)

    def breaks_off(config: RunConfig) -> Plan:
        plan = reading_plan(skip=True)(config)
        answer = None
        for _ in range(12):
            answer = yield plan.send(answer)
        time.sleep(0.5)  # the late score comes in
        raise RuntimeError("power cut")

    waiting = {"analysis": {"score": True, "on_error": "skip", "timeout_s": 0.2}}
    session = {"make_plan": breaks_off, "scorer": dawdles}
    result, run = run_session(tmp_path, session=session, **waiting)
    assert result.status == "failed"
    assert "power cut" in result.reason
    resume(capsys, run, 20, make_plan=reading_plan(skip=True), scorer=mean_score)
    assert "no score for frame 2" in recorded(run).notes_on("seen")[2]["score"]


@pytest.mark.slow
def test_a_backlog_is_scored_in_batches_and_one_bad_frame_fails_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Frame 5 is bad; the worker is held up until all frames queue behind the first."""
    all_there = threading.Event()
    sizes: list[int] = []
    bad = fails_at(5)

    def score(frames: list[Any]) -> list[Score]:
        all_there.wait(20)
        sizes.append(len(frames))
        return bad(frames)

    def watch(progress: Progress) -> None:
        if progress.frames == 20:
            all_there.set()

    analysis = {"score": True, "on_error": "skip", "queue": 30}
    result, run = run_session(tmp_path, session={"scorer": score}, watch=watch, analysis=analysis)
    assert result.status == "completed", result.reason
    assert max(sizes) > 5
    assert_left_well(capsys, run, "completed", acquired=20)
    taken = recorded(run).taken
    images = ImageStore(run, pixel_size_um=0.02)
    for index, frame in taken.items():
        expected = None if index == 5 else mean_score([images.read(index)])[0]
        assert frame.score == expected
    assert [fault["frame"] for fault in recorded(run).faults] == [5]


# ---------------------------------------------------------------------- flagged frames

FINDING: dict[str, Any] = {
    "plan": "optimize",
    "optimize": {"trials": 4, "initial": 2, "retest_fields": 1, "repeat_flagged": 2},
    "microscope": {
        "modes": {"sted": {}, "confocal": {"depletion_power": 0}},
        "fields": {"rows": 3, "columns": 3},
    },
    **SCORED,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flagged", "repeats"),
    [((), 0), ((1,), 1), ((0, 1, 2, 4), 2)],
    ids=["none", "one", "more than are taken again"],
)
def test_flagged_trials_are_taken_again_and_the_run_completes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flagged: tuple[int, ...], repeats: int
) -> None:
    config, file, run = checked(tmp_path, **FINDING)
    session = Session(config, file, run, scorer=flags_at(*flagged))
    result = session.run()
    frames = 18 + 3 * repeats
    assert result.status == "completed", result.reason
    assert session.progress.planned == frames
    summary = assert_left_well(capsys, run, "completed", acquired=frames)
    assert summary["frames"]["planned"] == frames
    assert (summary["score"]["n"], summary["score"]["flagged"]) == (6 + repeats, len(flagged))
    notes = recorded(run)
    assert len(notes.notes_on("flagged")) == repeats
    for note in notes.notes_on("flagged"):
        assert note["flags"] == ["saturated"]
        again = [trial["settings"] for trial in notes.notes_on("trial")][note["trial"] - 1]
        assert again == note["settings"]
    kept = [trial for trial in notes.notes_on("trial") if not trial["objectives"]["flags"]]
    assert len(kept) == (4 if repeats == len(flagged) else 2)
    assert notes.notes_on("recommendation")[0]["doubtful"] == 4 - len(kept)
    code, out, err = cli(capsys, "replay", run)
    assert (code, err) == (0, ""), err
    assert f"{frames} frames" in out
    assert (
        flagged_frames(run)
        == {0: "", 1: "1 frame: 1 saturated", 4: "4 frames: 4 saturated"}[len(flagged)]
    )
    code, out, _ = cli(capsys, "report", run)
    assert code == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert ("flagged: saturated" in page) == (len(kept) < 4)


@pytest.mark.slow
def test_a_resumed_run_is_told_the_same_flags_and_deviations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scorer of the second session would flag nothing."""
    result, run = run_session(
        tmp_path, session={"scorer": flags_at(1), "make_plan": cut_after(8)}, **FINDING
    )
    assert "power cut" in result.reason
    before = recorded(run)
    assert [note["topic"] for note in before.notes] == ["trial", "flagged"]
    # Frames 0 … 2 are the first trial, 3 … 5 the flagged one, 6 and 7 begin its repeat.
    assert before.taken[4].score == Score(0.99, 1 / 3, ("saturated",), 4)
    resume(capsys, run, 21, scorer=mean_score)
    after = recorded(run)
    assert after.notes[:2] == before.notes
    scores = {index: taken.score for index, taken in after.taken.items()}
    assert {index: scores[index] for index in before.taken} == {
        **{index: taken.score for index, taken in before.taken.items()},
        7: scores[7],  # the cut came before its score
    }
    assert cli(capsys, "replay", run)[0] == 0


@pytest.mark.slow
def test_what_the_ledger_says_of_a_score(tmp_path: Path) -> None:
    result, run = run_session(tmp_path, session={"scorer": flags_at(0)}, **FINDING)
    assert result.status == "completed", result.reason
    with closing(Ledger(run, readonly=True)) as ledger:
        entry = next(ledger.entries("score"))
    assert entry.frame == 1
    assert entry.data == {"value": 0.99, "sd": 1 / 3, "flags": ["saturated"], "tiles": 4}
    trial = recorded(run).notes_on("trial")[0]["objectives"]
    assert trial["score_sd"] > 0 and trial["bleaching_sd"] > 0
    assert trial["dose_J"].keys() == {"excitation", "depletion"}


@pytest.mark.slow
def test_a_ledger_without_deviations_can_still_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scores were once a value alone."""
    plan = reading_plan()
    session = {"make_plan": plan, "scorer": fails_at(6)}
    result, run = run_session(tmp_path, session=session, **SCORED)
    assert result.status == "failed"
    values = {i: taken.score.value for i, taken in recorded(run).taken.items() if taken.score}
    with closing(sqlite3.connect(run / "ledger.sqlite")) as ledger, ledger:
        ledger.execute(
            "UPDATE entries SET data = json_remove(data, '$.sd', '$.flags', '$.tiles') "
            "WHERE kind = 'score'"
        )
    old = recorded(run).taken
    assert {i: old[i].score for i in values} == {i: Score(v, 0.0) for i, v in values.items()}
    resume(capsys, run, 20, make_plan=plan, scorer=mean_score)
    summary = show(capsys, run)
    assert (summary["score"]["n"], summary["score"]["flagged"]) == (20, 0)
