"""Filters frames one by one, wherever that can be computed: what all filters have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.attempts import Attempts
from models.devices import Failure
from models.restoration.compute import Answer, Compute, Image, Wait

SMALLEST = 8
"""Rows and columns (pixels) that a frame has at least."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A filtered frame, and how sure the network is of it.

    Parameters
    ----------
    image
        Rows × columns, single precision, in the frame's own units.
    sd
        Standard deviation of each pixel's error, same units: that of the calibrated Laplace
        distribution (√2 × its scale) and the members' disagreement, added in quadrature. From a
        GPU in half precision (0.05%) where the frame has at most 16 bits.
    uncertainty
        One number for the frame: mean `sd` over the mean of |image − background|, the background
        being the frame's lower percentile. 0.1 is an error of a tenth of the signal.
    device
        Where it was computed: `cpu`, `cuda:0`.
    fault
        Errors on the way, and how they were got around; None without any.
    """

    image: Image
    sd: NDArray[Any]
    uncertainty: float
    device: str
    fault: str | None = None


class FrameFilter:
    """Filters frames of any size where it works.

    Where it is computed is tried in turn, the GPU before the CPU, as `Attempts` says: what fails
    on a GPU is tried again, in tiles that get smaller where memory is short, and then on the CPU
    from there on. The frame on which it happened says so (`Restored.fault`). Not for several
    threads at once.

    Parameters
    ----------
    card
        About the model; its `weights_sha256` goes into the ledger.
    places
        Where it can be computed, the first first.
    least
        Side (pixels) of the smallest tile.
    tile
        Longest side (pixels) of a tile, overlap included; by default the place's own.
    """

    def __init__(
        self, card: Mapping[str, Any], places: list[Compute], least: int, tile: int | None = None
    ) -> None:
        self.card = card
        self._least = least
        self._attempts = Attempts(places, tile)

    @property
    def computes(self) -> list[Compute]:
        """Where it is computed, the first first; shorter after a failure."""
        return self._attempts.places

    def weights_hash(self) -> str:
        """SHA-256 of the weights file, in hexadecimal."""
        digest: str = self.card["weights_sha256"]
        return digest

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Do once, before the first frame, what only the first one of a shape (pixels) needs.

        A fault meanwhile is told with the first frame.
        """
        rows, columns = shape
        # Of an empty frame nothing would be computed. A fault of this one is kept for the next.
        self._answer(np.add.outer(np.arange(rows), np.arange(columns)).astype(np.uint16))

    def restore(self, frame: NDArray[Any]) -> Restored:
        """Filter one frame.

        Parameters
        ----------
        frame
            Rows × columns, any real number type, 8 × 8 pixels or more.

        Raises
        ------
        ValueError
            For a frame that is not 2-D, not of real numbers, not finite or too small.
        """
        checked = check(frame)
        return self._told(self._answer(checked))

    def stream(self, frames: Iterable[NDArray[Any]]) -> Iterator[Restored]:
        """Filter frames one after the other, in their order.

        On a GPU a frame is copied and begun while the one before is computed, so that a
        result comes when the frame after it was handed over; until then a frame must not be
        changed. Where each result is wanted before the next frame is there, use `restore`.
        """
        waiting: deque[tuple[NDArray[Any], Wait | Failure]] = deque()
        for frame in frames:
            checked = check(frame)
            waiting.append((checked, self._begin(checked)))
            while len(waiting) > self.computes[0].ahead:
                yield self._end(*waiting.popleft())
        while waiting:
            yield self._end(*waiting.popleft())

    def _begin(self, frame: NDArray[Any]) -> Wait | Failure:
        """Submit a frame; errors here are for `_end`, when its turn comes."""
        compute = self.computes[0]
        try:
            return compute.submit(frame, self._attempts.side(compute))
        except (RuntimeError, MemoryError) as error:
            return Failure.of(error)

    def _end(self, frame: NDArray[Any], begun: Wait | Failure) -> Restored:
        if not isinstance(begun, Failure):
            try:
                return self._told(begun())
            except (RuntimeError, MemoryError) as error:
                begun = Failure.of(error)
        return self._told(self._answer(frame, begun))

    def _answer(self, frame: NDArray[Any], first: Failure | None = None) -> Answer:
        """Where and in as many tiles as it works."""
        return self._attempts.run(
            lambda compute, side: compute.submit(frame, side)(), frame.shape, self._least, first
        )

    def _told(self, answer: Answer) -> Restored:
        compute = self.computes[0]
        for note in compute.notes():
            self._attempts.note(compute, note)
        return Restored(*answer, compute.device, self._attempts.fault())


def check(frame: NDArray[Any]) -> NDArray[Any]:
    """A frame that can be restored, if it is finite.

    Raises
    ------
    ValueError
        It is not 2-D, not of real numbers or too small.

    Examples
    --------
    >>> check(np.zeros((16, 16), np.uint16)).dtype
    dtype('uint16')
    """
    frame = np.asarray(frame)
    if frame.ndim != 2:
        raise ValueError(f"frame of shape {frame.shape}; accepted: one grey image (y, x)")
    if frame.dtype.kind not in "uifb":
        raise ValueError(f"frame of type {frame.dtype}; accepted: real numbers")
    if min(frame.shape) < SMALLEST:
        raise ValueError(
            f"frame of {frame.shape[0]} × {frame.shape[1]} pixels; accepted: at least"
            f" {SMALLEST} × {SMALLEST}"
        )
    return frame
