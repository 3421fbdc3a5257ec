"""Where frames are rebuilt: on the CPU, or on a GPU.

Both take two frames in their own type, and give one in their own units with its uncertainty.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from models.interpolation.normalization import Image
from models.interpolation.weights import Loaded

# How far beyond its window a tile sees. Motion has no bound, but its effect fades.
MARGIN = 96
LEAST = 3 * MARGIN
"""Side (pixels) under which tiles would be nearly all margin."""


class Made(NamedTuple):
    """A frame as `interpolate.Interpolated` has it."""

    image: Image
    sd: NDArray[Any]
    uncertainty: float


class Compute(Protocol):
    """Rebuilds one frame at a time."""

    @property
    def device(self) -> str:
        """As it is told: `cpu`, `cuda:0`."""

    @property
    def largest(self) -> int:
        """Side (pixels) above which frames go through in tiles."""

    def rebuild(self, before: NDArray[Any], after: NDArray[Any], t: float, side: int) -> Made:
        """The frame at `t` between two of one shape, in tiles of at most so many pixels.

        Raises
        ------
        ValueError
            They are not finite.
        """

    def notes(self) -> list[str]:
        """Errors that were got around since the last call."""

    def release(self) -> None:
        """Give back all memory that can be had again later."""


def factor_of_sd(loaded: Loaded, both_ways: bool) -> float:
    """What the network's standard deviation is multiplied by."""
    factors = loaded.calibration
    return factors.both_ways if both_ways else factors.one_way


def finite(frame: NDArray[Any], name: str) -> Image:
    """A frame in single precision."""
    # What single precision cannot hold becomes infinite, and is refused with the rest.
    with np.errstate(over="ignore"):
        pixels = frame.astype(np.float32)
    refuse(name, int((~np.isfinite(pixels)).sum()))
    return pixels


def refuse(name: str, missing: int) -> None:
    """Refuse a frame with values that are not finite."""
    if missing:
        raise ValueError(f"{name} with {missing} values not finite; accepted: finite ones")
