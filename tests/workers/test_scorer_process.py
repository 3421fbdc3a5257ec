"""A scorer whose process is killed, stopped or hangs: no frame is lost, the run ends well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.plan import AnalysisError
from agent.workers.process import WorkerDied, WorkerProcess
from agent.workers.score import Analysis, Compute
from agent.workers.score_process import ScorerProcess
from models.quality.score import Score
from tests.doubles.loading import Reads
from tests.helpers.runs import mean_score, recorded, run_session, until

FRAMES = [np.full((16, 16), value, np.uint16) for value in range(40)]


def killed_scorer(*, while_scoring: int) -> Callable[[list[Any]], list[Score]]:
    """Ends once, when it has scored so many frames."""
    left = [while_scoring]

    def score(frames: list[Any]) -> list[Score]:
        left[0] -= len(frames)
        if left[0] < 0:
            left[0] = 10**9
            raise WorkerDied("its process ended, with exit code -9")
        return mean_score(frames)

    return score


@pytest.mark.parametrize("policy", ["skip", "stop"])
def test_a_run_whose_scorer_is_killed_scores_every_frame(tmp_path: Path, policy: str) -> None:
    result, run = run_session(
        tmp_path,
        session={"scorer": killed_scorer(while_scoring=7)},
        analysis={"score": True, "on_error": policy},
    )
    assert result.status == "completed", result.reason
    found = recorded(run)
    assert all(taken.score is not None for taken in found.taken.values())
    (fault,) = found.faults
    assert fault["policy"] == "go on"
    assert "its process ended, with exit code -9; tried again" in fault["what"]
    assert found.given_up() == {}


@pytest.mark.parametrize("error", [WorkerDied("ended"), TimeoutError()])
def test_a_frame_that_ends_the_scorer_each_time_goes_without_alone(error: Exception) -> None:
    go_on = threading.Event()
    told: dict[int, Any] = {}
    again: list[int] = []

    def score(frames: list[Any]) -> list[Score]:
        assert go_on.wait(10)
        if any(frame[0, 0] == 5 for frame in frames):
            raise error
        return mean_score(frames)

    work = Analysis(
        score,
        queue=100,
        timeout_s=20,
        done=lambda index, outcome: told.__setitem__(index, outcome),
        again=lambda index, error: again.append(index),
    )
    for index, frame in enumerate(FRAMES):
        work.submit(index, frame)
    go_on.set()
    work.close(finish=True)
    assert [i for i in told if isinstance(told[i], AnalysisError)] == [5]
    assert len(told) == len(FRAMES)
    assert 5 in again and len(again) == 2, "its batch, and it alone"


class Sized:
    """Scores that say which pixel size they were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, int]] = []
        self.go_on = threading.Event()

    def __call__(self, frames: list[Any]) -> list[Score]:
        return self.of_pixels(20.0)(frames)

    def of_pixels(self, pixel_size_nm: float) -> Compute:
        def score(frames: list[Any]) -> list[Score]:
            assert self.go_on.wait(10)
            self.asked.append((pixel_size_nm, len(frames)))
            return [Score(pixel_size_nm / 1000, 0.1) for _ in frames]

        return score


def test_frames_are_scored_at_the_pixel_size_that_they_had() -> None:
    """Together as far as it is one; also those that were passed over, and are asked for later."""
    scorer = Sized()
    told: dict[int, Any] = {}
    work = Analysis(
        scorer, queue=4, timeout_s=20, done=lambda index, score: told.__setitem__(index, score)
    )
    sizes = [40.0, None, None, 30.0, 30.0, 30.0]
    first = work.submit(0, FRAMES[0], sizes[0])
    until(lambda: work.left == 0)
    futures = [first, *(work.submit(i, FRAMES[i], sizes[i]) for i in range(1, len(sizes)))]
    scorer.go_on.set()
    found = [work.result(i, FRAMES[i], future, sizes[i]).value for i, future in enumerate(futures)]
    work.close(finish=True)
    assert found == [0.04, 0.02, 0.02, 0.03, 0.03, 0.03]
    assert sum(count for _, count in scorer.asked) == len(sizes)
    assert (30.0, 3) in scorer.asked


@pytest.mark.process
@pytest.mark.slow
def test_the_network_s_process_is_started_again() -> None:
    rng = np.random.default_rng(0)
    frames = [rng.poisson(mean, (64, 64)).astype(np.uint16) for mean in (2, 20)]
    process = ScorerProcess(None, 20.0)
    told: list[Any] = []
    work = Analysis(process, queue=9, timeout_s=60, done=lambda *one: told.append(one))
    try:
        together = process(frames)
        alone = process(frames[:1])
        coarse = process.of_pixels(40.0)(frames)
        first = process.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        after = work.result(0, frames[0], work.submit(0, frames[0]))
        assert process.pid != first
        process.weights_hash = "0" * 64
        with pytest.raises(ValueError, match="the run began with 000000000000"):
            process(frames)
    finally:
        work.close(finish=False)
        process.close()
    assert alone[0] == after
    assert together[0].flags == alone[0].flags
    assert coarse[1].value != pytest.approx(together[1].value, abs=1e-5)
    assert together[0].value == pytest.approx(alone[0].value, abs=1e-5)
    assert told == [(0, after)]


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="knows no priorities")
def test_a_network_gives_way_to_the_acquisition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.workers.process._NICER", 3)
    worker = WorkerProcess(Reads)
    try:
        assert worker.pid is not None
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == min(19, ours + 3)
    finally:
        worker.kill()


@pytest.mark.process
@pytest.mark.slow
def test_weights_are_read_without_what_takes_long_to_import() -> None:
    """The compiler of torch or torchmetrics take longer than all else before it is ready."""
    process = WorkerProcess(Reads)
    try:
        assert process.call("imported", timeout_s=60) == []
    finally:
        process.kill()


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no process can be stopped here")
def test_a_worker_that_is_stopped_for_good_does_not_keep_its_parent_from_ending() -> None:
    script = (
        "import os, signal, sys\n"
        "from agent.workers import process\n"
        "from tests.doubles.restorers import Doubling\n"
        "if __name__ == '__main__':\n"
        "    process._IMPORTED.clear()\n"  # what takes longest to import is not needed here
        "    worker = process.WorkerProcess(Doubling)\n"
        "    os.kill(worker.pid, signal.SIGSTOP)\n"
        "    worker.close()\n"
        "    print(worker.pid)\n"
    )
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr

    def gone() -> bool:
        try:
            os.kill(int(ended.stdout), 0)
        except ProcessLookupError:
            return True
        return False

    until(gone)
