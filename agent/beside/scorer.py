"""The quality network in a process of its own, beside the acquisition."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from agent.beside.worker import WorkerProcess
from models.quality.score import Score

if TYPE_CHECKING:
    from models.quality import QualityScorer


class ScorerProcess:
    """Scores frames in another process.

    Parameters
    ----------
    weights
        Other weights than those that come along.
    pixel_size_nm
        Of the frames (nm).

    Attributes
    ----------
    weights_hash
        SHA-256 of the weights, for the run's provenance.

    Raises
    ------
    OSError, ValueError
        The weights cannot be used.
    """

    def __init__(self, weights: Path | None, pixel_size_nm: float) -> None:
        self._pixel_size_nm = pixel_size_nm
        self._process = WorkerProcess(_open, weights)
        self.weights_hash: str = self._process.call("weights_hash")

    def __call__(self, frames: list[NDArray[Any]]) -> list[Score]:
        """Scores of some frames (rows × columns each), sent over together."""
        scores: list[Score] = self._process.call("score_batch", frames, self._pixel_size_nm)
        return scores

    def close(self) -> None:
        """End the process; a frame that is being scored is finished first."""
        self._process.close()


def _open(weights: Path | None) -> QualityScorer:
    import torch

    from models.quality import QualityScorer

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    return QualityScorer(weights)
