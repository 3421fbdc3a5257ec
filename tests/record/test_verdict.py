"""What a search came to, judged once for page, report, `show` and exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.config import load
from agent.record.judging import of_notes
from agent.record.summary import summarize
from agent.record.trials import best_trial
from agent.record.verdict import EXIT_CODE, Verdict
from models.quality.score import Score
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import show
from tests.helpers.searches import config_data_of_a_run
from tests.helpers.stories import Page, Story, a_config, drawn

FOUND = {"depletion_power": 123.0}


def story(tmp_path: Path, **optimize: Any) -> Story:
    changes = {f"optimize__{key}": value for key, value in optimize.items()}
    return Story(tmp_path / "run", a_config("optimize", **changes)).begin(36)


def judged(
    start: list[tuple[Any, ...]], best: list[tuple[Any, ...]], *trials: dict[str, Any], **more: Any
) -> Verdict:
    """Of retests (score, bleaching, *flags), within a limit of 0.2."""

    def notes(which: str, found: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        rows = [
            {"score": s, "bleaching": b, "flags": list(f), "score_sd": 0.03} for s, b, *f in found
        ]
        return [{"which": which, "settings": {"x": which}, "objectives": row} for row in rows]

    topics = {
        "trial": [{"settings": {}, "objectives": one} for one in trials or [GOOD]],
        "recommendation": [{"settings": {"x": "best"}, "trials": 1, **more}],
        "retest": notes("start", start) + notes("best", best),
    }
    config = a_config(
        "optimize", optimize__bleaching_limit=0.2, optimize__retest_fields=len(start) or 1
    )
    return of_notes(config.optimize, topics, going_on=False)


GOOD = {"score": 0.5, "bleaching": 0.1, "flags": []}
BAD = {"score": 0.9, "bleaching": 0.1, "flags": ["unfamiliar"]}
BLANK = {"score": 0.0, "bleaching": 0.0, "flags": ["blank"]}


@pytest.mark.parametrize(
    ("start", "best", "verdict", "recommended", "kept"),
    [
        ([(0.1, 0.05), (0.15, 0.05)], [(0.5, 0.1), (0.6, 0.1)], "higher", "best", True),
        # As ten times the laser once was recommended: 0.010 against 0.010.
        ([(0.010, 0.01), (0.011, 0.01)], [(0.010, 0.1), (0.013, 0.1)], "same", "start", True),
        ([(0.2, 0.05), (0.5, 0.05)], [(0.4, 0.1), (0.6, 0.1)], "same", "start", True),
        ([(0.5, 0.05), (0.52, 0.05)], [(0.3, 0.1), (0.31, 0.1)], "lower", "start", True),
        ([(0.1, 0.05), (0.1, 0.05)], [(0.7, 0.9), (0.7, 0.9)], "over", "start", True),
        # The start itself is too much: what keeps the limit is better, whatever it scores.
        ([(0.6, 0.9), (0.6, 0.9)], [(0.5, 0.1), (0.5, 0.1)], "lower", "best", True),
        ([(0.6, 0.9), (0.6, 0.9)], [(0.2, 0.3), (0.2, 0.3)], "none_keeps", "best", False),
        ([(0.2, 0.3), (0.2, 0.3)], [(0.6, 0.9), (0.6, 0.9)], "none_keeps", "start", False),
        ([(0.1, 0.1, "unfamiliar")], [(0.9, 0.1, "unfamiliar")], "unusable", "start", True),
        ([(0.1, 0.1)], [(0.9, 0.1, "saturated")], "unusable", "start", True),
        ([(0.1, 0.9)], [(0.9, 0.4, "unfamiliar")], "none_keeps", "best", False),
        # That nothing is to be seen at the start is a result.
        (
            [(0.0, 0.0, "blank"), (0.0, 0.0, "blank")],
            [(0.6, 0.1), (0.6, 0.1)],
            "higher",
            "best",
            True,
        ),
    ],
)
def test_start_and_best_are_compared_by_what_counts(
    start: Any, best: Any, verdict: str, recommended: str, kept: bool
) -> None:
    found = judged(start, best)
    assert (found.verdict, found.recommended, found.limit_kept) == (verdict, recommended, kept)
    assert found.ok is (verdict not in ("none_keeps", "unusable"))
    named = {"best": "the settings found", "start": "the starting settings"}[recommended]
    assert any(words.startswith(f"Recommended: {named}") for words in found.words)


@pytest.mark.parametrize(("heeded", "verdict"), [(True, "higher"), (False, "unusable")])
def test_scores_all_in_doubt_are_compared_where_the_rules_heed_them(
    heeded: bool, verdict: str
) -> None:
    def retests(which: str, score: float) -> list[dict[str, Any]]:
        found = {"score": score, "bleaching": 0.1, "score_sd": 0.2, "flags": ["smoothed"]}
        notes = [{"which": which, "settings": {"x": which}, "objectives": found}] * 3
        return [{**note, "heeded": True} if heeded else note for note in notes]

    config = a_config("optimize", optimize__bleaching_limit=0.2, optimize__retest_fields=3)
    topics = {
        "trial": [{"settings": {}, "objectives": GOOD}],
        "recommendation": [{"settings": {"x": "best"}, "trials": 1}],
        "retest": retests("start", 0.1) + retests("best", 0.8),
    }
    assert of_notes(config.optimize, topics, going_on=False).verdict == verdict
    topics["retest"] = retests("start", 0.5) + retests("best", 0.7)
    found = of_notes(config.optimize, topics, going_on=False).verdict
    assert found == ("same" if heeded else "unusable"), "a wide deviation asks for more"
    topics["trial"] = [{"settings": {}, "objectives": BAD}, {"settings": {}, "objectives": BLANK}]
    nothing = of_notes(config.optimize, topics, going_on=False)
    assert (nothing.verdict, nothing.recommended, nothing.ok) == ("unusable", "start", False)
    said = "no trial of 2 gave a usable score (1 unfamiliar, 1 blank)" if heeded else "no score of"
    assert said in nothing.head


def test_retests_within_the_noise_do_not_outweigh_the_trials() -> None:
    topics: dict[str, Any] = {
        "trial": [{"settings": {}, "objectives": {"score": 0.3, "bleaching": 0.27}}],
        "recommendation": [{"settings": {}}],
        "retest": [
            {
                "which": which,
                "settings": {},
                "objectives": {"score": 0.3, "bleaching": share} | NOISY,
            }
            for which, share in (("start", 0.6), ("best", 0.22))
        ],
    }
    asked = a_config("optimize", optimize__bleaching_limit=0.2, optimize__retest_fields=1).optimize
    assert of_notes(asked, topics, going_on=False).limit_kept is True
    topics["belief"] = [{"predicted": {"allowed": 0.01}}]
    assert of_notes(asked, topics, going_on=False).verdict == "none_keeps"


NOISY = {"bleaching_sd": 0.05}


@pytest.mark.parametrize("sd", [None, float("nan"), float("inf")])
def test_a_deviation_that_nobody_knows_is_none(sd: float | None) -> None:
    notes = [
        {"which": which, "objectives": {"score": score, "bleaching": 0.1, "score_sd": sd}}
        for which, score in (("start", 0.2), ("best", 0.4))
    ]
    asked = a_config("optimize", optimize__retest_fields=1).optimize
    topics = {"recommendation": [{"settings": {}}], "retest": notes}
    assert of_notes(asked, topics, going_on=False).verdict == "higher"


@pytest.mark.parametrize("trial", [BAD, BLANK, None])
def test_where_no_score_counts_the_start_stays(trial: Any) -> None:
    found = judged([], [], trial, trial)
    assert (found.verdict, found.recommended, found.ok) == ("unusable", "start", False)
    assert found.head.startswith("Nothing was learned: no trial of 2 gave a usable score")


def test_the_best_trial_is_neither_flagged_nor_blank_nor_over_the_limit() -> None:
    trials = [{"objectives": one} for one in (BLANK, BAD, None, GOOD, GOOD | {"bleaching": 0.5})]
    assert best_trial(trials, 0.2) == 4
    assert best_trial(trials[:3], 0.2) is None


def test_report_show_and_json_say_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = story(tmp_path, retest_fields=2, bleaching_limit=0.2).trials(6)
    folder = (
        made.retests({"start": [0.30, 0.31], "best": [0.31, 0.32]}, **FOUND)
        .end("completed")
        .closed()
    )
    result = show(capsys, folder)["result"]
    assert (result["verdict"], result["recommended"]) == ("same", "start")
    code, out, _ = cli(capsys, "show", folder)
    assert code == 0
    words = [result["head"], *result["words"]]
    page = drawn(folder).words
    for said in words:
        plain = said.replace("\N{NO-BREAK SPACE}", " ")
        assert plain in out.replace("\N{NO-BREAK SPACE}", " ") and plain in page


def test_a_stopped_search_shows_its_best_trial(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = story(tmp_path, bleaching_limit=0.2).trials(4).end("stopped", "told to").closed()
    code, out, _ = cli(capsys, "show", folder)
    assert code == 0
    assert "No result: 4 of 6 trials made." in out
    assert "best       so far: trial 4, not measured again" in out
    assert "depletion_power 120, dwell_time 11, gate late" in out


def test_a_live_run_shows_its_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    live = Story(tmp_path / "live", a_config("live")).begin(None)
    for score in (0.2, 0.3, 0.7):
        live.shot("sted")
        live.frame(score)
    code, out, _ = cli(capsys, "show", live.end("stopped", "told to").closed())
    assert code == 0 and "score      0.400 ± 0.265 (n = 3), latest 0.700" in out


@pytest.mark.slow
def test_a_search_in_which_no_score_counts_is_told_by_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def doubting(*_: Any) -> Iterator[tuple[Any, dict[str, str]]]:
        yield lambda frames: [Score(0.5, 0.1, ("saturated",)) for _ in frames], {}

    monkeypatch.setattr("agent.workers.start._scoring", doubting)
    run = tmp_path / "run"
    file = faulty.write(tmp_path / "config.yaml", config_data_of_a_run())
    code, out, err = cli(capsys, "run", file, "--out", run)
    assert code == EXIT_CODE, err
    assert "completed" in err and "Nothing was learned" in out
    assert "could not be written" not in err and "Nothing was learned" in drawn(run).words
    assert "start      kept as it was, recommended" in out
    summary = show(capsys, run)
    # No light for a comparison of the start with itself.
    assert summary["frames"]["planned"] == summary["frames"]["acquired"] == 12
    assert summary["result"]["recommended"] == "start"
    start = load(file).microscope.start()
    assert summary["best"]["settings"] == {name: start[name] for name in load(file).tuned()}
    code, out, err = cli(capsys, "replay", run)
    assert code == 0, err


def test_what_an_engine_without_a_choice_recommends_is_marked_everywhere(tmp_path: Path) -> None:
    made = story(tmp_path, retest_fields=1, bleaching_limit=0.02).trials(6)
    folder = made.retests({"start": [0.3], "best": [0.5]}, **FOUND).end("completed").closed()
    assert summarize(folder)["result"]["ok"] is False
    page: Page = drawn(folder)
    assert "Nothing keeps the bleaching limit of 2 %" in page.words
    assert 'class="alarm">Nothing keeps' in page.html
