"""The report: every kind of run, in one file that loads nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.config.reading import UserError
from agent.record import text
from agent.record.folder import lock
from agent.record.summary import summarize
from agent.ui.report import save_picture, write_report
from agent.ui.report.run_data import Run
from tests.helpers.stories import Data, Story, a_config, completed, drawn

EVIL = "<script>alert('x')</script>\"& $\\frac{$"

# ---------------------------------------------------------------------- states


def test_completed_optimization_shows_its_numbers(tmp_path: Path) -> None:
    folder = completed(tmp_path / "run")
    page, summary = drawn(folder), summarize(folder)
    assert "✓ completed" in page.words and "simulated" in page.words
    assert summary["best"]["score"]["mean"] == pytest.approx(0.6)
    for part in ("0.600 ± 0.100 (n = 3)", "0.250 ± 0.040 (n = 3)", "4.0 ± 1.0 % (n = 3)"):
        assert part in page.words
    assert "higher" in page.words and "within the limit of 20 %" in page.words
    for value in ("123 mW", "30 mW", "10 µs", "36 of 36", "0123abcd", "2026-01-02 03:04:05 UTC"):
        assert value in page.words
    assert "Table of trials (6)" in page.words and "failed" in page.words
    spent = summary["dose"]["depletion_J"]
    assert text.joules(spent).replace("\N{NO-BREAK SPACE}", " ") in page.words
    # Three pictures of the result, six retests, and the pair at the same limits.
    assert len(page.addresses) == 3 + 6 + 2
    assert page.html.count('class="chart"') == 2 + 3 + 1


def test_verdict_says_when_nothing_was_gained(tmp_path: Path) -> None:
    story = Story(tmp_path / "worse", a_config("optimize")).begin()
    story.retests({"start": [0.58, 0.6], "best": [0.4, 0.42]}).end("completed")
    assert "score lower" in drawn(story.closed()).words
    story = Story(tmp_path / "little", a_config("optimize")).begin()
    story.retests({"start": [0.5, 0.6], "best": [0.52, 0.62]}).end("completed")
    page = drawn(story.closed())
    assert "No difference beyond the noise" in page.words
    assert "Recommended: the starting settings." in page.words
    assert "Only 2 of 3 fields could be compared" in page.words


def states(folder: Path) -> Iterator[tuple[str, Story, tuple[str, ...]]]:
    def story(name: str, plan: str = "optimize", **changes: Any) -> Story:
        return Story(folder / name, a_config(plan, **changes))

    yield "no session", story("a"), ("interrupted", "No session has begun")
    begun = story("b").begin().fault("camera 'Scan' hangs").end("failed", "camera 'Scan' hangs")
    yield "failed without a frame", begun, ("✕ failed", "0 of 99", "camera 'Scan' hangs")
    unsafe = story("c").begin().trials(1).end("failed", "disk full", ok=False)
    yield "unsafe", unsafe, ("NOT SAFE", "12.5", "disk full")
    stopped = story("d").begin().trials(4).end("stopped", "dose.budget_J.depletion: too much")
    yield "budget", stopped, ("stopped", "too much", "4 of 6 trials", "partly luck")
    half = story("e").begin().trials(6).retests({"start": [0.3], "best": []})
    half.shot("sted", "retest best", 20)
    yield (
        "killed in the retest",
        half,
        ("killed", "Check lasers", "left no frame", "1 of 6 retests"),
    )
    yield "live", story("f", "live", analysis__score=False).begin(None), ("No frame was taken",)
    live = story(
        "g",
        "live",
        analysis__score=False,
        dose={},
        microscope__settings={"dwell_time": DWELL},
        microscope__modes={"sted": {}},
    ).begin(None)
    for _ in range(7):
        live.shot("sted")
        live.frame()
    live.end("interrupted", "SIGINT")
    yield "live, no lasers", live, ("SIGINT", "not scored", "no light source", "dwell time 10 µs")
    lapse = story("h", "timelapse").begin(8)
    for t in range(4):
        for field in (0, 1):
            lapse.shot("sted", f"time point {t}", field)
            lapse.frame(None if t == 0 else 0.1 * t)
    lapse.end("completed")
    yield "timelapse", lapse, ("Field 1", "0.200 ± 0.089 (n = 6)", "frame 7, 4 min 40 s")


DWELL = {"device": "S", "property": "D", "unit": "µs", "range": [1, 100], "start": 10}


@pytest.mark.slow
def test_every_state_of_a_run_can_be_drawn(tmp_path: Path) -> None:
    for name, story, expected in states(tmp_path):
        page = drawn(story.closed())
        for words in expected:
            assert words in page.words, f"{name}: {words}"


def test_running_run_is_drawn_as_such(tmp_path: Path) -> None:
    story = Story(tmp_path / "run", a_config("optimize")).begin().trials(2)
    story.shot("confocal", "trial 2", 2)
    taken = lock(story.folder)
    try:
        page = drawn(story.folder)
    finally:
        taken.release()
        story.ledger.close()
    assert "● running" in page.words and "1 under way" in page.words
    assert "so far" in page.words and "The run continues" in page.words


def test_real_and_recorded_frames_are_named_so(tmp_path: Path) -> None:
    story = Story(tmp_path / "real", a_config("live"), simulated=False).begin().end("completed")
    page = drawn(story.closed())
    assert "Measured on a microscope" in page.words and "Simulated" not in page.words
    assert '<span class="badge">real</span>' in page.html
    config = a_config("live", microscope__virtual_sted=None, microscope__replay={"file": "a.tif"})
    page = drawn(Story(tmp_path / "replay", config).begin().end("completed").closed())
    assert "Played back from a recording" in page.words
    assert '<span class="badge">recording</span>' in page.html
    assert '<span class="badge">simulated</span>' not in page.html
    summary = summarize(tmp_path / "replay")
    assert (summary["simulated"], summary["origin"]) == (False, "recorded")


def test_flagged_scores_are_marked(tmp_path: Path) -> None:
    lapse = Story(tmp_path / "lapse", a_config("timelapse", timelapse__fields=1)).begin(4)
    for t in range(4):
        lapse.shot("sted", f"time point {t}", 0)
        lapse.frame()
        score: Data = {"value": 0.5, "sd": 0.1, "flags": ["pixel_size"] if t == 2 else []}
        lapse.ledger.add("score", score, t)
    page = drawn(lapse.end("completed").closed())
    assert "frame 2: score 0.5, flagged: pixel size" in page.html
    assert "score flagged" in page.words and page.html.count('class="line bar"') == 1
    assert summarize(lapse.folder)["score"]["flagged"] == 1

    story = Story(tmp_path / "run", a_config("optimize")).begin()
    for i, flags in enumerate([[EVIL], []], 1):
        for purpose in (f"trial {i}", f"trial {i}, repeat 1")[: 1 + bool(flags)]:
            story.measured(purpose, story.index, 0.9 - 0.2 * i, depletion_power=50.0)
            if flags and purpose == "trial 1":
                story.note("flagged", settings={}, flags=flags, trial=i)
        found = {"score": 0.9 - 0.2 * i, "bleaching": 0.1, "score_sd": 0.05, "flags": flags}
        settings = {"depletion_power": 50.0, "dwell_time": 5.0, "gate": "open"}
        story.note("trial", settings=settings, objectives=found)
    page = drawn(story.closed())
    # The better trial is flagged: the other one is the best so far.
    assert "best trial so far, 2, scored 0.500" in page.words
    assert "score flagged, not used" in page.words and f"yes, flagged: {EVIL}" in page.words
    trials = Run.load(story.folder).trials
    assert [trial.sted for trial in trials] == [4, 7], "not the frames of the last repeat"
    assert summarize(story.folder)["frames"]["planned"] == 99 + 3


def test_without_a_rebuilt_frame_there_is_no_error_of_one(tmp_path: Path) -> None:
    config = a_config("timelapse", timelapse__acquire="adaptive", timelapse__fields=1)
    story = Story(tmp_path / "run", config).begin(4)
    for point in range(4):
        story.shot("sted", f"time point {point}", 0)
        story.frame()
        mark = {"point": point, "kind": "measured", "frame": point, "expected_error": None}
        compared = {"error": 0.3, "error_squared_sd": 0.1, "gap": 2} if point == 2 else {}
        story.note(
            "lapse",
            field=0,
            point=point,
            frames=[mark | compared],
            gap=1,
            why="learning",
            event=None,
            running_error=[0.3, 0.1],
        )
    page = drawn(story.end("completed").closed())
    assert "0 frames were skipped" in page.words
    assert "the error at the end" not in page.words and "Error of rebuilt" not in page.html
    assert summarize(story.folder)["lapse"]["error"] is None


# ---------------------------------------------------------------------- belief


def a_belief(**changes: Any) -> Data:
    """What an engine would have put into the ledger."""

    def effect(values: list[Any]) -> Data:
        rising = [0.1 + 0.2 * i for i in range(len(values))]
        columns = ("score", "bleaching", "allowed", "average_score", "average_bleaching")
        return {"values": values, "score_sd": [0.05] * len(values)} | dict.fromkeys(columns, rising)

    at = {"depletion_power": 120.0, "dwell_time": 9.0, "gate": "late"}
    here = {"score": 0.61, "score_sd": 0.04, "bleaching": 0.17, "allowed": 0.96}
    share = {"first": 0.3, "total": 0.42}
    return {
        "at": at,
        "predicted": here,
        "effects": {
            "depletion_power": effect([0.0, 100.0, 350.0]),
            "dwell_time": effect([1.0, 10.0, 100.0]),
            "gate": effect(["open", "late"]),
        },
        "importance": {name: {"score": share, "bleaching": share} for name in at},
        "front": [
            {"settings": at, **here, "score": 0.2 * i, "bleaching": 0.1 * i} for i in range(4)
        ],
        "why": ["Half the power <b>would</b> do.", "Twice is too much."],
    } | changes


def test_what_the_model_believes_is_drawn_apart_from_what_was_measured(tmp_path: Path) -> None:
    story = Story(tmp_path / "run", a_config("optimize")).begin().trials(6)
    story.note("belief", **a_belief(why=["That is outdated."]))
    story.note("belief", **a_belief())
    page = drawn(story.closed())
    assert "What the model believes" in page.words and "not measured" in page.words
    assert "Half the power <b>would</b> do." in page.words and "outdated" not in page.words
    assert "or predicted outside of what the model believes." in page.words
    assert page.html.count('class="chart"') == 2 + 3 + 1 + (1 + 2 + 3)
    part = page.html[page.html.index("What the model believes") :]
    labels = re.findall(r'aria-label="([^"]*)"', part)
    for name in ("depletion power", "dwell time", "gate"):
        assert f"Predicted score and bleaching against {name}" in labels
        assert sum(f"{name} 0.42" in label for label in labels) == 2
    assert "recommended: predicted score 0.610 ± 0.040" in part.replace("\N{NO-BREAK SPACE}", " ")
    assert part.count('class="area within"') == 2, "a choice has no band"
    assert part.count('class="mark model"') == 4 + 1, "the front and its legend"


@pytest.mark.slow
def test_a_belief_in_part_or_of_other_settings_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    assert "model believes" not in drawn(completed(tmp_path / "none")).words
    beliefs: list[Data] = [
        {"why": [EVIL]},
        {"effects": {}, "importance": {}, "front": [], "why": []},
        {"effects": {EVIL: a_belief()["effects"]["gate"]}},
        {"importance": {EVIL: a_belief()["importance"]["gate"]}},
        {"front": a_belief()["front"]},
    ]
    for number, belief in enumerate(beliefs):
        story = Story(tmp_path / str(number), a_config("optimize")).begin()
        story.note("belief", **belief)
        page = drawn(story.closed())
        assert "What the model believes" in page.words
        assert "script" not in page.tags


# ---------------------------------------------------------------------- trust


@pytest.mark.slow
def test_hostile_words_stay_words(tmp_path: Path) -> None:
    settings = {
        EVIL: {**DWELL, "unit": "µs"},
        "power": {**DWELL, "unit": EVIL, "watts_per_unit": 1, "laser": EVIL, "safe": 1},
        "gate": {
            "device": EVIL,
            "property": "P",
            "kind": "choice",
            "choices": [EVIL, "b"],
            "start": "b",
        },
    }
    config = a_config(
        "optimize",
        dose={"budget_J": {EVIL: 1e-3}},
        microscope__settings=settings,
        microscope__exposure={"dwell_time": EVIL},
        microscope__modes={"sted": {}, "confocal": {}},
    )
    story = Story(tmp_path / "a&b", config).begin()
    for i in range(2):
        tried = {EVIL: 10.0, "power": 2.0, "gate": EVIL}
        story.measured(f"trial {i + 1}", i, 0.5, **tried)
        story.note("trial", settings=tried, objectives={"score": 0.5, "bleaching": 0.1})
    story.retests({"start": [0.3], "best": [0.4]}, gate=EVIL)
    page = drawn(story.fault(EVIL).end("failed", EVIL).closed())
    assert "<script" not in page.html and "script" not in page.tags
    assert EVIL in page.words and "a&b" in page.words
    save_picture(story.folder, tmp_path / "evil.png")


def test_damaged_frames_are_named_and_not_shown(tmp_path: Path) -> None:
    folder = completed(tmp_path / "run")
    best = summarize(folder)["frames"]["acquired"] - 5  # STED frame of the middle retest of best
    chunk = folder / "raw.ome.zarr" / "0" / "c" / str(best) / "0" / "0"
    chunk.write_bytes(b"\1" * chunk.stat().st_size)
    page = drawn(folder)
    assert "Not on disk as the ledger recorded" in page.words and f"frames {best}." in page.words
    with pytest.raises(UserError, match="damaged"):
        save_picture(folder, tmp_path / "picture.png")


def test_run_without_its_images_is_still_drawn(tmp_path: Path) -> None:
    folder = completed(tmp_path / "run")
    (folder / "raw.ome.zarr").rename(tmp_path / "gone")
    page = drawn(folder)
    assert "0.600 ± 0.100" in page.words and not page.addresses
    assert "Not on disk" in page.words


@pytest.mark.slow
def test_run_is_left_as_it_was(tmp_path: Path) -> None:
    folder = completed(tmp_path / "run")

    def contents() -> dict[Path, bytes]:
        # SQLite's own files beside the ledger come and go with a reader.
        files = [f for f in folder.rglob("*") if f.is_file() and "-" not in f.suffix]
        return {f: f.read_bytes() for f in files}

    before = contents()
    write_report(folder, tmp_path / "report.html")
    save_picture(folder, tmp_path / "picture.png")
    assert contents() == before


@pytest.mark.process
@pytest.mark.slow
def test_nothing_heavy_is_loaded_that_a_report_does_not_need(tmp_path: Path) -> None:
    folder = completed(tmp_path / "run")
    code = (
        "import json, sys; from pathlib import Path\n"
        "from agent.ui.report import save_picture, write_report\n"
        "write_report(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "save_picture(Path(sys.argv[1]), Path(sys.argv[3]))\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    args = [str(folder), str(tmp_path / "r.html"), str(tmp_path / "p.png")]
    done = subprocess.run(
        [sys.executable, "-c", code, *args], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "pymmcore_plus", "matplotlib.pyplot", "scipy.stats"}
    assert not heavy & set(json.loads(done.stdout))


def test_mistakes_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run folder"):
        write_report(tmp_path, tmp_path / "r.html")
    folder = Story(tmp_path / "run", a_config("optimize")).begin().closed()
    with pytest.raises(UserError, match="cannot be written"):
        write_report(folder, tmp_path / "nowhere" / "r.html")
    with pytest.raises(UserError, match="retested"):
        save_picture(folder, tmp_path / "p.png")
