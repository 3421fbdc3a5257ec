"""Rebuilt frames, and frames of a rebuilt movie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from models.interpolation.normalization import Image


@dataclass(frozen=True, slots=True)
class Interpolated:
    """A rebuilt frame, and how sure the network is of it.

    Parameters
    ----------
    image
        Rows × columns, single precision, in the frames' own units.
    sd
        Standard deviation of each pixel's error, same units: of the Laplace distribution and of
        the difference between the frame as seen forwards and backwards in time, calibrated. From a
        GPU in half precision (0.05%) where the frames have at most 16 bits.
    uncertainty
        One number for the frame: mean `sd` over the mean of |image − background|, the background
        being the two frames' lower percentile. 0.1 is an error of a tenth of the signal.
    device
        Where it was computed: `cpu`, `cuda:0`.
    fault
        Errors on the way, and how they were got around; None without any.
    """

    image: Image
    sd: NDArray[Any]
    uncertainty: float
    device: str = "cpu"
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class MovieFrame:
    """A frame of a movie with a higher frame rate.

    Parameters
    ----------
    image
        Rows × columns, in the type of the measured frames; a measured one is the very array that
        came in.
    measured
        Whether it was measured; else it was rebuilt.
    time
        In frames of the measured movie, from 0.
    sd
        Standard deviation of each pixel's error; None for a measured frame, and NaN where there
        was nothing to rebuild it from but one neighbour.
    uncertainty
        See `Interpolated`; 0 for a measured frame, NaN where `sd` is.
    fault
        A peculiarity: a measured frame that cannot be used or repeats another, a rebuilt one whose
        neighbours were missing or that a GPU failed at. None without any.
    """

    image: NDArray[Any]
    measured: bool
    time: float
    sd: NDArray[Any] | None = None
    uncertainty: float = 0.0
    fault: str | None = None
