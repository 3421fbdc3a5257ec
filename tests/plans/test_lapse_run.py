"""A time-lapse that skips, run on the virtual microscope: what is on disk, what may go wrong."""

from __future__ import annotations

import json
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from agent.config import RunConfig, load
from agent.offline.files.export import export
from agent.plan import Plan
from agent.plans.build import build_plan
from agent.record.folder import new_folder, read_config
from agent.record.summary import summarize
from agent.run import Result, Session, opening
from agent.run.replay import replay
from agent.steering.control_file import append
from devices.shot import Shot
from tests import faulty
from tests.doubles.interpolators import Blend
from tests.doubles.restorers import Doubling
from tests.faulty import cli
from tests.helpers.runs import cut_after, frames_in, recorded, run_session, until

CONFIG = faulty.ROOT / "configs" / "timelapse.yaml"
SMALL = {
    "microscope.virtual_sted.width_px": 48,
    "microscope.virtual_sted.height_px": 48,
    "microscope.virtual_sted.size_um": 9,
    "microscope.virtual_sted.structure": "actin",
    "microscope.virtual_sted.motion_nm_per_s": 0.3,
    "microscope.virtual_sted.drift_nm_per_s": 0.1,
    "microscope.fields.pitch_um": 0.5,
    "microscope.settings.excitation_power.start": 12,
    # Without depletion a simulated frame takes no time.
    "microscope.settings.depletion_power.start": 0,
    "timelapse.frames": 12,
    "timelapse.fields": 1,
    "timelapse.model": "ours.safetensors",
    "timelapse.acquire": "adaptive",
    "timelapse.gap": 4,
}


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The config's weights are not looked at: something else rebuilds."""
    monkeypatch.setattr(opening, "check_interpolator", lambda config, source: None)


def config(**changes: Any) -> RunConfig:
    asked = SMALL | {key.replace("__", "."): value for key, value in changes.items()}
    return load(CONFIG, [f"{key}={json.dumps(value)}" for key, value in asked.items()])


def lapse(
    tmp_path: Path,
    blend: Blend | None = None,
    make_plan: Callable[[RunConfig], Plan] | None = None,
    **changes: Any,
) -> tuple[Result, Path]:
    asked = config(**changes)
    run = new_folder(asked, tmp_path, tmp_path / "run")
    started = Session(asked, CONFIG, run, interpolate=blend or Blend(), make_plan=make_plan)
    # A plan of the test's has no planned number, which is the config's here.
    started.progress.of.asked = started.progress.planned or asked.timelapse.frames
    return started.run(), run


@lru_cache(maxsize=1)
def _plain(folder: Path) -> Path:
    result, run = lapse(folder)
    assert (result.status, result.safe) == ("completed", True), result.reason
    return run


@pytest.fixture
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adaptive run that nothing happened to; not to be changed."""
    return _plain(tmp_path_factory.getbasetemp())


def marks(run: Path) -> list[dict[str, Any]]:
    group = zarr.open_group(run / "reconstructed.ome.zarr", mode="r")
    found: Any = group.attrs["stedfast"]
    return list(found["frames"])


def movie(run: Path) -> Any:
    return zarr.open_array(run / "reconstructed.ome.zarr" / "0", mode="r")


def assert_whole(run: Path) -> Counter[str]:
    """Every time point and field is marked once; measured ones are the raw ones, bit for bit."""
    asked = read_config(run).timelapse
    found = marks(run)
    assert len(found) == asked.frames * asked.fields
    assert len({(mark["field"], mark["point"]) for mark in found}) == len(found)
    raw, made = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r"), movie(run)
    assert made.dtype == raw.dtype and made.shape[:2] == (asked.frames, asked.fields)
    channel = {field: at for at, field in enumerate(dict.fromkeys(m["field"] for m in found))}
    for mark in found:
        pixels = np.asarray(made[mark["point"], channel[mark["field"]]])
        if mark["kind"] in ("measured", "audited"):
            assert np.array_equal(pixels, np.asarray(raw[mark["frame"]]))
        else:
            assert mark["frame"] is None
            assert (pixels.max() > 0) == (mark["kind"] == "reconstructed")
    return Counter(mark["kind"] for mark in found)


# ---------------------------------------------------------------------- what is there


@pytest.mark.process
@pytest.mark.slow
def test_a_still_sample_is_skipped_and_every_time_point_is_there(plain: Path) -> None:
    kinds = assert_whole(plain)
    summary = summarize(plain)
    frames = summary["frames"]
    assert frames["planned"] == 12 == frames["acquired"] + frames["skipped"]
    assert frames["skipped"] == frames["reconstructed"] == kinds["reconstructed"] >= 3
    assert summary["lapse"]["light_saved"] == pytest.approx(frames["skipped"] / 12)
    expected = [m["expected_error"] for m in marks(plain) if m["kind"] == "reconstructed"]
    assert all(0 < error <= 0.2 for error in expected)
    assert summary["lapse"]["error"][0] < 0.2
    assert not summary["faults"]


@pytest.mark.process
@pytest.mark.slow
def test_the_movie_has_the_interval_that_was_measured(tmp_path: Path) -> None:
    """The config's is 0.1 s, and every time point comes half of it later than that."""

    @wraps(build_plan)
    def slower(config: RunConfig) -> Plan:
        steps, answer = build_plan(config), None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration:
                return
            if isinstance(step, Shot) and step.at_s is not None:
                step = replace(step, at_s=1.5 * step.at_s)
            answer = yield step

    asked = {"frames": 5, "interval_s": 0.1, "acquire": "skip", "gap": 2, "model": "ours"}
    session = {"interpolate": Blend(), "make_plan": slower}
    parts: dict[str, Any] = {"plan": "timelapse", "timelapse": asked, "analysis": {"score": False}}
    result, run = run_session(tmp_path, session=session, **parts)
    assert result.status == "completed", result.reason
    assert [mark["frame"] for mark in marks(run)] == [0, None, 1, None, 2]
    times = [taken.frame["time_s"] for _, taken in sorted(recorded(run).taken.items())]
    ome: Any = zarr.open_group(run / "reconstructed.ome.zarr", mode="r").attrs["ome"]
    (multiscale,) = ome["multiscales"]
    assert multiscale["axes"][0]["unit"] == "second"
    (scaled,) = multiscale["datasets"][0]["coordinateTransformations"]
    assert scaled["scale"][0] == pytest.approx(np.median(np.diff(times)) / 2)
    assert scaled["scale"][0] > 0.12


@pytest.mark.slow
def test_a_replay_takes_the_same_decisions_without_an_interpolator(plain: Path) -> None:
    found = replay(plain)
    assert found.difference is None
    assert (found.frames, found.notes) == (len(recorded(plain).taken),) * 2


@pytest.mark.slow
def test_a_changed_answer_is_noticed_by_a_replay(plain: Path, tmp_path: Path) -> None:
    import sqlite3

    run = tmp_path / "run"
    shutil.copytree(plain, run)
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        ledger.execute(
            "UPDATE entries SET data = replace(data, '\"drift_px\": [0', '\"drift_px\": [7')"
            " WHERE kind = 'rebuilt'"
        )
    assert replay(run).difference is not None


@pytest.mark.slow
def test_show_and_check_say_it(
    plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = cli(capsys, "show", plain)
    skipped = summarize(plain)["frames"]["skipped"]
    assert code == 0 and f"skipped    {skipped}, {skipped} rebuilt" in out
    asked = [f"{key}={json.dumps(value)}" for key, value in SMALL.items()]
    code, out, _ = cli(capsys, "check", CONFIG, *[w for a in asked for w in ("--set", a)])
    assert code == 0 and "4 … 12 of 48 × 48 px" in out


@pytest.mark.process
@pytest.mark.slow
def test_every_third_time_point_and_the_last(tmp_path: Path) -> None:
    result, run = lapse(
        tmp_path, timelapse__acquire="skip", timelapse__gap=3, timelapse__fields=2,
        timelapse__frames=9,
    )  # fmt: skip
    assert result.status == "completed"
    taken = [m["point"] for m in marks(run) if m["kind"] == "measured" and m["field"] == 0]
    assert taken == [0, 3, 6, 8]
    kinds = assert_whole(run)
    assert kinds == {"measured": 8, "reconstructed": 10}
    assert replay(run).difference is None
    # Nothing is known of the error where nothing is compared.
    assert {m["expected_error"] for m in marks(run)} == {None}
    assert export(run, tmp_path / "movie.ome.tif", images="reconstructed").series == 2
    with tifffile.TiffFile(tmp_path / "movie.ome.tif") as tiff:
        for field, series in enumerate(tiff.series):
            assert np.array_equal(series.asarray(), np.asarray(movie(run)[:, field]))
        assert str(tiff.ome_metadata).count(">reconstructed<") == 10


# ---------------------------------------------------------------------- what may go wrong


@pytest.mark.process
@pytest.mark.slow
def test_the_process_dies_and_the_run_goes_on(tmp_path: Path) -> None:
    """It dies after every fifth frame, and is started again."""
    result, run = lapse(tmp_path, Blend(die_at=(4,)))
    assert result.status == "completed"
    assert "blind" in {note["why"] for note in recorded(run).notes_on("lapse")}
    summary = summarize(run)
    assert any("process ended" in fault["what"] for fault in summary["faults"])
    frames = summary["frames"]
    assert frames["acquired"] + frames["skipped"] == 12
    kinds = assert_whole(run)
    assert kinds["missing"] == frames["skipped"] - frames["reconstructed"]
    assert replay(run).difference is None


@pytest.mark.process
@pytest.mark.slow
def test_skipped_frames_that_cannot_be_rebuilt_are_marked_missing(tmp_path: Path) -> None:
    result, run = lapse(
        tmp_path, Blend(fail_at=(0,)), timelapse__acquire="skip", timelapse__frames=9
    )
    assert result.status == "completed"
    assert assert_whole(run) == {"measured": 3, "reconstructed": 3, "missing": 3}
    export(run, tmp_path / "movie.ome.tif", images="reconstructed")
    with tifffile.TiffFile(tmp_path / "movie.ome.tif") as tiff:
        assert str(tiff.ome_metadata).count(">missing<") == 3
        absent = [mark["point"] for mark in marks(run) if mark["kind"] == "missing"]
        assert not tiff.series[0].asarray()[absent].any()


@pytest.mark.process
@pytest.mark.slow
def test_an_interrupted_run_is_gone_on_with_in_the_middle_of_a_gap(
    plain: Path, tmp_path: Path
) -> None:
    skipping = next(note for note in recorded(plain).notes_on("lapse") if note["gap"] > 1)
    frames = skipping["point"] + 1
    result, run = lapse(tmp_path, make_plan=cut_after(frames))
    assert result.status == "failed" and "power cut" in result.reason
    assert len(recorded(run).taken) == frames
    again = Session(read_config(run), run / "config.yaml", run, interpolate=Blend()).run()
    assert again.status == "completed", again.reason
    assert_whole(run)
    # It decides as the run that nothing happened to.
    for index, taken in recorded(plain).taken.items():
        assert recorded(run).taken[index].shot == taken.shot
    assert recorded(run).notes == recorded(plain).notes


@pytest.mark.process
@pytest.mark.slow
def test_little_light_is_spread_over_the_run(tmp_path: Path) -> None:
    """The sample asks for every frame; the budget has four of ten."""
    asked = config()
    each = asked.microscope.dose_j(asked.microscope.start(), 48 * 48)
    result, run = lapse(
        tmp_path, timelapse__error=0.001, timelapse__frames=10,
        dose__budget_J={"excitation": 4.5 * each["excitation"]},
    )  # fmt: skip
    assert result.status == "completed", result.reason
    whys = {note["why"] for note in recorded(run).notes_on("lapse")}
    assert "budget" in whys
    assert len(recorded(run).taken) <= 4
    assert_whole(run)


@pytest.mark.process
@pytest.mark.slow
def test_a_budget_that_is_too_small_stops_the_run(tmp_path: Path) -> None:
    asked = config()
    each = asked.microscope.dose_j(asked.microscope.start(), 48 * 48)
    result, run = lapse(tmp_path, dose__budget_J={"excitation": 2.5 * each["excitation"]})
    assert result.status == "stopped" and result.safe
    assert len(recorded(run).taken) == 2
    assert replay(run).difference is None


@pytest.mark.process
@pytest.mark.slow
def test_a_shot_that_is_refused_in_the_middle(tmp_path: Path) -> None:
    """A shot that is refused ends the run; after it is continued, no time point is missing."""

    @wraps(build_plan)  # it is gone on with by the config's
    def failing(asked: RunConfig) -> Plan:
        plan, answer, count = build_plan(asked), None, 0
        while True:
            step = plan.send(answer)
            if isinstance(step, Shot):
                count += 1
                if count == 4:
                    step = Shot("sted", {"dwell_time": 1e9}, step.field, step.at_s, step.purpose)
            answer = yield step

    result, run = lapse(tmp_path, make_plan=failing)
    assert result.status == "failed" and "dwell_time" in result.reason and result.safe
    again = Session(read_config(run), run / "config.yaml", run, interpolate=Blend()).run()
    assert again.status == "completed"
    assert_whole(run)


# ---------------------------------------------------------------------- with a person and a filter


def assert_decided_like(run: Path, plain: Path) -> None:
    """It took the same shots and decisions as the run that nothing happened to."""
    assert {i: taken.shot for i, taken in recorded(run).taken.items()} == {
        i: taken.shot for i, taken in recorded(plain).taken.items()
    }
    assert recorded(run).notes == recorded(plain).notes
    assert replay(run).difference is None


@pytest.mark.process
@pytest.mark.slow
def test_a_pause_a_stop_and_a_resume_change_no_decision(plain: Path, tmp_path: Path) -> None:
    asked = config()
    run = new_folder(asked, tmp_path, tmp_path / "run")
    at_work = Session(asked, CONFIG, run, interpolate=Blend(seconds=0.1))
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(at_work.run()), daemon=True)
    thread.start()
    until(lambda: at_work.progress.frames >= 3)
    append(run, {"pause": True})
    until(lambda: at_work.progress.paused)
    taken = at_work.progress.frames
    assert taken < 6
    began = recorded(run).safe_state, recorded(run).commands
    assert began[1][-1]["told"] == {"pause": True}
    append(run, {"resume": True})
    until(lambda: at_work.progress.frames > taken)
    append(run, {"stop": True})
    thread.join(240)
    (result,) = results
    assert (result.status, result.safe) == ("stopped", True), result.reason
    left = recorded(run)
    assert taken < len(left.taken) < len(recorded(plain).taken)
    assert replay(run).difference is None
    again = Session(asked, run / "config.yaml", run, interpolate=Blend()).run()
    assert again.status == "completed", again.reason
    assert_whole(run)
    assert_decided_like(run, plain)


@pytest.mark.process
@pytest.mark.slow
def test_a_filter_beside_it_changes_neither_frames_nor_decisions(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "check_filter", lambda config, source: None)
    asked = config(filter__model="ours.safetensors", filter__frames="all")
    run = new_folder(asked, tmp_path, tmp_path / "run")
    result = Session(asked, CONFIG, run, restore=Doubling(), interpolate=Blend()).run()
    assert (result.status, result.safe) == ("completed", True), result.reason
    assert_decided_like(run, plain)
    assert_whole(run)
    frames = frames_in(run)
    raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
    before = zarr.open_array(plain / "raw.ome.zarr" / "0", mode="r")
    assert np.array_equal(np.asarray(raw), np.asarray(before))
    filtered = zarr.open_array(run / "filtered.ome.zarr" / "0", mode="r")
    assert filtered.shape[0] == len(frames)
    assert np.array_equal(np.asarray(filtered[:, 0]), 2.0 * np.asarray(raw))
    assert summarize(run)["filtered"]["frames"] == len(frames)


@pytest.mark.slow
def test_the_view_shows_what_was_rebuilt_and_how_good_that_is(plain: Path) -> None:
    from agent.ui.view import charts, payloads
    from agent.ui.view.reader import Reader
    from tests.helpers.pages import ask, run_pages

    reader = Reader(plain)
    reader.refresh()
    told, kinds = payloads.state(reader), Counter(mark["kind"] for mark in marks(plain))
    for kind in ("measured", "reconstructed", "audited", "missing"):
        assert told["counts"][kind] == kinds[kind]
    assert told["done"] == told["planned"] == 12 and told["lapse"]["skipped"] > 0
    assert told["lapse"]["light_saved"] == summarize(plain)["lapse"]["light_saved"]
    assert tuple(told["lapse"]["error"]) == tuple(summarize(plain)["lapse"]["error"])
    strip = payloads.frames(reader)["frames"]
    assert [(row[8], row[1], row[0]) for row in strip] == [
        (mark["point"], mark["kind"], mark["frame"]) for mark in marks(plain)
    ]
    assert reader.course is not None and reader.config is not None
    for name in ("error", "gap"):
        drawn = charts.CHARTS[name](reader.course, reader.config)
        assert drawn is not None and 'class="line within' in drawn.replace("field0", "within")
    with run_pages(plain) as (_, links):
        ask(links, "/api/state")
        number = told["newest"]["reconstructed"]
        expected = [m for m in marks(plain) if m["kind"] == "reconstructed"][-1]
        status, _, headers = ask(links, f"/api/frame/reconstructed/{number}")
        words = f"time point {expected['point']}, field 0, expected error"
        assert status == 200 and headers["x-mode"].startswith(words)
        # A measured time point of the movie is no rebuilt frame, and neither is one to come.
        for other in (0, 999):
            assert ask(links, f"/api/frame/reconstructed/{other}")[0] == 404
