"""Ledger, dose gate, analysis worker: what must hold when things go wrong."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.config.schema import DoseConfig
from agent.plan import AnalysisError
from agent.record.dose import BudgetReached, DoseGate
from agent.record.folder import RunBusy, is_running, lock
from agent.record.ledger import Ledger
from agent.record.recording import (
    Recording,
    Role,
    role_of,
    score_as_dict,
    score_from_dict,
    shot_as_dict,
    shot_from_dict,
)
from agent.workers.score import Analysis
from devices.shot import Shot
from models.quality.score import Score

SHOT_ROW: dict[str, Any] = {
    "mode": "sted",
    "asked": {},
    "field": None,
    "at_s": None,
    "purpose": "",
    "settings": {},
    "dose_J": {},
}
FRAME_ROW = {"shape": [4, 4], "dtype": "uint16", "crc32": 0, "time_s": 0.0}


def test_ledger_keeps_order_and_can_be_read_while_it_grows(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for i in range(5):
        ledger.add("shot", SHOT_ROW, i)
        ledger.add("frame", FRAME_ROW, i)
    reader = Ledger(tmp_path, readonly=True)
    assert [(e.kind, e.frame) for e in reader.entries()] == [
        (kind, i) for i in range(5) for kind in ("shot", "frame")
    ]
    fault = {"what": "µ", "policy": "stop"}
    ledger.add("fault", fault)
    assert next(reader.entries("fault")).data == fault
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        Ledger(tmp_path / "nowhere", readonly=True)


def test_a_shot_without_a_frame_is_lost_light_unless_voided(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add("shot", SHOT_ROW, 0)
    ledger.add("shot", SHOT_ROW, 0)  # tried again
    ledger.add("frame", FRAME_ROW, 0)
    ledger.add("shot", SHOT_ROW, 1)
    ledger.add("void", {}, 1)
    ledger.add("shot", SHOT_ROW, 1)
    recording = Recording.read(ledger)
    assert list(recording.taken) == [0] and len(recording.lost) == 2


def test_dose_gate_says_no_before_the_budget_is_exceeded() -> None:
    gate = DoseGate(DoseConfig(budget_J={"depletion": 1.0}, per_field_J={"depletion": 0.5}))
    for field in (0, 1):
        gate.admit({"depletion": 0.4}, field)
        gate.count({"depletion": 0.4}, field)
    with pytest.raises(BudgetReached, match=r"per_field_J \(field 1\)\.depletion"):
        gate.admit({"depletion": 0.2}, 1)
    with pytest.raises(BudgetReached, match=r"budget_J\.depletion"):
        gate.admit({"depletion": 0.3}, 2)
    assert gate.total["depletion"] == pytest.approx(0.8)
    assert gate.budget_fraction == pytest.approx(0.8)
    gate.count({"depletion": 0.4}, 1, sign=-1)
    gate.admit({"depletion": 0.5}, 1)


def test_only_one_process_works_in_a_run(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    taken = lock(tmp_path)
    try:
        with pytest.raises(RunBusy):
            lock(tmp_path)
        assert is_running(tmp_path)
    finally:
        taken.release()
    assert not is_running(tmp_path)


def test_who_asks_whether_a_session_is_at_work_keeps_none_from_it(tmp_path: Path) -> None:
    """Pages and scripts ask all the time, and have the lock for as long as that takes."""
    has_it = threading.Event()

    def ask() -> None:
        taken = lock(tmp_path)
        has_it.set()
        time.sleep(0.05)
        taken.release()

    asker = threading.Thread(target=ask)
    asker.start()
    assert has_it.wait(40)
    lock(tmp_path, wait_s=40).release()
    asker.join()
    assert not is_running(tmp_path)


FRAME = np.zeros((4, 4), np.uint16)
HALF = Score(0.5, 0.1)


class Backlog:
    """An analysis whose worker is busy with frame 0 while others queue up behind it.

    A frame's pixels are its number; `bad` are the numbers that cannot be scored. The worker
    makes as many calls as `calls_left` is released for.
    """

    def __init__(
        self, *, bad: tuple[int, ...] = (), queue: int = 100, timeout_s: float = 5
    ) -> None:
        self.calls: list[list[int]] = []
        self.told: list[tuple[int, Score | AnalysisError]] = []
        self.calls_left = threading.Semaphore(0)
        self._busy = threading.Event()
        self._bad = bad
        self.work = Analysis(
            self._compute,
            queue=queue,
            timeout_s=timeout_s,
            done=lambda index, outcome: self.told.append((index, outcome)),
        )
        self.futures = {0: self.work.submit(0, FRAME)}
        assert self._busy.wait(5)

    def _compute(self, frames: list[np.ndarray]) -> list[Score]:
        self._busy.set()
        self.calls_left.acquire(timeout=10)
        numbers = [int(frame[0, 0]) for frame in frames]
        self.calls.append(numbers)
        if set(numbers) & set(self._bad):
            raise ZeroDivisionError("no structure")
        return [self.score(number) for number in numbers]

    @staticmethod
    def score(number: int) -> Score:
        return Score(number / 100, 0.01, ("blank",) if number % 2 else ())

    def queue_up(self, count: int) -> None:
        for number in range(1, count + 1):
            self.futures[number] = self.work.submit(number, FRAME + number)

    def ask(self, number: int) -> Score:
        return self.work.result(number, FRAME + number, self.futures[number])


def test_analysis_never_makes_the_acquisition_wait_and_stays_bounded() -> None:
    begun, release, seen = threading.Event(), threading.Event(), []

    def slow(frames: list[np.ndarray]) -> list[Score]:
        begun.set()
        release.wait(240)
        return [HALF] * len(frames)

    work = Analysis(slow, queue=3, timeout_s=5, done=lambda i, value: seen.append(i))
    futures = {0: work.submit(0, FRAME)}
    assert begun.wait(240)
    started = time.monotonic()
    futures |= {i: work.submit(i, FRAME) for i in range(1, 50)}
    assert time.monotonic() - started < 120, "it waited for the scorer"
    # At most three are with the worker and three wait.
    assert work.longest <= 4 and work.passed_over >= 44
    release.set()
    # One that was passed over is scored when somebody asks for it.
    assert futures[5].cancelled()
    assert work.result(5, FRAME, futures[5]) == HALF
    work.close(finish=True)
    assert 49 in seen and 5 in seen


def test_analysis_errors_reach_who_asks_and_do_not_end_the_worker() -> None:
    told: list[tuple[int, object]] = []

    def compute(frames: list[np.ndarray]) -> list[Score]:
        if max(frame.max() for frame in frames):
            raise ZeroDivisionError("no structure")
        return [HALF] * len(frames)

    work = Analysis(compute, queue=3, timeout_s=5, done=lambda i, value: told.append((i, value)))
    bad = work.submit(0, FRAME + 1)
    with pytest.raises(AnalysisError, match="frame 0 failed: no structure"):
        work.result(0, FRAME + 1, bad)
    assert work.result(1, FRAME, work.submit(1, FRAME)) == HALF
    work.close(finish=True)
    assert "no structure" in str(told[0][1]) and told[1] == (1, HALF)


def test_a_score_that_takes_too_long_is_an_error() -> None:
    release = threading.Event()

    def slow(frames: list[np.ndarray]) -> list[Score]:
        release.wait(240)
        return [HALF] * len(frames)

    work = Analysis(slow, queue=3, timeout_s=0.1, done=lambda i, value: None)
    future = work.submit(0, FRAME)
    with pytest.raises(AnalysisError, match=r"within 0\.1 s"):
        work.result(0, FRAME, future)
    release.set()
    work.close(finish=False)


def test_frames_that_queue_up_are_scored_together() -> None:
    backlog = Backlog()
    backlog.queue_up(20)
    backlog.calls_left.release(10)
    backlog.work.close(finish=True)
    assert backlog.calls == [[0], list(range(1, 17)), list(range(17, 21))]
    assert backlog.told == [(i, backlog.score(i)) for i in range(21)]
    assert [future.result(0) for future in backlog.futures.values()] == [
        score for _, score in backlog.told
    ]


def test_a_bad_frame_fails_alone() -> None:
    backlog = Backlog(bad=(2,))
    backlog.queue_up(3)
    backlog.calls_left.release(10)
    backlog.work.close(finish=True)
    assert backlog.calls == [[0], [1, 2, 3], [1], [2], [3]]
    assert [index for index, _ in backlog.told] == [0, 1, 2, 3]
    assert backlog.ask(1) == backlog.score(1) and backlog.ask(3) == backlog.score(3)
    with pytest.raises(AnalysisError, match="frame 2 failed: no structure"):
        backlog.ask(2)


def test_a_frame_that_was_given_up_is_not_told_of() -> None:
    backlog = Backlog(timeout_s=0.05)
    backlog.queue_up(4)
    with pytest.raises(AnalysisError, match="within"):
        backlog.ask(2)  # it waits for its turn
    backlog.calls_left.release()
    backlog.futures[0].result(5)
    with pytest.raises(AnalysisError, match="within"):
        backlog.ask(3)  # it is being scored, with others
    backlog.calls_left.release(10)
    assert backlog.futures[4].result(5) == backlog.score(4)
    backlog.work.close(finish=True)
    assert backlog.calls == [[0], [1, 3, 4]]
    assert [index for index, told in backlog.told if isinstance(told, Score)] == [0, 1, 4]


def test_the_wrong_number_of_scores_is_an_error() -> None:
    work = Analysis(lambda frames: [], queue=3, timeout_s=5, done=lambda i, value: None)
    with pytest.raises(AnalysisError, match="0 scores of 1 frames"):
        work.result(0, FRAME, work.submit(0, FRAME))
    work.close(finish=True)


def test_what_was_asked_for_is_forgotten_once_it_is_done() -> None:
    backlog = Backlog(queue=2)
    backlog.queue_up(4)
    asking = threading.Thread(target=backlog.ask, args=(4,))
    asking.start()
    while 4 not in backlog.work._wanted:
        time.sleep(0.001)
    backlog.calls_left.release(10)
    asking.join(5)
    assert backlog.futures[1].cancelled(), "was not passed over"
    for number in (0, 1, 4):
        assert backlog.ask(number) == backlog.score(number)
    assert not backlog.work._wanted
    backlog.work.close(finish=True)


def test_a_score_reads_back_from_the_ledger_exactly(tmp_path: Path) -> None:
    score = Score(1 / 3, 0.1 + 0.2, ("saturated", "blank"), 4)
    ledger = Ledger(tmp_path)
    for index in range(2):
        ledger.add("shot", SHOT_ROW, index)
        ledger.add("frame", FRAME_ROW, index)
    ledger.add("score", score_as_dict(score), 0)
    ledger.add("score", {"value": 0.25}, 1)  # as ledgers had it before there was an sd
    taken = Recording.read(ledger).taken
    assert taken[0].score == score
    assert taken[1].score == Score(0.25, 0.0)
    assert score_from_dict(score_as_dict(score)) == score


@pytest.mark.slow
def test_json_of_a_status_is_never_half_written(tmp_path: Path) -> None:
    from agent.record.folder import write_status

    write_status(tmp_path, {"frames": 0})
    stop = threading.Event()

    def write() -> None:
        for i in range(300):
            write_status(tmp_path, {"frames": i, "padding": "x" * 5000})
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        json.loads((tmp_path / "status.json").read_text())
    writer.join()


@pytest.mark.parametrize(
    ("purpose", "role"),
    [
        ("trial 7, repeat 1", Role(trial=7)),
        ("retest best", Role(retest="best")),
        ("search 2, trial 3", Role(trial=3, search=2)),
        ("time point 4", Role()),
        ("", Role()),
    ],
)
def test_ledgers_of_earlier_versions_say_in_words_what_a_shot_was_for(
    purpose: str, role: Role
) -> None:
    shot = Shot("sted", {}, purpose=purpose, **asdict(role))
    now = shot_as_dict(shot)
    before = {key: now[key] for key in ("mode", "asked", "field", "at_s", "purpose")}
    assert role_of(before) == role_of(now) == role
    assert shot_from_dict(before) == shot_from_dict(now) == shot


def test_a_ledger_of_this_version_is_not_read_by_its_words() -> None:
    shot = Shot("sted", purpose="trial run of the new objective, trial 3")
    assert role_of(shot_as_dict(shot)) == Role()
