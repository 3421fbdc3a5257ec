"""A time-lapse that looks for better settings now and then, on the virtual microscope."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.config import RunConfig, load
from agent.config.plans import ReoptimizeConfig
from agent.optimizer.baselines import RandomSearch
from agent.optimizer.space import Space
from agent.plan import LAPSE, REOPTIMIZE, REOPTIMIZED, TRIED, Answer, Frame, Note, Plan
from agent.plans.adaptive.light_budget import LightBudget
from agent.plans.reoptimize import Reoptimizing
from agent.plans.search_trigger import SearchTrigger
from agent.record.folder import new_folder, read_config
from agent.record.summary import summarize
from agent.run import Result, Session, opening
from agent.run.replay import replay
from agent.ui.report.page import render
from agent.ui.report.run_data import Run
from devices.config import Value
from devices.shot import Field, Shot
from models.quality.score import Score
from tests.doubles.interpolators import Blend
from tests.faulty import cli
from tests.helpers.runs import cut_after, recorded
from tests.plans.test_lapse_run import CONFIG, SMALL, assert_whole

SEARCHING = SMALL | {
    "microscope.virtual_sted.width_px": 32,
    "microscope.virtual_sted.height_px": 32,
    "microscope.virtual_sted.motion_nm_per_s": 0.05,
    "microscope.virtual_sted.drift_nm_per_s": 0.0,
    "microscope.settings.excitation_power.start": 4,
    "microscope.settings.depletion_power.start": 30,
    "analysis.score": True,
    "optimize.engine": "sobol",
    "optimize.search": {"excitation_power": [4, 25]},
    "timelapse.gap": 3,
    "timelapse.frames": 14,
    "timelapse.reoptimize": {"every": 6, "trials": 4, "bleaching_limit": 1.0},
}


def brightness(frames: list[Any]) -> list[Score]:
    """The brighter the better."""
    return [Score(min(1.0, float(pixels.mean()) / 8), 0.01) for pixels in frames]


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's weights are not looked at: something else rebuilds."""
    monkeypatch.setattr(opening, "check_interpolator", lambda config, source: None)


def config(**changes: Any) -> RunConfig:
    asked = SEARCHING | {key.replace("__", "."): value for key, value in changes.items()}
    return load(CONFIG, [f"{key}={json.dumps(value)}" for key, value in asked.items()])


def lapse(
    folder: Path, make_plan: Callable[[RunConfig], Plan] | None = None, **changes: Any
) -> tuple[Result, Path]:
    asked = config(**changes)
    run = new_folder(asked, folder, folder / "run")
    started = Session(
        asked, CONFIG, run, interpolate=Blend(), scorer=brightness, make_plan=make_plan
    )
    started.progress.of.asked = started.progress.planned or asked.timelapse.frames
    return started.run(), run


@lru_cache(maxsize=1)
def _plain(folder: Path) -> Path:
    (folder / "reoptimized").mkdir()
    result, run = lapse(folder / "reoptimized")
    assert (result.status, result.safe) == ("completed", True), result.reason
    return run


@pytest.fixture
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adaptive run that searched once; not to be changed."""
    return _plain(tmp_path_factory.getbasetemp())


def powers(run: Path) -> dict[int, float]:
    """Excitation power by time point, of frames that are not of a search."""
    shots = [taken.shot for _, taken in sorted(recorded(run).taken.items())]
    return {
        int(shot["purpose"].split(",")[0].split()[-1]): shot["settings"]["excitation_power"]
        for shot in shots
        if shot["purpose"].startswith("time point")
    }


# ---------------------------------------------------------------------- what is there


@pytest.mark.process
@pytest.mark.slow
def test_what_was_found_is_used_from_then_on(plain: Path) -> None:
    (begun,), (found,) = (recorded(plain).notes_on(one) for one in (REOPTIMIZE, REOPTIMIZED))
    tried = recorded(plain).notes_on(TRIED)
    assert begun["why"] == "every" and begun["point"] >= 5
    assert [note["trial"] for note in tried] == [1, 2, 3, 4]
    assert tried[0]["settings"] == begun["settings"] == {"excitation_power": 4}
    assert found["changed"] and tried[-1]["settings"] == found["settings"]
    best = found["settings"]["excitation_power"]
    assert best == max(note["settings"]["excitation_power"] for note in tried)
    for point, power in powers(plain).items():
        assert power == pytest.approx(4 if point <= begun["point"] else best)
    # Trials have fresh fields of their own.
    shots = [taken.shot for taken in recorded(plain).taken.values()]
    trials = {s["field"]["index"] for s in shots if s["purpose"].startswith("search 1, trial")}
    assert len(trials) == 4 and 0 not in trials


@pytest.mark.slow
def test_no_frame_is_rebuilt_from_two_at_different_settings(plain: Path) -> None:
    last = recorded(plain).notes_on(REOPTIMIZED)[0]["point"]
    assert {last, last + 1} <= powers(plain).keys()
    kinds = assert_whole(plain)
    assert kinds["reconstructed"] >= 2
    for row in recorded(plain).rebuilt.values():
        assert row["after"][1] <= last or row["before"][1] > last


@pytest.mark.slow
def test_a_change_of_settings_is_no_change_of_the_sample(plain: Path) -> None:
    last = recorded(plain).notes_on(REOPTIMIZED)[0]["point"]
    events = summarize(plain)["lapse"]["events"]
    assert {"field": 0, "point": last + 1, "kind": "settings"} in events
    assert "brightness" not in {event["kind"] for event in events}
    notes = {note["point"]: note for note in recorded(plain).notes_on(LAPSE)}
    assert notes[last + 1]["brightness"] > 2 * notes[last]["brightness"]
    assert (notes[last + 1]["gap"], notes[last + 1]["why"]) == (1, "event")


@pytest.mark.slow
def test_it_is_counted_and_told(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = summarize(plain)
    frames = summary["frames"]
    assert frames["planned"] == 14 + 12 == frames["acquired"] + frames["skipped"]
    assert summary["lapse"]["light_saved"] == pytest.approx(frames["skipped"] / 14)
    assert [note["changed"] for note in summary["reoptimized"]] == [True]
    code, out, _ = cli(capsys, "show", plain)
    assert code == 0 and "by 4 trials: excitation_power 4 → " in out
    page = render(Run.load(plain))
    assert "by 4 trials: excitation_power 4 → " in page and "Field 30" not in page


@pytest.mark.slow
def test_a_replay_takes_the_same_decisions(plain: Path) -> None:
    assert replay(plain).difference is None


@pytest.mark.process
@pytest.mark.slow
def test_an_interrupted_search_is_gone_on_with(plain: Path, tmp_path: Path) -> None:
    """Between the frames of its third trial."""
    first = next(
        index
        for index, taken in sorted(recorded(plain).taken.items())
        if taken.shot["purpose"].startswith("search")
    )
    result, run = lapse(tmp_path, make_plan=cut_after(first + 7))
    assert result.status == "failed" and "power cut" in result.reason
    again = Session(
        read_config(run), run / "config.yaml", run, interpolate=Blend(), scorer=brightness
    ).run()
    assert again.status == "completed", again.reason
    assert recorded(run).notes == recorded(plain).notes
    assert_whole(run)


@pytest.mark.slow
def test_every_time_point_and_two_fields(tmp_path: Path) -> None:
    result, run = lapse(
        tmp_path, timelapse__acquire="every", timelapse__fields=2, timelapse__frames=7,
        timelapse__reoptimize={"every": 2, "trials": 3, "searches": 5, "bleaching_limit": 1.0},
    )  # fmt: skip
    assert result.status == "completed", result.reason
    # After the second time point and the fourth; for a third search too few are left.
    assert [note["point"] for note in recorded(run).notes_on(REOPTIMIZE)] == [1, 3]
    planned = 2 * 7 + sum(3 * note["trials"] for note in recorded(run).notes_on(REOPTIMIZED))
    assert len(recorded(run).taken) == planned == summarize(run)["frames"]["planned"]
    assert replay(run).difference is None


@pytest.mark.slow
def test_the_score_falls_and_a_trial_has_none(tmp_path: Path) -> None:
    seen = 0

    def failing(frames: list[Any]) -> list[Score]:
        nonlocal seen
        seen += len(frames)
        if seen == 6:  # the first trial: frames are good three times, and bad twice
            raise ArithmeticError("the network saw a NaN")
        return [Score(0.8 if seen <= 3 else 0.3, 0.01) for _ in frames]

    asked = config(
        timelapse__acquire="every", timelapse__frames=8, analysis__on_error="skip",
        timelapse__reoptimize={"when_score_falls_by": 0.2, "trials": 3, "bleaching_limit": 1.0},
    )  # fmt: skip
    run = new_folder(asked, tmp_path, tmp_path / "run")
    result = Session(asked, CONFIG, run, scorer=failing).run()
    assert result.status == "completed", result.reason
    (begun,), (found,) = (recorded(run).notes_on(one) for one in (REOPTIMIZE, REOPTIMIZED))
    assert (begun["why"], begun["point"]) == ("score", 4)
    # Better than what, nobody knows.
    assert not found["changed"] and set(powers(run).values()) == {4}
    assert [note["trial"] for note in recorded(run).notes_on(TRIED) if "failed" in note] == [1]
    assert replay(run).difference is None


@pytest.mark.slow
def test_light_for_the_rest_is_not_spent_on_a_search(tmp_path: Path) -> None:
    """There is enough for all time points at the starting settings, and for one trial."""
    asked = config()
    scope = asked.microscope
    each = scope.dose_j({**scope.start(), "excitation_power": 4.0}, 32 * 32)["excitation"]
    confocal = scope.dose_j({**scope.start(), **scope.modes["confocal"]}, 32 * 32)["excitation"]
    result, run = lapse(
        tmp_path, timelapse__acquire="every", timelapse__frames=8,
        dose__budget_J={"excitation": 8 * each + (each + 2 * confocal) * 1.2},
        timelapse__reoptimize={"every": 3, "trials": 3, "bleaching_limit": 1.0},
    )  # fmt: skip
    assert result.status == "completed", result.reason
    (found,) = recorded(run).notes_on(REOPTIMIZED)
    assert (found["trials"], found["changed"]) == (1, False)
    assert len(recorded(run).taken) == 8 + 3 == summarize(run)["frames"]["planned"]


def test_check_counts_its_frames(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [f"{key}={json.dumps(value)}" for key, value in SEARCHING.items()]
    code, out, _ = cli(capsys, "check", CONFIG, *[w for a in asked for w in ("--set", a)])
    assert code == 0 and "6 … 26 of 32 × 32 px" in out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"timelapse__reoptimize": {"trials": 4}}, ("timelapse.reoptimize", "`every` or")),
        ({"analysis__score": False}, ("analysis.score", "timelapse.reoptimize")),
        ({"timelapse__mode": "confocal"}, ("timelapse.mode", "'confocal'")),
        (
            {"timelapse__reoptimize": {"every": 2, "searches": 9, "trials": 6}},
            ("microscope.fields", "49", "55"),
        ),
        ({"optimize__search": {"excitation_power": [5, 20]}}, ("excitation_power", "start (4")),
        ({"optimize__search": {"gain": [5, 20]}}, ("optimize.search.gain", "unknown setting")),
        ({"timelapse__reoptimize": {"every": 0}}, ("timelapse.reoptimize.every", "0")),
        ({"timelapse__reoptimize": {"evry": 2}}, ("timelapse.reoptimize.evry", "every")),
    ],
)
def test_what_does_not_fit_is_refused(
    capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: tuple[str, ...]
) -> None:
    asked = SEARCHING | {key.replace("__", "."): value for key, value in changes.items()}
    words = [w for k, v in asked.items() for w in ("--set", f"{k}={json.dumps(v)}")]
    code, _, err = cli(capsys, "check", CONFIG, *words)
    assert code == 2
    for part in said:
        assert part in err


# ---------------------------------------------------------------------- parts


def test_a_fall_of_the_score_is_due_once() -> None:
    when = SearchTrigger(points=100, least=5, searches=3, fall=0.1)
    for point, score in enumerate([0.6, 0.61, 0.2, 0.6, 0.58, 0.45, 0.44]):
        assert when.due(point) is None
        when.see(0, score)
    assert when.due(7) == "score"
    when.searched(7)
    for point in range(8, 20):
        when.see(0, 0.44)
        assert when.due(point) is None


def test_few_time_points_are_not_worth_a_search() -> None:
    when = SearchTrigger(points=20, least=5, searches=2, every=4)
    assert next(p for p in range(20) if when.due(p)) == 3
    when.searched(3)
    assert [p for p in range(20) if when.due(p)] == list(range(7, 15))
    when.searched(7)
    assert not any(when.due(p) for p in range(20))


def test_light_is_kept_for_the_rest_in_all_and_for_each_field() -> None:
    light = LightBudget(
        lambda settings, pixels: {"depletion": 1.0}, {"depletion": 20.0}, {}, fields=2
    )
    light.spend({}, 1, 0)
    light.spend({}, 1, 1)
    # 18 J are left: 2 fields × 6 frames of 1 J, and 6 J for trials.
    assert light.allows({"depletion": 6.0}, {"depletion": 1.0}, 6)
    assert not light.allows({"depletion": 6.1}, {"depletion": 1.0}, 6)
    light.spend_elsewhere({"depletion": 6.0})
    assert light.frames(0) == 6
    field = LightBudget(lambda settings, pixels: {"depletion": 1.0}, {}, {"depletion": 5.0})
    field.spend({}, 1, 0)
    assert field.allows({"depletion": 5.0}, {"depletion": 2.0}, 2)
    assert not field.allows({"depletion": 5.1}, {"depletion": 2.0}, 2)
    assert not field.allows({}, {"depletion": 2.1}, 2)


class Advice(RandomSearch):
    """Recommends the brightest settings, for any outcomes."""

    def recommend(self) -> dict[str, Value]:
        return {"excitation_power": 20.0}


@pytest.mark.parametrize(
    ("scores", "left", "changed"),
    [
        ((0.5, 0.6), (1.0, 1.0), True),
        ((0.6, 0.5), (1.0, 1.0), False),  # no better
        ((0.5, 0.51), (1.0, 1.0), False),  # no more than the noise of two frames
        ((0.5, 0.6), (1.0, 0.5), False),  # but bleaches
        ((0.6, 0.5), (0.5, 1.0), True),  # no better, but the settings in use bleach
        ((0.6, 0.5), (0.5, 0.5), False),
    ],
)
def test_the_recommended_settings_must_be_better(
    scores: tuple[float, float], left: tuple[float, float], changed: bool
) -> None:
    """`left` is the share of the dye that is left after the frame, then and now."""
    asked = config()
    reoptimize = ReoptimizeConfig(every=1, trials=3, bleaching_limit=0.2)
    power = {"excitation_power": asked.microscope.settings["excitation_power"]}
    space = Space(power, asked.optimize.search)
    better = Reoptimizing(
        reoptimize,
        SearchTrigger(points=50, least=3, searches=1, every=1),
        LightBudget(lambda settings, pixels: {}, {}, {}),
        engine=lambda number, affordable: Advice(space, bleaching_limit=0.2, seed=number),
        start={"excitation_power": 4.0},
        fields=[Field(i, i, 0) for i in range(3)],
        scope=asked.microscope,
        rest=lambda point: 10,
    )
    steps = better.search(0)
    pattern = 40 + 40 * np.kron(np.eye(2), np.ones((16, 16)))
    after = {1: left[0], 2: 1.0, 3: left[1]}
    found: Note | None = None
    answer: Answer = None
    taken = 0
    with pytest.raises(StopIteration) as ended:
        while True:
            step = steps.send(answer)
            answer = None
            if isinstance(step, Note):
                found = step
            elif isinstance(step, Shot):
                trial = int(step.purpose.split()[-1])
                share = after[trial] if taken % 3 == 2 else 1.0
                score = Score({1: scores[0], 3: scores[1]}.get(trial, 0.1), 0.01)
                settings = {**asked.microscope.start(), **step.settings}
                pixels = (share * pattern).round().astype(int)
                answer = Frame(taken, step, settings, pixels, 0.0, lambda score=score: score)
                taken += 1
    assert taken == 9 and ended.value.value is changed
    assert found is not None and found.data["changed"] is changed
    assert better.settings == ({"excitation_power": 20.0} if changed else {})
