"""Frames as they come: filtered, with their uncertainty and their score, by resident models."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from models.accelerator import Accelerator
from models.cuda import accelerator_of
from models.devices import error_text
from models.quality import QualityScorer
from models.quality.resampling import PIXEL_SIZE_NM
from models.quality.score import Score
from models.restoration import Restored, open_filter


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """What the models make of one frame.

    Parameters
    ----------
    restored
        The filtered frame and its uncertainty; `restored.fault` names errors of either model that
        were got around.
    score
        Quality of the raw frame.
    """

    restored: Restored
    score: Score


class Online:
    """A filter and the quality network, loaded once, for frames of one microscope.

    What happens when a GPU fails or is full is told in `Restorer`; scores are then computed on the
    CPU, too. Not for several threads at once.

    Parameters
    ----------
    model
        Of the filter: see `models.restoration.open_filter`.
    quality
        Weights of the quality network; by default the shipped ones.
    pixel_size_nm
        Of the frames (nm).
    device
        `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`; or what takes a GPU's place.
    trust
        Whether Python code that comes with a model of the zoo may be run.

    Raises
    ------
    FileNotFoundError
        If weights or cards are missing.
    ValueError
        If they cannot be used, or there is no such device.

    Examples
    --------
    >>> from models.gpu_check.frames import frame
    >>> online = Online("actin", device="cpu")
    >>> seen = online.see(frame(64, 64))
    >>> seen.restored.image.shape, 0 <= seen.score.value <= 1
    ((64, 64), True)
    """

    def __init__(
        self,
        model: str | Path,
        *,
        quality: Path | None = None,
        pixel_size_nm: float = PIXEL_SIZE_NM,
        device: str | Accelerator = "auto",
        trust: bool = False,
    ) -> None:
        accelerator = accelerator_of(device)
        self.restorer = open_filter(
            model, accelerator or "cpu", pixel_size_nm=pixel_size_nm, trust=trust
        )
        self.scorer = QualityScorer(quality, accelerator or "cpu")
        self._pixel_size_nm = pixel_size_nm

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Do once, before the first frame, what only the first one of a shape (pixels) needs."""
        self.restorer.warm_up(shape)
        self.scorer.warm_up(shape, self._pixel_size_nm)

    def see(self, frame: NDArray[Any]) -> SeenFrame:
        """Filter and score one frame (rows × columns, any real number type).

        Raises
        ------
        ValueError
            For a frame that cannot be filtered (`Restorer.restore`) or scored
            (`QualityScorer.score`).
        """
        return next(self.stream([frame]))

    def stream(self, frames: Iterable[NDArray[Any]]) -> Iterator[SeenFrame]:
        """Filter and score frames one after the other, in their order.

        On a GPU a frame is copied and begun before the one ahead of it is scored: see
        `Restorer.stream`.
        """
        waiting: deque[NDArray[Any]] = deque()

        def handed_over() -> Iterator[NDArray[Any]]:
            for frame in frames:
                waiting.append(frame)
                yield frame

        for restored in self.restorer.stream(handed_over()):
            yield self._scored(restored, waiting.popleft())

    def _scored(self, restored: Restored, frame: NDArray[Any]) -> SeenFrame:
        device = self.scorer.device
        try:
            return SeenFrame(restored, self.scorer.score(frame, self._pixel_size_nm))
        except RuntimeError as error:
            if device == "cpu":
                raise
            self.scorer = QualityScorer(self.scorer.path)
            fault = f"{device}: {error_text(error)}; scores on cpu from here on"
            both = replace(restored, fault="; ".join(filter(None, (restored.fault, fault))))
            return SeenFrame(both, self.scorer.score(frame, self._pixel_size_nm))
