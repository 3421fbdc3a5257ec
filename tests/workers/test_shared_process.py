"""One process for score, filter and interpolator: turns, ends, and a run that uses it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agent.record.filtered import By
from agent.record.images import ImageStore
from agent.record.layout import Layout
from agent.workers import score_process as scoring
from agent.workers import start
from agent.workers.filter_process import FilterProcess
from agent.workers.process import TryAgain, WorkerDied
from agent.workers.shared_process import SharedProcess
from agent.workers.turns import WAITED_FOR, Turns
from models.quality import QualityScorer
from tests.doubles.restorers import Counting, Doubling
from tests.helpers.runs import assert_left_well, recorded, run_session, until


class TestTurns:
    def test_who_is_waited_for_comes_first_even_if_that_is_said_later(self) -> None:
        turns = Turns()
        served: list[str] = []
        wanted: set[str] = set()
        go_on = threading.Event()

        def ask(name: str) -> None:
            WAITED_FOR.set(lambda: name in wanted)
            with turns.turn():
                served.append(name)
                if name == "first":
                    assert go_on.wait(240)

        threads = []
        for name in ("first", "filter", "score", "rebuild"):
            threads.append(threading.Thread(target=ask, args=(name,)))
            threads[-1].start()
            until(lambda: len(turns._line) + len(served) == len(threads))
        wanted.add("rebuild")
        go_on.set()
        for thread in threads:
            thread.join(240)
        assert served == ["first", "rebuild", "filter", "score"]

    def test_a_failure_lets_the_next_one_in(self) -> None:
        turns = Turns()
        with pytest.raises(ZeroDivisionError), turns.turn():
            raise ZeroDivisionError
        with turns.turn():
            pass


@pytest.mark.process
@pytest.mark.slow
def test_objects_share_a_process_and_come_back_with_it() -> None:
    shared = SharedProcess()
    first, second = shared.start(Counting, "a"), shared.start(Counting, "b")
    first.warm_up()
    assert first.pid == second.pid
    assert first.work("count", timeout_s=20) == ("a", 1, True)
    assert second.work("count", timeout_s=20) == ("b", 1, False)
    with pytest.raises(ArithmeticError):
        second.work("fail", timeout_s=20)
    assert second.work("count", timeout_s=20) == ("b", 2, False), "an error is no end"
    before = first.pid
    for _ in range(3):
        with pytest.raises(WorkerDied, match="exit code 9"):
            second.work("end", timeout_s=20)
    assert second.over and not first.over
    with pytest.raises(WorkerDied, match="3 times in a row; not started again"):
        second.work("count", timeout_s=20)
    assert first.work("count", timeout_s=20) == ("a", 1, True), "warmed up again"
    assert first.pid != before
    with pytest.raises(TypeError):
        shared.start(Counting)
    first.close()
    second.close()


@pytest.mark.process
@pytest.mark.slow
def test_a_filter_that_is_given_up_takes_the_process_with_it_only_at_its_own_work(
    tmp_path: Path,
) -> None:
    images = ImageStore(tmp_path, pixel_size_um=0.02)
    for index in range(2):
        images.write(index, np.full((16, 16), index, np.uint16))
    shared = SharedProcess()
    other = shared.start(Counting, "a")
    by = By("doubling", Layout(), ("sted",))
    hangs = FilterProcess(
        Doubling(hang_at=(1,)), tmp_path, by, pixel_size_um=0.02, start=shared.start
    )
    assert hangs.restore(0, 20).uncertainty == 0
    failed: list[BaseException] = []

    def filter_the_next() -> None:
        try:
            hangs.restore(1, 300)
        except WorkerDied as error:
            failed.append(error)

    thread = threading.Thread(target=filter_the_next)
    thread.start()
    until(lambda: shared._at_work is not None)
    hangs.kill()
    thread.join(240)
    assert failed, "the filter still hangs"
    assert other.work("count", timeout_s=20) == ("a", 1, False)
    pid = other.pid
    hangs.kill()
    assert other.pid == pid and other.work("count", timeout_s=20) == ("a", 2, False)
    other.close()


@pytest.mark.process
@pytest.mark.slow
def test_a_run_with_one_process_for_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine with a GPU; here, its place is taken by the CPU."""
    seen: list[Any] = []
    started = SharedProcess.start

    def noted(self: SharedProcess, make: Any, *args: Any) -> Any:
        part = started(self, make, *args)
        seen.append((make.__name__, part.pid))
        return part

    monkeypatch.setattr(SharedProcess, "start", noted)
    monkeypatch.setattr(start, "gpu_of", lambda *_, **__: "cpu")
    monkeypatch.setattr("agent.run.opening.check_filter", lambda config, source: None)
    result, run = run_session(
        tmp_path,
        session={"restore": Doubling()},
        live={"frames": 6},
        filter={"model": "ours.safetensors", "frames": "all"},
        analysis={"score": True},
    )
    assert result.status == "completed", result.reason
    assert_left_well(capsys, run, "completed", acquired=6)
    assert [name for name, _ in seen] == ["_Scorer", "_Filter"]
    assert len({pid for _, pid in seen}) == 1, "each has a process of its own"
    found = recorded(run)
    assert sorted(found.filtered()) == list(range(6))
    assert all(taken.score is not None for taken in found.taken.values())
    assert found.faults == []


@pytest.mark.parametrize(
    ("devices", "own", "found"),
    [
        (("auto", None), (True, True), "cuda:0"),
        (("cpu", None), (True, True), None),
        (("auto", None), (False, True), None),
        ((None, None), (True, True), None),
    ],
)
def test_one_process_owns_the_gpu_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, devices: Any, own: tuple[bool, bool], found: str | None
) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    filters, rebuilds = devices
    config: Any = SimpleNamespace(
        filter=SimpleNamespace(device=filters) if filters else None,
        section=SimpleNamespace(rebuilds=lambda: rebuilds is not None),
        timelapse=SimpleNamespace(device=rebuilds),
    )
    assert start.gpu_of(config, own_filter=own[0], own_interpolator=own[1]) == found
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert start.gpu_of(config, own_filter=own[0], own_interpolator=own[1]) is None


@pytest.mark.slow
def test_a_score_that_a_gpu_fails_at_is_computed_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = torch.get_num_threads()
    made = scoring._Scorer(None, "cpu")
    torch.set_num_threads(threads)
    frame = np.eye(64)

    def fails(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(made._scorer, "score_batch", fails)
    made._scorer.device = "cuda:0"
    weights = made.weights_hash()
    with pytest.raises(TryAgain, match="cuda:0: out of memory; on cpu from here on"):
        made.score([frame], 20.0, weights)
    assert made.score([frame], 20.0, weights) == [QualityScorer().score(frame)]
