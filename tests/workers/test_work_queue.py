"""What all queues beside the acquisition share: their thread, their end, and who waits for them."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from agent.workers.process import WorkerDied
from agent.workers.queue import Work, WorkQueue, analysis_error
from agent.workers.turns import WAITED_FOR
from tests.helpers.runs import until


class Numbers(WorkQueue):
    """Does numbers in their order; each waits for `go_on`, and `bad` ones cannot be written."""

    def __init__(self, *, timeout_s: float = 5.0, bad: int = -1) -> None:
        super().__init__("numbers", timeout_s=timeout_s)
        self.waiting: list[int] = []
        self.done: list[int] = []
        self.begun: list[int] = []
        self.killed = self.settled = False
        self.go_on = threading.Semaphore(0)
        self._bad = bad
        self._thread.start()

    def submit(self, *numbers: int) -> None:
        with self._changed:
            self.waiting += numbers
            self._changed.notify_all()

    def answer(self, number: int) -> bool:
        return self._wait(lambda: number in self.done, lambda: False)

    @property
    def left(self) -> int:
        return len(self.waiting)

    def _next(self) -> Work | None:
        return partial(self._do, self.waiting.pop(0)) if self.waiting else None

    def _do(self, number: int) -> None:
        self.begun.append(number)
        assert self.go_on.acquire(timeout=10)
        self.wanted = WAITED_FOR.get()()
        with self._writing_down():
            if number == self._bad:
                raise OSError("no space left on device")
            if not self._abandoned:
                self.done.append(number)
        with self._changed:
            self._changed.notify_all()

    def _forget(self) -> None:
        self.waiting.clear()

    def _kill(self) -> None:
        self.killed = True
        self.go_on.release()

    def _settle(self) -> None:
        self.settled = True


def test_what_waits_is_done_in_order_before_the_end() -> None:
    queue = Numbers()
    queue.submit(1, 2, 3)
    queue.go_on.release(3)
    queue.close(finish=True)
    assert queue.done == [1, 2, 3] and queue.settled and not queue.killed
    assert not queue._thread.is_alive()


def test_an_idle_queue_ends_at_once() -> None:
    queue = Numbers()
    queue.close(finish=True)
    assert queue.settled and not queue.killed


def test_what_is_given_up_is_ended_and_the_rest_dropped() -> None:
    queue = Numbers()
    queue.submit(1, 2, 3)
    until(lambda: queue.begun == [1])
    left: list[int] = []

    def go_on(count: int) -> bool:
        left.append(count)
        return len(left) < 2

    queue.close(finish=True, go_on=go_on)
    assert left == [2, 2] and queue.killed
    assert queue.begun == [1] and queue.done == [] and not queue.settled


def test_an_outcome_that_cannot_be_written_ends_the_finishing_and_not_the_thread() -> None:
    queue = Numbers(bad=1)
    queue.submit(1, 2)
    queue.go_on.release(2)
    assert queue.answer(2), "the thread went on"
    assert isinstance(queue.failure, OSError)
    queue.submit(3, 4)
    until(lambda: queue.begun[-1] == 3)
    queue.close(finish=True)
    assert queue.done == [2] and queue.killed


def test_a_plan_that_waits_is_known_and_is_let_go_in_time() -> None:
    queue = Numbers(timeout_s=0.05)
    queue.submit(1)
    assert not queue.answer(1)
    queue.go_on.release()
    until(lambda: queue.done == [1])
    assert queue.answer(1) and not queue.wanted

    patient = Numbers()
    patient.submit(1)
    until(lambda: patient.begun == [1])
    asking = threading.Thread(target=patient.answer, args=(1,))
    asking.start()
    until(lambda: patient._asking == 1)
    patient.go_on.release()
    asking.join(5)
    assert patient.wanted and patient._asking == 0
    for each in (queue, patient):
        each.close(finish=True)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            TimeoutError("no answer within 3 s"),
            "took too long (`filter.timeout_s`)",
        ),
        (WorkerDied("its process ended"), "its process ended"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_errors_say_why(error: Exception, words: str) -> None:
    found = analysis_error("filtering frame 3", error, "filter.timeout_s")
    assert str(found) == f"filtering frame 3 failed: {words}" and found.__cause__ is error
