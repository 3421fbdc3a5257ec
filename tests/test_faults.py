"""Every way a run can end badly: the light is off, nothing is lost, and it can go on.

The devices are Python ones from `tests.faulty`, the rest is the real thing: Micro-Manager's
core and runner, the ledger, the image store and, where signals matter, the real command line
in a process of its own.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
import zarr

from agent.analysis import Compute
from agent.config import RunConfig, load
from agent.folder import new_folder, read_config
from agent.images import ImageStore, checksum
from agent.ledger import Kind, Ledger
from agent.plan import AnalysisError, Note, Plan
from agent.planning import build_plan
from agent.recording import Recording
from agent.session import EXIT_CODES, Progress, Result, Session
from agent.summary import flagged_frames
from devices import engine
from devices.errors import DeviceFault
from devices.microscope import Microscope
from devices.shot import Shot
from models.quality.score import Score
from tests import faulty
from tests.faulty import cli

ROOT = faulty.ROOT
posix = pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals to a process")


# ---------------------------------------------------------------------- helpers


def show(capsys: pytest.CaptureFixture[str], run: Path) -> dict[str, Any]:
    """What `stedfast show RUN --json` prints."""
    code, out, _ = cli(capsys, "show", run, "--json")
    assert code == 0
    summary: dict[str, Any] = json.loads(out)
    return summary


def recorded(run: Path) -> Recording:
    with closing(Ledger(run, readonly=True)) as ledger:
        return Recording.read(ledger)


def frames_in(run: Path) -> list[int]:
    """Numbers of the ledger's frames, in its order; each is on disk, pixel for pixel."""
    with closing(Ledger(run, readonly=True)) as ledger:
        rows = list(ledger.entries("frame"))
    if rows:
        # Read as anyone would, not through the store that wrote it.
        raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
        for row in rows:
            assert row.frame is not None
            pixels = np.asarray(raw[row.frame])
            assert list(pixels.shape) == row.data["shape"]
            assert checksum(pixels) == row.data["crc32"], f"frame {row.frame} differs"
    return [row.frame for row in rows if row.frame is not None]


def assert_left_well(
    capsys: pytest.CaptureFixture[str], run: Path, status: str, *, acquired: int | None = None
) -> dict[str, Any]:
    """Status, safe state and frames of a run that is over; returns its summary."""
    summary = show(capsys, run)
    assert summary["status"] == status
    safe = summary["safe_state"]
    assert safe["ok"], safe
    readback = safe["readback"]
    assert {name: entry["value"] for name, entry in readback.items()} == {
        "shutter open": False,
        "excitation_power": 0.0,
        "depletion_power": 0.0,
        "sequence running": False,
    }
    frames = frames_in(run)
    assert frames == list(range(len(frames))), "a frame is missing or there twice"
    assert summary["frames"]["acquired"] == len(frames)
    if acquired is not None:
        assert len(frames) == acquired
    return summary


def resume(capsys: pytest.CaptureFixture[str], run: Path, planned: int, **session: Any) -> None:
    """Go on with a run, which must then complete without a frame missing or twice."""
    before = {i: taken.frame for i, taken in recorded(run).taken.items()}
    result = Session(read_config(run), run / "config.yaml", run, **session).run()
    assert (result.status, result.safe) == ("completed", True), result.reason
    assert_left_well(capsys, run, "completed", acquired=planned)
    after = recorded(run).taken
    assert {i: after[i].frame for i in before} == before, "a stored frame was touched"
    shape = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r").shape
    assert shape == (planned, faulty.SIDE, faulty.SIDE)


@contextmanager
def started(config: Path, run: Path) -> Iterator[subprocess.Popen[str]]:
    """`stedfast run` in a process of its own."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, "-m", "agent.cli", "run", str(config), "--out", str(run)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until(true: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def entries(run: Path, kind: Kind) -> int:
    """How many entries of a kind a ledger has, also while another process writes it."""
    if not (run / "ledger.sqlite").exists():
        return 0
    try:
        with closing(Ledger(run, readonly=True)) as ledger:
            return sum(1 for _ in ledger.entries(kind))
    except sqlite3.OperationalError:  # its table is being made
        return 0


def checked(tmp_path: Path, **parts: Any) -> tuple[RunConfig, Path, Path]:
    """A config for faulty devices, its file, and a new run folder."""
    file = faulty.write(tmp_path / "config.yaml", faulty.config(**parts))
    config = load(file)
    return config, file, new_folder(config, tmp_path, tmp_path / "run")


def run_session(
    tmp_path: Path,
    *,
    session: dict[str, Any],
    watch: Callable[[Progress], None] = lambda progress: None,
    **parts: Any,
) -> tuple[Result, Path]:
    """A run in this process, with what the command line would not pass to its session."""
    config, file, run = checked(tmp_path, **parts)
    return Session(config, file, run, **session).run(watch), run


def repair(run: Path) -> None:
    """Put a camera that works, and is quick, into a run's config."""
    data = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    data["microscope"]["python_devices"]["Camera"]["options"] = {}
    faulty.write(run / "config.yaml", data)


SCORED = {"analysis": {"score": True}}


def mean_score(frames: list[Any]) -> list[Score]:
    """Scores that need no network."""
    return [Score(float(pixels.mean() / 4096), float(pixels.std()) / 1e5) for pixels in frames]


# ---------------------------------------------------------------------- signals


@posix
def test_first_interrupt_finishes_the_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Frame 3 takes long enough to be interrupted in its midst.
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(camera=faulty.device("FlakyCamera", frame_s=1.0, slow_from=3)),
    )
    run = tmp_path / "run"
    with started(config, run) as process:
        wait_until(lambda: entries(run, "shot") == 4)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    summary = assert_left_well(capsys, run, "interrupted", acquired=4)
    assert summary["reason"] == summary["safe_state"]["reason"] == "SIGINT"
    assert "interrupted" in err
    assert summary["faults"] == []
    repair(run)
    resume(capsys, run, 20)


@posix
def test_second_interrupt_stops_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(camera=faulty.device("FlakyCamera", frame_s=8.0, slow_from=3)),
    )
    run = tmp_path / "run"
    with started(config, run) as process:
        wait_until(lambda: entries(run, "shot") == 4)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        _, err = process.communicate(timeout=30)
    took = time.monotonic() - asked
    assert process.returncode == 130, err
    assert took < 6, "waited for a frame of 8 s"
    # The frame that was under way is given up, its light is not forgotten.
    summary = assert_left_well(capsys, run, "interrupted", acquired=3)
    assert summary["dose"]["lost_shots"] == 1
    assert summary["reason"] == "SIGINT"
    repair(run)
    resume(capsys, run, 20)
    assert show(capsys, run)["dose"]["lost_shots"] == 1


def test_interrupt_ends_a_long_wait_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, file, run = checked(
        tmp_path, plan="timelapse", timelapse={"frames": 3, "interval_s": 600}
    )

    def interrupt(progress: Progress) -> None:
        if progress.frames == 1 and not progress.doing.startswith("finishing"):
            signal.raise_signal(signal.SIGINT)

    began = time.monotonic()
    result = Session(config, file, run).run(interrupt)
    assert (result.status, EXIT_CODES[result.status]) == ("interrupted", 130), result.reason
    summary = assert_left_well(capsys, run, "interrupted", acquired=1)
    # The frame that was waited for was announced, and no light fell.
    assert entries(run, "shot") == 2
    assert summary["dose"]["lost_shots"] == 0
    assert summary["dose"]["excitation_J"] == pytest.approx(5e-3 * 10e-3)

    # Another session is interrupted while it waits: it takes nothing and loses nothing.
    again = Session(read_config(run), run / "config.yaml", run).run(interrupt)
    assert again.status == "interrupted"
    assert_left_well(capsys, run, "interrupted", acquired=1)
    assert time.monotonic() - began < 6


@posix
def test_sigterm_and_a_second_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(camera=faulty.device("FlakyCamera", frame_s=0.1), live={"frames": 50}),
    )
    run = tmp_path / "run"
    with started(config, run) as process:
        wait_until(lambda: entries(run, "frame") >= 2)
        # Nobody else may work in this run meanwhile, but anyone may look.
        code, _, err = cli(capsys, "resume", run)
        assert (code, len(err.splitlines())) == (2, 1), err
        assert str(run) in err
        assert show(capsys, run)["status"] == "running"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    summary = assert_left_well(capsys, run, "interrupted")
    assert summary["reason"] == "SIGTERM"
    assert 2 <= summary["frames"]["acquired"] < 50
    repair(run)
    resume(capsys, run, 50)


def interrupt_when(enough: Callable[[Progress], bool]) -> Callable[[Progress], None]:
    """A watcher that sends Ctrl-C, and once more at each look after that."""

    def watch(progress: Progress) -> None:
        if enough(progress) or progress.doing.startswith("finishing"):
            signal.raise_signal(signal.SIGINT)

    return watch


def test_a_frame_cut_off_by_the_second_interrupt_is_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The camera comes back soon after, so that the thread still has its say."""
    result, run = run_session(
        tmp_path,
        session={},
        watch=interrupt_when(lambda progress: progress.frames == 3),
        camera=faulty.device("FlakyCamera", frame_s=1.0, slow_from=3),
    )
    assert (result.status, EXIT_CODES[result.status]) == ("interrupted", 130), result.reason
    summary = assert_left_well(capsys, run, "interrupted", acquired=3)
    assert summary["faults"] == []
    assert summary["dose"]["lost_shots"] == 1
    repair(run)
    resume(capsys, run, 20)


@pytest.mark.parametrize("reading", [True, False])
def test_second_interrupt_does_not_wait_for_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reading: bool
) -> None:
    stuck = threading.Event()

    def never(frames: list[Any]) -> list[Score]:
        stuck.wait(60)
        return mean_score(frames)

    def plan(config: RunConfig) -> Plan:
        for _ in range(20):
            frame = yield Shot("sted")
        assert frame is not None
        yield Note("score", {"value": frame.score})

    session: dict[str, Any] = {"scorer": never}
    if reading:
        session["make_plan"] = plan
    scored = {"score": True, "timeout_s": 5}
    config, file, run = checked(tmp_path, live={"frames": 200}, analysis=scored)
    began = time.monotonic()
    result = Session(config, file, run, **session).run(
        interrupt_when(lambda progress: progress.frames >= 20)
    )
    took = time.monotonic() - began
    stuck.set()
    assert result.status == "interrupted", result.reason
    assert took < 4.5
    assert_left_well(capsys, run, "interrupted")


# ---------------------------------------------------------------------- plan and scoring


def test_exception_in_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(config: RunConfig) -> Plan:
        for number in range(20):
            yield Shot("sted")
            if number == 4:
                raise ZeroDivisionError("the plan divides by nothing")

    result, run = run_session(tmp_path, session={"make_plan": broken})
    assert (result.status, EXIT_CODES[result.status]) == ("failed", 1)
    summary = assert_left_well(capsys, run, "failed", acquired=5)
    assert "divides by nothing" in summary["reason"]
    assert [fault["frame"] for fault in summary["faults"]] == [5]
    resume(capsys, run, 20)


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


def numbered() -> Callable[[Any], int]:
    """Numbers frames in the order they are first seen in; their pixels tell them apart."""
    seen: dict[bytes, int] = {}
    return lambda pixels: seen.setdefault(pixels.tobytes(), len(seen))


def fails_at(number: int) -> Compute:
    """A scorer that fails whenever it is to score a certain one of its frames."""
    number_of = numbered()

    def score(frames: list[Any]) -> list[Score]:
        if number in [number_of(pixels) for pixels in frames]:
            raise ArithmeticError("the network saw a NaN")
        return mean_score(frames)

    return score


def flags_at(*numbers: int) -> Compute:
    """A scorer that takes certain ones of its frames for saturated, and thinks most of them."""
    number_of = numbered()

    def score(frames: list[Any]) -> list[Score]:
        return [
            Score(0.99, 1 / 3, ("saturated",), 4) if number_of(pixels) in numbers else score
            for pixels, score in zip(frames, mean_score(frames), strict=True)
        ]

    return score


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


def test_a_skipped_score_stays_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a plan was told once it is told again, even by a scorer that works now."""

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


# ---------------------------------------------------------------------- camera and disk


def test_camera_raises_at_frame_8(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(camera=faulty.device("FlakyCamera", fail_at=8, armed=str(flag))),
    )
    run = tmp_path / "run"
    code, _, err = cli(capsys, "run", config, "--out", run)
    assert code == 1
    assert "Traceback" not in err
    assert "cable is out" in err
    summary = assert_left_well(capsys, run, "failed", acquired=8)
    assert summary["dose"]["lost_shots"] == 1
    (fault,) = summary["faults"]
    assert fault["frame"] == 8
    assert "'Camera'" in fault["what"]
    assert "cable is out" in fault["what"]

    # Still broken: the new session's camera fails at its own frame 8, and nothing is lost.
    code, _, _ = cli(capsys, "resume", run)
    assert code == 1
    assert_left_well(capsys, run, "failed", acquired=16)
    flag.unlink()
    code, _, err = cli(capsys, "resume", run)
    assert code == 0, err
    assert_left_well(capsys, run, "completed", acquired=20)
    code, _, err = cli(capsys, "resume", run)
    assert code == 0
    assert "complete already" in err


@posix
def test_camera_hangs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    config = faulty.write(
        tmp_path / "config.yaml",
        faulty.config(
            camera=faulty.device("HangingCamera", fail_at=8, armed=str(flag)),
            microscope={"timeout_s": 0.8},
        ),
    )
    run = tmp_path / "run"
    with started(config, run) as process:
        _, err = process.communicate(timeout=40)
    assert process.returncode == 1, err
    assert "Traceback" not in err
    summary = assert_left_well(capsys, run, "failed", acquired=8)
    assert "hangs" in summary["reason"]
    assert "microscope.timeout_s" in summary["reason"]
    flag.unlink()
    resume(capsys, run, 20)


def test_a_camera_that_fails_once_is_tried_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        camera=faulty.device("FlakyCamera", fail_at=8, times=1),
        faults={"retries": 1},
    )
    assert result.status == "completed", result.reason
    summary = assert_left_well(capsys, run, "completed", acquired=20)
    assert [(f["frame"], f["policy"]) for f in summary["faults"]] == [(8, "retry")]
    # Both exposures of frame 8 fell on the sample.
    assert summary["dose"]["excitation_J"] == pytest.approx(21 * 5e-3 * 10e-3)


def test_retries_come_to_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, run = run_session(
        tmp_path,
        session={},
        camera=faulty.device("FlakyCamera", fail_at=8),
        faults={"retries": 2},
    )
    assert result.status == "failed"
    summary = assert_left_well(capsys, run, "failed", acquired=8)
    assert [fault["policy"] for fault in summary["faults"]] == ["retry", "retry", "stop"]
    assert summary["dose"]["lost_shots"] == 3


def test_disk_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ImageStore.write

    def full(store: ImageStore, index: int, pixels: Any) -> None:
        if index >= 6:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(store, index, pixels)

    monkeypatch.setattr(ImageStore, "write", full)
    result, run = run_session(tmp_path, session={}, faults={"retries": 3})
    assert result.status == "failed"
    summary = assert_left_well(capsys, run, "failed", acquired=6)
    assert os.strerror(errno.ENOSPC) in summary["reason"]
    monkeypatch.undo()
    resume(capsys, run, 20)


@posix
def test_image_folder_becomes_unwritable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    with suppress(OSError):
        (closed / "file").touch()
        pytest.skip("this user may write anywhere")

    def plan(config: RunConfig) -> Plan:
        for number in range(20):
            if number == 6:
                for folder in (config_run / "raw.ome.zarr").rglob("*"):
                    if folder.is_dir():
                        folder.chmod(0o500)
            yield Shot("sted")

    config, file, config_run = checked(tmp_path)
    result = Session(config, file, config_run, make_plan=plan).run()
    for folder in (config_run / "raw.ome.zarr").rglob("*"):
        if folder.is_dir():
            folder.chmod(0o700)
    assert result.status == "failed"
    assert_left_well(capsys, config_run, "failed", acquired=6)
    resume(capsys, config_run, 20)


def test_the_ledger_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No place is left to write down the safe state; it is reached all the same."""
    add = Ledger.add
    full = threading.Event()

    def fills_up(ledger: Ledger, kind: Any, data: Any, frame: int | None = None) -> None:
        if frame == 6:
            full.set()
        if full.is_set():
            raise sqlite3.OperationalError("database or disk is full")
        add(ledger, kind, data, frame)

    monkeypatch.setattr(Ledger, "add", fills_up)
    result, run = run_session(tmp_path, session={})
    assert (result.status, result.safe) == ("failed", True)
    assert "disk is full" in result.reason
    assert faulty.made["Laser"][-1].power == faulty.made["Laser"][-2].power == 0
    assert not faulty.made["Shutter"][-1].open
    assert frames_in(run) == list(range(6))


def test_heartbeat_that_cannot_be_written_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a monitor that reads `status.json` keeps it from being replaced."""

    def locked(*args: Any) -> None:
        raise PermissionError(errno.EACCES, "used by another process")

    monkeypatch.setattr("agent.session.write_status", locked)
    result, run = run_session(tmp_path, session={})
    assert result.status == "completed", result.reason
    assert_left_well(capsys, run, "completed", acquired=20)


def test_a_short_session_keeps_the_frames_of_long_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan that fails while it is led through stored frames must not cost any of them."""

    def breaks_at(step: int) -> Callable[[RunConfig], Plan]:
        def plan(config: RunConfig) -> Plan:
            for number in range(20):
                if number == step:
                    raise RuntimeError("power cut")
                yield Shot("sted")

        return plan

    result, run = run_session(tmp_path, session={"make_plan": breaks_at(12)})
    assert result.status == "failed"
    config = read_config(run)
    again = Session(config, run / "config.yaml", run, make_plan=breaks_at(4)).run()
    assert again.status == "failed"
    assert_left_well(capsys, run, "failed", acquired=12)
    resume(capsys, run, 20)


def test_a_movie_named_relatively_goes_on_where_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The config's file stands beside the config, not in the run's folder."""
    movie = np.random.default_rng(1).integers(0, 4096, (20, faulty.SIDE, faulty.SIDE), np.uint16)
    tifffile.imwrite(tmp_path / "movie.tif", movie)
    scope = {
        "replay": {"file": "movie.tif"},
        "pixel_size_nm": 20,
        "exposure": {"camera_ms": 10},
    }
    file = faulty.write(
        tmp_path / "config.yaml", {"plan": "live", "live": {"frames": 20}, "microscope": scope}
    )
    config = load(file)
    run = new_folder(config, tmp_path, tmp_path / "run")

    def cut(config: RunConfig) -> Plan:
        for _ in range(7):
            yield Shot("sted")
        raise RuntimeError("power cut")

    assert Session(config, file, run, make_plan=cut).run().status == "failed"
    result = Session(read_config(run), run / "config.yaml", run).run()
    assert result.status == "completed", result.reason
    raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r")
    np.testing.assert_array_equal(np.asarray(raw[:]), movie)


# ---------------------------------------------------------------------- light


def test_dose_budget_stops_before_it_is_exceeded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    each = 5e-3 * 10e-3
    result, run = run_session(tmp_path, session={}, dose={"budget_J": {"excitation": 7.5 * each}})
    assert (result.status, EXIT_CODES[result.status]) == ("stopped", 0)
    summary = assert_left_well(capsys, run, "stopped", acquired=7)
    assert summary["dose"]["excitation_J"] == pytest.approx(7 * each)
    assert summary["dose"]["budget_fraction"] == pytest.approx(7 / 7.5)
    assert "dose.budget_J.excitation" in summary["reason"]
    # The laser was not even set for the eighth frame.
    excitation = faulty.made["Laser"][-2]
    assert [power for _, power in excitation.given if power > 0] == [5.0] * 7

    # Resumed as it is, the budget still holds; with a larger one the run goes on.
    again = Session(read_config(run), run / "config.yaml", run).run()
    assert again.status == "stopped"
    assert_left_well(capsys, run, "stopped", acquired=7)
    data = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    data["dose"] = {"budget_J": {"excitation": 1.0}}
    faulty.write(run / "config.yaml", data)
    resume(capsys, run, 20)


def test_a_laser_that_stays_on_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All frames are there, but somebody must go and look at that laser."""
    flag = tmp_path / "stuck"
    flag.touch()
    result, run = run_session(
        tmp_path, session={}, laser=faulty.device("Laser", sticks=True, armed=str(flag))
    )
    assert not result.safe
    assert (result.status, EXIT_CODES[result.status]) == ("failed", 1)
    summary = show(capsys, run)
    assert summary["status"] == "failed"
    assert not summary["safe_state"]["ok"]
    readback = summary["safe_state"]["readback"]
    assert readback["excitation_power"] == {"expected": 0.0, "value": 5.0, "ok": False}
    # The stuck laser keeps nothing else from being made safe.
    assert readback["depletion_power"]["ok"]
    assert readback["shutter open"]["ok"]
    assert any("excitation_power" in fault["what"] for fault in summary["faults"])
    assert frames_in(run) == list(range(20))
    flag.unlink()
    resume(capsys, run, 20)


def test_a_laser_that_hangs_keeps_nothing_else_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it keep the process: who has been told of the laser can go to it."""
    monkeypatch.setattr("devices.safety._STEP_TIMEOUT_S", 0.3)
    monkeypatch.setattr("agent.session._LET_GO_S", 0.3)
    try:
        result, run = run_session(tmp_path, session={}, laser=faulty.device("Laser", hangs=True))
    finally:
        faulty.Laser.released.set()
    assert (result.status, result.safe, result.thread_left) == ("failed", False, True)
    summary = show(capsys, run)
    readback = summary["safe_state"]["readback"]
    assert "no answer" in readback["excitation_power"]["value"]
    assert [name for name, entry in readback.items() if not entry["ok"]] == ["excitation_power"]
    assert faulty.made["Laser"][-1].power == 0
    assert not faulty.made["Shutter"][-1].open


def test_a_camera_that_comes_back_late_finds_the_light_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.session._LET_GO_S", 0.3)
    config, file, run = checked(
        tmp_path,
        camera=faulty.device("HangingCamera", fail_at=3),
        microscope={"timeout_s": 0.5},
        faults={"retries": 5},
    )
    microscope = Microscope.open(config.microscope)
    others = set(threading.enumerate())
    try:
        result = Session(config, file, run, microscope=microscope).run()
        ended = time.monotonic()
        assert (result.status, result.safe, result.thread_left) == ("failed", True, True)
        before = entries(run, "shot"), entries(run, "frame"), entries(run, "fault")
        (thread,) = (
            each for each in set(threading.enumerate()) - others if each.name == "acquisition"
        )
    finally:
        faulty.HangingCamera.released.set()  # or its thread would outlive the tests
    thread.join(10)
    assert not thread.is_alive()
    devices = [*faulty.made["Laser"][-2:], faulty.made["Shutter"][-1]]
    assert [value for each in devices for at, value in each.given if at > ended and value] == []
    assert (entries(run, "shot"), entries(run, "frame"), entries(run, "fault")) == before
    assert_left_well(capsys, run, "failed", acquired=3)
    microscope.close()


def test_no_light_after_the_run_was_stopped(tmp_path: Path) -> None:
    """The thread was setting up a shot when the run was stopped: its laser stays at safe."""
    config, file, run = checked(tmp_path, laser=faulty.device("SlowLaser", seconds=0.6))
    microscope = Microscope.open(config.microscope, base=tmp_path)
    laser = faulty.made["SlowLaser"][-1]

    def interrupt(progress: Progress) -> None:
        if laser.setting.is_set():
            signal.raise_signal(signal.SIGINT)

    result = Session(config, file, run, microscope=microscope).run(interrupt)
    assert result.status == "interrupted", result.reason
    assert result.safe
    time.sleep(0.3)
    for each in (laser, faulty.made["Laser"][-1]):
        assert each.power == 0
        assert each.given[-1][1] == 0
    assert faulty.made["Shutter"][-1].open is False
    # The depletion laser's turn came after the stop: it never saw a power above its safe one.
    assert all(power == 0 for _, power in faulty.made["Laser"][-1].given)


class Halt:
    """Holds a thread right before the n-th line of the engine that it comes to."""

    def __init__(self, line: int) -> None:
        self._left = line
        self.reached = threading.Event()
        self.go_on = threading.Event()
        self.where = 0

    def __call__(self, frame: FrameType, event: str, arg: object) -> Halt | None:
        if frame.f_code.co_filename != engine.__file__:
            return None
        if event == "line":
            if self._left == 0:
                self.where = frame.f_lineno
                self.reached.set()
                self.go_on.wait(10)
            self._left -= 1
        return self


def test_no_light_after_the_safe_state_at_any_line(tmp_path: Path) -> None:
    """Make safe while the acquisition thread stands before each line of the engine in turn.

    That thread goes on 50 ms later, or when the microscope is safe. From the moment on that
    `make_safe` has returned, no laser may get another value and the shutter may not open.
    """
    config, _, _ = checked(tmp_path)
    with Microscope.open(config.microscope, base=tmp_path) as microscope:
        excitation, depletion = faulty.made["Laser"][-2:]
        shutter = faulty.made["Shutter"][-1]
        wrong = []
        for line in range(200):
            halt = Halt(line)

            def take_one(halt: Halt = halt, number: int = line) -> None:
                sys.settrace(halt)
                with suppress(DeviceFault):
                    microscope.core.mda.run(iter([microscope.event(Shot("sted"), number)]))

            microscope.arm()
            thread = threading.Thread(target=take_one)
            thread.start()
            while thread.is_alive() and not halt.reached.wait(0.01):
                pass
            if not halt.reached.is_set():
                break
            threading.Timer(0.05, halt.go_on.set).start()
            safe = microscope.make_safe("test")
            made_safe = time.monotonic()
            halt.go_on.set()
            thread.join(10)
            assert not thread.is_alive()
            assert safe.ok
            wrong += [
                f"line {halt.where}: {name} {value} after the safe state"
                for name, device in (
                    ("laser", excitation),
                    ("laser", depletion),
                    ("shutter", shutter),
                )
                for at, value in device.given
                if at > made_safe and value
            ]
            assert not shutter.open
        assert line > 20, "the engine was not traced"
        assert wrong == []


# ---------------------------------------------------------------------- the same again

SMALL = [
    "optimize.trials=3",
    "optimize.initial=2",
    "optimize.retest_fields=1",
    "microscope.virtual_sted.width_px=48",
    "microscope.virtual_sted.height_px=48",
    "microscope.virtual_sted.size_um=20",
    "microscope.fields.pitch_um=2.2",  # no field gets light meant for its neighbour
]


def optimize(run: Path, make_plan: Callable[[RunConfig], Plan] = build_plan) -> Result:
    """A small automated optimization on the virtual microscope, new or resumed."""
    source = ROOT / "configs" / "optimize.yaml"
    if run.exists():
        return Session(read_config(run), run / "config.yaml", run, make_plan=make_plan).run()
    config = load(source, SMALL)
    folder = new_folder(config, run.parent, run)
    return Session(config, source, folder, make_plan=make_plan).run()


def cut_after(frames: int) -> Callable[[RunConfig], Plan]:
    """The config's plan, ended by an exception after some frames."""

    def plan(config: RunConfig) -> Plan:
        steps, answer, left = build_plan(config), None, frames
        while True:
            step = steps.send(answer)
            if isinstance(step, Shot):
                if left == 0:
                    raise RuntimeError("power cut")
                left -= 1
            answer = yield step

    return plan


@pytest.fixture(scope="module")
def optimized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing came between."""
    run = tmp_path_factory.mktemp("optimized") / "run"
    assert optimize(run).status == "completed"
    return run


def decisions(run: Path) -> list[dict[str, Any]]:
    return recorded(run).notes


def test_same_config_and_seed_give_the_same_trials(optimized: Path, tmp_path: Path) -> None:
    assert optimize(tmp_path / "again").status == "completed"
    notes = decisions(optimized)
    assert [note["topic"] for note in notes] == [
        *["trial"] * 3,
        "recommendation",
        "belief",
        "retest",
        "retest",
    ]
    assert decisions(tmp_path / "again") == notes
    assert len({str(note["data"]["settings"]) for note in notes[:3]}) == 3


@pytest.mark.parametrize("frames", [6, 8], ids=["between trials", "within a trial"])
def test_resumed_optimization_gives_the_same_trials(
    optimized: Path, tmp_path: Path, frames: int
) -> None:
    run = tmp_path / "run"
    assert optimize(run, cut_after(frames)).status == "failed"
    assert frames_in(run) == list(range(frames))
    result = optimize(run)
    assert result.status == "completed", result.reason
    assert frames_in(run) == list(range(15))
    assert decisions(run) == decisions(optimized)


def tampered(optimized: Path, tmp_path: Path, sql: str = "", *values: Any) -> Path:
    """A copy of a run, with its ledger changed."""
    run = tmp_path / "run"
    shutil.copytree(optimized, run)
    if sql:
        with closing(sqlite3.connect(run / "ledger.sqlite")) as ledger, ledger:
            assert ledger.execute(sql, values).rowcount > 0
    return run


def test_replay_agrees(optimized: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = cli(capsys, "replay", optimized)
    assert (code, err) == (0, "")
    assert "15 frames" in out
    assert "7 decisions" in out


def test_replay_sees_a_changed_pixel(
    optimized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tampered(optimized, tmp_path)
    raw = zarr.open_array(run / "raw.ome.zarr" / "0", mode="r+")
    raw[4, 20, 20] = int(np.asarray(raw[4, 20, 20])) + 1
    code, _, err = cli(capsys, "replay", run)
    assert code == 1
    assert "frame 4" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        (
            'UPDATE entries SET data = replace(data, \'"score":\', \'"score": 0.9, "was":\') '
            "WHERE kind = 'note' AND data LIKE '%trial%'",
            "trial",
        ),
        ("UPDATE entries SET data = '{\"value\": 0.99}' WHERE kind = 'score'", "trial"),
        (
            'UPDATE entries SET data = replace(data, \'"mode": "sted"\', \'"mode": "confocal"\') '
            "WHERE kind = 'shot' AND frame = 7",
            "frame 7",
        ),
    ],
    ids=["note", "score", "shot"],
)
def test_replay_sees_a_changed_ledger(
    optimized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sql: str, named: str
) -> None:
    code, _, err = cli(capsys, "replay", tampered(optimized, tmp_path, sql))
    assert code == 1
    assert named in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("DELETE FROM entries WHERE kind = 'frame' AND frame = 5", id="frame"),
        pytest.param(
            "DELETE FROM entries WHERE kind = 'note' AND data LIKE '%recommendation%'", id="note"
        ),
        pytest.param(
            "DELETE FROM entries WHERE seq = (SELECT max(seq) FROM entries WHERE kind = 'note')",
            id="last note",
        ),
        pytest.param(
            "INSERT INTO entries (at, kind, frame, data) SELECT at, kind, frame, data "
            "FROM entries WHERE kind = 'note' ORDER BY seq DESC LIMIT 1",
            id="note too many",
        ),
    ],
)
def test_replay_sees_what_is_missing_or_too_much(
    optimized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], sql: str
) -> None:
    """The run says that it is complete; half of it must not pass for agreement."""
    code, out, err = cli(capsys, "replay", tampered(optimized, tmp_path, sql))
    assert code == 1, out
    assert "Traceback" not in err


def test_replay_agrees_on_a_trial_without_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ROOT / "configs" / "optimize.yaml"
    config = load(source, [*SMALL, "analysis.on_error=skip"])
    run = new_folder(config, tmp_path, tmp_path / "run")
    assert Session(config, source, run, scorer=fails_at(1)).run().status == "completed"
    trials = recorded(run).notes_on("trial")
    assert [trial["objectives"] is None for trial in trials] == [False, True, False]
    code, _, err = cli(capsys, "replay", run)
    assert code == 0, err


def test_replay_agrees_on_a_run_that_ended_for_want_of_a_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ROOT / "configs" / "optimize.yaml"
    config = load(source, SMALL)
    run = new_folder(config, tmp_path, tmp_path / "run")
    assert Session(config, source, run, scorer=fails_at(1)).run().status == "failed"
    assert len(recorded(run).notes_on("trial")) == 1
    code, out, err = cli(capsys, "replay", run)
    assert code == 0, err
    assert "6 frames" in out
