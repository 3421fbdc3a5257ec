"""What the view makes of a ledger, of pixels, and of a folder that is none."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.config import RunConfig, load
from agent.record.ledger import Entry, Ledger
from agent.ui.view import run_state as made
from agent.ui.view.previews import Previews, draw
from agent.ui.view.reader import Reader
from agent.ui.view.run_state import RunState
from agent.ui.view.thinned_curve import ThinnedCurve
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import run_session
from tests.helpers.searches import config_data_of_a_run


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return load(faulty.write(tmp_path / "config.yaml", faulty.config(live={"frames": 50})))


def told(*rows: tuple[Any, ...]) -> list[Entry]:
    """Ledger entries from (kind, data) or (kind, data, frame), a second apart."""
    return [
        Entry(at, f"2026-11-22T10:00:{at % 60:02d}.000+00:00", row[0], (*row, None)[2], row[1])
        for at, row in enumerate(rows, 1)
    ]


SHOT = {"mode": "sted", "settings": {}, "dose_J": {"excitation": 2.0}, "field": None}
SHAPE = {"shape": [32, 32]}
RUN = {"plan": "live", "simulated": True, "planned": 50}


def lapse_note(point: int, *marks: dict[str, Any], field: int = 0) -> tuple[str, dict[str, Any]]:
    data = {"field": field, "point": point, "frames": list(marks), "gap": 2, "why": "error"}
    return "note", {"topic": "lapse", "data": data}


def mark(point: int, frame: int | None, kind: str = "measured", **more: Any) -> dict[str, Any]:
    return {"point": point, "kind": kind, "frame": frame, "expected_error": None, **more}


def test_frames_that_are_skipped_rebuilt_and_audited_are_counted_as_what_they_are(
    tmp_path: Path,
) -> None:
    timelapse = {"frames": 9, "fields": 2, "acquire": "adaptive"}
    file = faulty.write(
        tmp_path / "lapse.yaml", faulty.config(plan="timelapse", timelapse=timelapse)
    )
    course = RunState(load(file))
    assert course.take(
        told(
            ("run", RUN),
            *(
                (kind, {**SHOT, **SHAPE, "time_s": 0.0}, i)
                for i in range(5)
                for kind in ("shot", "frame")
            ),
            lapse_note(0, mark(0, 0), field=7),
            lapse_note(0, mark(0, 1), field=3),
            # One field is rebuilt before the note that names its frames, the other after it.
            ("rebuilt", {"field": 7, "points": [1], "failed": None}),
            lapse_note(2, mark(1, None, "reconstructed", expected_error=0.2), mark(2, 2), field=7),
            lapse_note(2, mark(1, None, "reconstructed"), mark(2, 3), field=3),
        )
    )
    assert course.lapsed is not None and course.lapsed.fields == [7, 3]
    assert course.lapsed.counts == {"measured": 4, "reconstructed": 1, "skipped": 1}
    assert (course.acquired, course.done) == (5, 7)
    assert course.newest == {"raw": 4, "decides": 4, "reconstructed": 2}
    audited = mark(2, 2, "audited", error=0.11, gap=4)
    course.take(
        told(
            ("rebuilt", {"field": 3, "points": [1], "failed": "the process ended"}),
            lapse_note(4, audited, mark(3, None, "reconstructed"), mark(4, 4), field=7),
            ("a kind of later", {"what": "ever"}, 3),
        )
    )
    assert [(one.number, one.kind) for one in course.lapsed.points()] == [
        (0, "measured"), (1, "measured"), (2, "reconstructed"), (3, "missing"),
        (4, "audited"), (5, "measured"), (6, "skipped"), (8, "measured"),
    ]  # fmt: skip
    assert course.frames[2].kind == "audited" and course.frames[2].error == 0.11


def test_light_that_never_fell_is_given_back_and_lost_light_is_not(config: RunConfig) -> None:
    course = RunState(config)
    course.take(
        told(
            ("run", RUN),
            ("shot", SHOT, 0),
            ("void", {}, 0),
            ("shot", SHOT, 0),
            ("shot", SHOT, 0),  # the one before lit the sample but left no frame
            ("frame", {**SHAPE, "time_s": 0.0}, 0),
        )
    )
    assert course.gate is not None and course.gate.total == {"excitation": 4.0}
    assert course.left_s() is None


def test_the_time_left_follows_the_latest_pace(config: RunConfig) -> None:
    course = RunState(config)
    rows: list[tuple[Any, ...]] = [("run", RUN)]
    for index in range(10):
        rows += [("shot", SHOT, index), ("frame", {**SHAPE, "time_s": float(index)}, index)]
    course.take(told(*rows))
    assert course.left_s() == pytest.approx(2 * 40)  # an entry a second, two a frame


def test_memory_does_not_grow_with_the_run(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made, "RECENT", 20)
    course = RunState(config)
    for start in range(0, 300, 10):
        course.take(
            told(
                *(("frame", {**SHAPE, "time_s": float(start + at)}, start + at) for at in range(10))
            )
        )
    assert list(course.frames) == list(range(280, 300)) and course.acquired == 300
    series = ThinnedCurve()
    for at in range(100_000):
        series.add(at)
    assert 300 < len(series.points) <= 801
    assert series.points[0] == (0,) and series.points[-1][0] > 99_000
    steps = {b[0] - a[0] for a, b in zip(series.points, series.points[1:], strict=False)}
    assert len(steps) == 1, "a curve is thinned evenly"


def test_a_search_that_is_told_of_trials_and_settings(tmp_path: Path) -> None:
    config = load(faulty.write(tmp_path / "search.yaml", config_data_of_a_run()))
    course = RunState(config)
    trial = {"settings": {}, "objectives": {"score": 0.5, "bleaching": 0.1}}
    over = {"settings": {}, "objectives": {"score": 0.9, "bleaching": 0.9}}
    notes: list[tuple[str, dict[str, Any]]] = [
        ("trial", trial),
        ("trial", over),
        ("trial", {"settings": {}, "objectives": None, "failed": "why"}),
        ("told", {"key": "depletion_power", "value": [50, 90], "trial": 4}),
        ("told", {"key": "trials", "value": 9, "trials": 9, "trial": 4}),
        ("flagged", {"trial": 4}),
    ]
    rows = [("note", {"topic": topic, "data": data}) for topic, data in notes]
    course.take(told(("run", {**RUN, "planned": 18}), *rows))
    assert course.best() == 1, "the best one is within the limit"
    assert course.spans == {"depletion_power": [50, 90]}
    assert course.planned == 18 + 3 * (9 - 4) + 3
    course.take(
        told(
            (
                "note",
                {"topic": "told", "data": {"key": "depletion_power", "value": "free", "trial": 5}},
            )
        )
    )
    assert course.spans == {"depletion_power": None}


@pytest.mark.parametrize("exact", [True, False])
def test_pictures_show_counts_between_their_limits(exact: bool) -> None:
    pixels = np.zeros((40, 60), np.uint16)
    pixels[:, 30:] = 100
    pixels[:10, :10] = 60_000
    made = draw(pixels, side=64, limits=(0, 200), exact=exact)
    grey = np.asarray(Image.open(io.BytesIO(made.data)))
    assert grey.shape == (40, 60) and made.shape == (40, 60)
    assert abs(int(grey[30, 45]) - 127) <= (0 if exact else 12)
    assert grey[2, 2] > 240 and grey[30, 15] < 15
    assert draw(pixels, side=64, limits=None, exact=exact).limits[0] == 0


@pytest.mark.parametrize("shape", [(1, 500), (700, 3), (333, 777), (2, 2)])
def test_pictures_of_any_shape_are_no_larger_than_asked(shape: tuple[int, int]) -> None:
    made = draw(np.ones(shape), side=64, limits=None, exact=True)
    image = Image.open(io.BytesIO(made.data))
    assert min(image.size) >= 1 and made.shape == shape
    if min(shape) > max(shape) / 64:
        assert max(image.size) <= 64
    nan = draw(np.full(shape, np.nan), side=64, limits=None, exact=True)
    assert not np.asarray(Image.open(io.BytesIO(nan.data))).any()


def test_previews_are_kept_and_missing_frames_are_said_to_be(tmp_path: Path) -> None:
    _, run = run_session(tmp_path, session={}, live={"frames": 3})
    previews = Previews(run, 0.02)
    one = previews.make("raw", 1, side=512, limits=None, exact=False)
    assert previews.make("raw", 1, side=512, limits=None, exact=False) is one
    for kind in ("filtered", "sd", "reconstructed"):
        with pytest.raises(LookupError):
            previews.make(kind, 1, side=512, limits=None, exact=False)  # type: ignore[arg-type]
    with pytest.raises(LookupError):
        previews.make("raw", 10_000, side=512, limits=None, exact=False)


def test_a_reader_follows_a_folder_from_before_its_run_to_after(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    reader = Reader(run)
    assert reader.refresh() == 0 and reader.phase == "waiting"
    run.rmdir()
    run_session(tmp_path, session={}, live={"frames": 3})
    reader._read_at = 0.0
    assert reader.refresh() > 0
    assert reader.phase == "completed" and reader.over and reader.course is not None
    assert reader.course.acquired == 3
    # A session that left no end was killed, as nobody holds the run.
    Ledger(run).add("run", {"plan": "live", "simulated": True, "planned": 3})
    status = json.loads((run / "status.json").read_text(encoding="utf-8"))
    status |= {"at": "2026-01-01T00:00:00+00:00", "status": "running"}
    (run / "status.json").write_text(json.dumps(status), encoding="utf-8")
    reader._read_at = 0.0
    reader.refresh()
    assert not reader.over, "it has only begun"
    with Ledger(run)._db as db:
        db.execute("UPDATE entries SET at = '2026-01-01T00:00:00+00:00' WHERE kind = 'run'")
    late = Reader(run)
    late.refresh()
    assert late.phase == "killed" and late.over


@pytest.mark.parametrize(
    "status",
    ["[1]", "null", '{"at": "yesterday"}', '{"at": "2026-01-01T00:00:00"}', '{"at": 5}'],
)
def test_a_heartbeat_that_is_none_is_passed_over(status: str, tmp_path: Path) -> None:
    """A folder from elsewhere may have anything in that file."""
    ledger = Ledger(tmp_path)
    ledger.add("run", RUN)
    config = faulty.config(live={"frames": 3})
    faulty.write(tmp_path / "config.yaml", config)
    (tmp_path / "status.json").write_text(status, encoding="utf-8")
    reader = Reader(tmp_path)
    reader.refresh()
    assert reader.phase == "starting" and reader.silent_s() < 60
    ledger.close()


def test_what_is_no_run_cannot_be_viewed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file.txt").write_text("no run", encoding="utf-8")
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, words in (
        ((tmp_path / "absent",), "no such folder"),
        ((tmp_path / "other",), "not a run folder"),
        ((empty, "--host", "0.0.0.0"), "--allow-plain"),
    ):
        code, _, err = cli(capsys, "view", *map(str, arguments))
        assert code == 2 and words in err, err
    code, _, err = cli(capsys, "run", "configs/live.yaml", "--view", "--host", "::")
    assert code == 2 and "--certificate" in err and not (tmp_path / "runs").exists()
    code, _, err = cli(capsys, "bench", "kill", "--view")
    assert code == 2 and "only for loop" in err
