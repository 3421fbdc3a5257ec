"""The queue before a filter: which frame comes first, and what is said of frames given up."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from numpy.typing import NDArray

from agent.plan import AnalysisError
from agent.workers.filter import Filtering, Outcome
from agent.workers.filter_process import Filtered
from tests.helpers.runs import until

Frames = list[NDArray[Any]]


class Beside:
    """Filters in this process; holds each frame until it is told to go on."""

    over = False

    def __init__(self) -> None:
        self.go_on = threading.Semaphore(0)
        self.seen: list[int] = []
        self.erased: list[int] = []

    def warm_up(self, shape: tuple[int, int]) -> None:
        pass

    def restore(self, index: int, timeout_s: float) -> Filtered:
        self.seen.append(index)
        assert self.go_on.acquire(timeout=10)
        return Filtered(index / 10, "cpu", 1.0, None)

    def erase(self, index: int) -> None:
        self.erased.append(index)

    def kill(self) -> None:
        self.go_on.release(100)


def queue(frames: Any, timeout_s: float = 5.0) -> tuple[Filtering, Beside, list[Any]]:
    told: list[tuple[int | None, Outcome]] = []
    beside = Beside()
    filtering = Filtering(
        beside,
        shape=(8, 8),
        modes=("sted",),
        frames=frames,
        timeout_s=timeout_s,
        done=lambda index, outcome: told.append((index, outcome)),
    )
    assert filtering.ready.wait(5)
    return filtering, beside, told


@pytest.mark.parametrize("frames", ["newest", "all"])
def test_who_asks_is_served_first(frames: str) -> None:
    filtering, beside, told = queue(frames)
    tasks = [filtering.submit(0)]
    until(lambda: beside.seen == [0])
    tasks += [filtering.submit(index) for index in range(1, 6)]
    assert filtering.left == (5 if frames == "all" else 1)
    answers: list[float] = []
    asking = threading.Thread(target=lambda: answers.append(filtering.uncertainty(tasks[3])))
    asking.start()
    until(lambda: tasks[3].wanted)
    beside.go_on.release(100)
    asking.join(5)
    assert answers == [0.3]
    filtering.close(finish=True)
    assert beside.seen == ([0, 3, 1, 2, 4, 5] if frames == "all" else [0, 3, 5])
    assert [index for index, _ in told] == beside.seen
    # What is known is answered without asking again.
    assert filtering.uncertainty(tasks[5]) == 0.5 and len(told) == len(beside.seen)


def test_who_gave_up_waiting_is_not_told_later() -> None:
    filtering, beside, told = queue("newest", timeout_s=0.1)
    task = filtering.submit(0)
    with pytest.raises(AnalysisError, match=r"not filtered within 0.1 s \(`filter.timeout_s`\)"):
        filtering.uncertainty(task)
    beside.go_on.release(100)
    until(lambda: beside.erased == [0])
    filtering.close(finish=True)
    assert [(index, type(outcome)) for index, outcome in told] == [(0, AnalysisError)]
    with pytest.raises(AnalysisError):
        filtering.uncertainty(task)


def test_a_backlog_that_is_given_up_is_not_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.workers.filter._GRACE_S", 0.1)
    filtering, beside, told = queue("all")
    for index in range(5):
        filtering.submit(index)
    asked: list[int] = []

    def go_on(left: int) -> bool:
        asked.append(left)
        return len(asked) < 3

    filtering.close(finish=True, go_on=go_on)
    assert asked == [4, 4, 4] and beside.seen == [0]
    assert told == [], "a frame that was ended from outside is no fault"
