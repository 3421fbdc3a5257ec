"""The quality network in a process of its own, beside the acquisition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.workers.network_process import NetworkProcess, compute_on_half_the_cores
from agent.workers.process import START_S, TryAgain
from agent.workers.restarted_process import RestartedProcess
from agent.workers.score import Compute
from agent.workers.shared_process import Start
from models.devices import Failure
from models.quality.score import Score


class ScorerProcess(NetworkProcess):
    """Scores frames in another process, which is started again when it ends.

    Parameters
    ----------
    weights
        Other weights than the bundled ones.
    pixel_size_nm
        Of the frames (nm), where nothing else is said.
    timeout_s
        Longest time for one frame (s).
    device
        What torch computes on; the CPU after a failure of a GPU.
    start
        Starts the process.
    """

    def __init__(
        self,
        weights: Path | None,
        pixel_size_nm: float,
        *,
        timeout_s: float = START_S,
        device: str = "cpu",
        start: Start = RestartedProcess,
    ) -> None:
        self._pixel_size_nm, self._timeout_s = pixel_size_nm, timeout_s
        super().__init__(start, _Scorer, weights, device)

    def __call__(self, frames: list[NDArray[Any]]) -> list[Score]:
        """Scores of some frames (rows × columns each), sent over together.

        Raises
        ------
        TryAgain, TimeoutError
            The process ended, or was ended; or a GPU failed, and the next call is for the CPU.
        ValueError
            A frame cannot be scored, or the weights are no longer those of the beginning.
        """
        return self._score(frames, self._pixel_size_nm)

    def of_pixels(self, pixel_size_nm: float) -> Compute:
        """Scores frames of that pixel size (nm), likewise."""
        return lambda frames: self._score(frames, pixel_size_nm)

    def _score(self, frames: list[NDArray[Any]], pixel_size_nm: float) -> list[Score]:
        scores: list[Score] = self._process.work(
            "score",
            frames,
            pixel_size_nm,
            self.weights_hash,
            timeout_s=len(frames) * self._timeout_s,
        )
        return scores


class _Scorer:
    """What lives in the other process."""

    def __init__(self, weights: Path | None, device: str) -> None:
        from models.quality import QualityScorer

        compute_on_half_the_cores()
        self._scorer = QualityScorer(weights, device)

    def weights_hash(self) -> str:
        return self._scorer.weights_hash()

    def score(
        self, frames: list[NDArray[Any]], pixel_size_nm: float, weights_hash: str
    ) -> list[Score]:
        if (found := self.weights_hash()) != weights_hash:
            raise ValueError(
                f"{self._scorer.path}: sha256 is {found[:12]}…; the run began with"
                f" {weights_hash[:12]}…"
            )
        device, failed = self._scorer.device, None
        try:
            return self._scorer.score_batch(frames, pixel_size_nm)
        except RuntimeError as error:
            if device == "cpu":
                raise
            failed = Failure.of(error)
        self._scorer = type(self._scorer)(self._scorer.path)
        raise TryAgain(f"{device}: {failed.text}; on cpu from here on")
