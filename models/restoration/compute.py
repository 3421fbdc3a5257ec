"""Where frames are restored: on the CPU, or on a GPU.

Both take a frame in its own type, and give it back in its own units with its uncertainty. How a
frame is scaled, restored and scaled back is the same; what differs is where each step is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.restoration.folded import Folded

Image = NDArray[np.float32]
# Share of the pixels beyond the upper percentile of the normalization.
_EMPTY = 2e-3


class Answer(NamedTuple):
    """A frame as `frame_filter.Restored` has it.

    Parameters
    ----------
    image, sd
        Rows × columns, in the frame's units.
    uncertainty
        Mean `sd` over the mean of |image − background|.
    """

    image: Image
    sd: NDArray[Any]
    uncertainty: float


Wait = Callable[[], Answer]
"""Waits for a result and returns it."""


class Compute(Protocol):
    """Runs all members on one frame at a time."""

    @property
    def device(self) -> str:
        """As it is told: `cpu`, `cuda:0`."""

    @property
    def largest(self) -> int:
        """Side (pixels) above which a frame goes through in tiles."""

    @property
    def ahead(self) -> int:
        """Results that may be waited for while the next frame is submitted."""

    def submit(self, frame: NDArray[Any], side: int) -> Wait:
        """Start on a frame, in tiles of at most so many pixels.

        Raises, at once or when it is waited for, `ValueError` for a frame that is not finite.
        """

    def notes(self) -> list[str]:
        """Errors that were got around since the last call."""

    def release(self) -> None:
        """Give back all memory that can be had again later."""


def planes(members: Sequence[Folded], calibration: float, image: Tensor) -> Tensor:
    """Location and standard deviation (2 × rows × columns) of an image (1 × 1 × rows × columns).

    A Laplace distribution's standard deviation is √2 times its scale. Of members that disagree
    each may be right: the variance of their locations adds to their mean variance (law of
    total variance).
    """
    found = [member(image) for member in members]
    location = torch.cat([one.location for one in found])
    scale = torch.cat([one.scale for one in found])
    variance = (math.sqrt(2) * calibration * scale).square().mean(0)
    if len(found) > 1:
        variance = variance + location.var(0, unbiased=False)
    return torch.cat([location.mean(0), variance.sqrt()])


def uncertainty(signal: float, mean_sd: float) -> float:
    """One number for a frame, of two that are normalized.

    Examples
    --------
    >>> uncertainty(signal=2.0, mean_sd=0.5)
    0.25
    """
    return mean_sd / max(signal, 1e-6)


def empty(varied: int, size: int) -> bool:
    """Whether so few pixels differ from the background that there is nothing to scale a frame by.

    The two percentiles then coincide, a single count would be a whole signal, and a network's
    output for the background, a few hundredths of that, would be haze that was not measured.

    Parameters
    ----------
    varied
        Pixels that are not the darkest.
    size
        Of all.

    Examples
    --------
    >>> empty(varied=0, size=4096), empty(varied=4000, size=4096)
    (True, False)
    """
    return varied <= _EMPTY * size


def as_it_is(frame: NDArray[Any]) -> Answer:
    """The frame itself, in which each pixel may be wrong by as much as all of them vary.

    Examples
    --------
    >>> answer = as_it_is(np.array([[0, 2]], np.uint16))
    >>> answer.image.tolist(), answer.sd.tolist(), answer.uncertainty
    ([[0.0, 2.0]], [[1.0, 1.0]], 1.0)
    """
    image = frame.astype(np.float32)
    sd = np.full_like(image, image.std(dtype=np.float64))
    signal = float(np.abs(image - image.min()).mean(dtype=np.float64))
    return Answer(image, sd, uncertainty(signal, float(sd.mean(dtype=np.float64))))


def refuse(missing: int) -> None:
    """Refuse a frame with values that are not finite.

    Raises
    ------
    ValueError
        There are some.
    """
    if missing:
        raise ValueError(f"frame with {missing} values not finite; accepted: finite ones")
