"""The schedule, the true time of frames, and what becomes of time points that are too late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from agent.record.folder import read_config
from agent.record.recording import Recording, Taken
from agent.record.summary import summarize
from agent.run import Session
from agent.run.clock import Clock
from agent.run.replay import replay
from devices.shot import Shot
from tests import faulty
from tests.doubles.interpolators import Blend
from tests.doubles.restorers import Doubling
from tests.faulty import cli
from tests.helpers.runs import cut_after, recorded, run_session

STALL = {"options": {"frame_s": 1.0, "slow_from": 3, "slow_to": 4}}
"""A camera whose fourth frame takes ten time points."""
EVERY = {"frames": 20, "interval_s": 0.1, "fields": 1}


class Now:
    """The computer's clock, set by hand."""

    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def times(run: Path) -> list[float]:
    return [taken.frame["time_s"] for _, taken in sorted(recorded(run).taken.items())]


def points(run: Path) -> list[int]:
    """Time points of the frames, by what they were taken for."""
    return [int(t.shot["purpose"].split()[2].strip(",")) for t in recorded(run).taken.values()]


# ---------------------------------------------------------------------- the clock by itself


def test_the_schedule_stands_still_where_the_true_time_does_not() -> None:
    now = Now()
    clock = Clock(now=now)
    now.s += 6  # a filter warms up
    assert (clock.schedule_s, clock.time_s) == (0, 6)
    clock.go()
    now.s += 2
    with clock.standing_still():
        now.s += 30
        assert clock.schedule_s == 2
    now.s += 1
    assert (clock.schedule_s, clock.time_s) == (3, 39)
    clock.shift(0.5)
    assert (clock.schedule_s, clock.time_s) == (2.5, 39)


def test_a_pause_before_the_first_frame_does_not_start_the_schedule() -> None:
    now = Now()
    clock = Clock(now=now)
    with clock.standing_still():
        now.s += 5
    now.s += 5
    assert clock.schedule_s == 0


def test_a_simulated_sample_has_its_own_time_for_both() -> None:
    simulated = [0.0]
    clock = Clock(lambda: simulated[0])
    clock.go()
    simulated[0] = 40
    assert (clock.schedule_s, clock.time_s) == (40, 40)
    clock.shift(4)
    assert (clock.schedule_s, clock.time_s) == (36, 40)
    assert clock.dated(Shot("sted", at_s=50)).at_s == 54


def test_a_resumed_run_is_as_old_as_it_is() -> None:
    """Its schedule continues where it stood; the hours in between still count for the sample."""
    born = datetime.now(UTC) - timedelta(hours=2)
    frame = {"time_s": 62.0, "schedule_s": 60.0}
    left = Recording(
        taken={0: Taken({}, frame)}, sessions=[{"at": born.isoformat(timespec="milliseconds")}]
    )
    clock = Clock.of(left, lambda: None)
    assert clock.schedule_s == 60
    assert clock.time_s == pytest.approx(7200, abs=30)
    left.sessions[0]["at"] = (born + timedelta(hours=9)).isoformat()  # somebody set the clock
    assert Clock.of(left, lambda: None).time_s == pytest.approx(62, abs=30)
    del frame["schedule_s"]  # as in runs of earlier versions
    assert Clock.of(left, lambda: None).schedule_s == 62


# ---------------------------------------------------------------------- runs


@pytest.mark.process
@pytest.mark.slow
def test_no_time_points_are_lost_to_a_filter_that_warms_up(tmp_path: Path) -> None:
    result, run = run_session(
        tmp_path,
        session={"restore": Doubling(warm_up_s=1.0)},
        live={"frames": 8, "interval_s": 0.1},
        filter={"model": "actin-small"},
    )
    assert result.status == "completed", result.reason
    assert times(run)[0] > 1.0, "true time is counted from the run's birth"
    assert times(run)[-1] - times(run)[0] > 0.5, "time points were made up for"


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["live", "timelapse"])
def test_after_a_stall_the_schedule_is_shifted(
    plan: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lapse = {"frames": 8, "interval_s": 0.1}
    result, run = run_session(tmp_path, session={}, plan=plan, camera=STALL, **{plan: lapse})
    assert result.status == "completed", result.reason
    taken = times(run)
    assert len(taken) == 8
    assert taken[-1] - taken[3] > 0.25, "time points were made up for"
    late = recorded(run).late
    assert {one["policy"] for one in late} == {"shift"}
    assert any(one["at_s"] == pytest.approx(0.4) and one["by_s"] > 0.5 for one in late)
    assert replay(run).difference is None
    shown = summarize(run)["late"]
    assert (shown["times"], shown["skipped"]) == (len(late), 0)
    code, out, _ = cli(capsys, "show", run)
    assert code == 0 and "the schedule shifted by" in out


@pytest.mark.slow
def test_after_a_stall_time_points_are_skipped_if_so_asked(tmp_path: Path) -> None:
    lapse = EVERY | {"fields": 2, "late": "skip"}
    result, run = run_session(tmp_path, session={}, plan="timelapse", camera=STALL, timelapse=lapse)
    assert result.status == "completed", result.reason
    late = recorded(run).late
    assert late[0]["policy"] == "skip" and max(one["points"] for one in late) >= 8
    skipped = sum(one["frames"] for one in late)
    assert skipped == 2 * sum(one["points"] for one in late)
    frames = summarize(run)["frames"]
    assert (frames["planned"], frames["skipped"]) == (40, skipped)
    assert frames["acquired"] == 40 - skipped
    # Those that are left are where they belong.
    for index, taken in recorded(run).taken.items():
        if index != 3:
            assert taken.frame["schedule_s"] > taken.shot["at_s"] - 0.02
    assert replay(run).difference is None


def test_live_goes_on_with_the_next_time_point(tmp_path: Path) -> None:
    live = {"frames": 8, "interval_s": 0.1, "late": "skip"}
    result, run = run_session(tmp_path, session={}, camera=STALL, live=live)
    assert result.status == "completed", result.reason
    at_s = [taken.shot["at_s"] for taken in recorded(run).taken.values()]
    assert len(at_s) == 8, "each frame that was asked for is taken"
    assert at_s[4] - at_s[3] > 0.7
    assert replay(run).difference is None


@pytest.mark.process
@pytest.mark.slow
def test_a_lapse_that_skips_takes_what_is_late_at_the_next_time_point(tmp_path: Path) -> None:
    lapse = EVERY | {"frames": 24, "gap": 2, "acquire": "adaptive", "late": "skip"}
    result, run = run_session(
        tmp_path,
        session={"interpolate": Blend()},
        plan="timelapse",
        camera=STALL | {"class": "tests.faulty:StillCamera"},
        timelapse=lapse,
    )
    assert result.status == "completed", result.reason
    late = recorded(run).late
    assert late[0]["policy"] == "skip" and late[0]["frames"] == 0
    taken = points(run)
    assert taken[0] == 0 and taken[-1] == 23 and max(b - a for a, b in pairwise(taken)) >= 8
    frames = summarize(run)["frames"]
    assert frames["acquired"] + frames["skipped"] == frames["planned"] == 24
    assert frames["reconstructed"] == frames["skipped"]
    assert replay(run).difference is None


@pytest.mark.slow
def test_what_was_skipped_stays_skipped_when_the_run_is_resumed(tmp_path: Path) -> None:
    lapse = EVERY | {"late": "skip"}
    result, run = run_session(
        tmp_path,
        session={"make_plan": cut_after(5)},
        plan="timelapse",
        camera=STALL,
        timelapse=lapse,
    )
    assert result.status == "failed"
    before, taken = recorded(run).late, points(run)
    assert max(one["points"] for one in before) >= 8
    faulty.made.clear()
    session = Session(read_config(run), run / "config.yaml", run)
    result = session.run()
    assert result.status == "completed", result.reason
    assert recorded(run).late[: len(before)] == before
    assert points(run)[:5] == taken
    assert session.progress.skipped == summarize(run)["frames"]["skipped"]
    assert replay(run).difference is None
