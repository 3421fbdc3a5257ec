"""The quality network in a process of its own, beside the acquisition.

In a thread it would share Python's interpreter lock with the acquisition and slow it by half; in a
process of lower priority it uses what the acquisition leaves.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from models.quality.score import Score

_NICER = 15
_scorer: Any = None


def _settle() -> None:
    """Leave Ctrl-C to the parent, end when it ends, and let it go first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
        os._exit(0)

    threading.Thread(target=follow, name="follow the parent", daemon=True).start()
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_NICER)


def _open(weights: Path | None) -> str:
    import torch

    from models.quality import QualityScorer

    global _scorer
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    _scorer = QualityScorer(weights)
    digest: str = _scorer.weights_hash()
    return digest


def _score(frames: list[NDArray[Any]], pixel_size_nm: float) -> list[Score]:
    scores: list[Score] = _scorer.score_batch(frames, pixel_size_nm)
    return scores


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
        self._pool = ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context("spawn"), initializer=_settle
        )
        try:
            self.weights_hash = self._pool.submit(_open, weights).result()
        except BaseException:
            self.close()
            raise

    def __call__(self, frames: list[NDArray[Any]]) -> list[Score]:
        """Scores of some frames (rows × columns each), sent over together."""
        return self._pool.submit(_score, frames, self._pixel_size_nm).result()

    def close(self) -> None:
        """End the process; a frame that is being scored is finished first."""
        self._pool.shutdown(wait=False, cancel_futures=True)
