"""Frames on their way into a program: raw bits, levels, margins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_AS_THEY_ARE = ("u1", "i1", "i2", "i4", "f2", "f4")
_SIGNED: dict[str, type[np.signedinteger[Any]]] = {"u2": np.int16, "u4": np.int32}


def raw_bits(frame: NDArray[Any]) -> NDArray[Any]:
    """A frame as it goes up: in its own type, of at most four bytes.

    Unsigned numbers that torch hardly knows go as signed ones of the same bits, and numbers that
    are longer or of another byte order as single precision.

    Examples
    --------
    >>> raw_bits(np.array([65535], np.uint16))
    array([-1], dtype=int16)
    """
    code = frame.dtype.str[1:]
    if frame.dtype.kind == "b":
        return frame.view(np.uint8)
    if not frame.dtype.isnative and frame.dtype.itemsize > 1:
        return raw_bits(frame.astype(frame.dtype.newbyteorder("=")))
    if code in _AS_THEY_ARE:
        return frame
    if code in _SIGNED:
        return frame.view(_SIGNED[code])
    # What single precision cannot hold becomes infinite.
    with np.errstate(over="ignore"):
        return frame.astype(np.float32)


def single(raw: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """A frame that went up, in single precision.

    Parameters
    ----------
    raw
        See `raw_bits`.
    dtype
        Of the frame.

    Examples
    --------
    >>> went_up = torch.from_numpy(raw_bits(np.array([65535], np.uint16)))
    >>> single(went_up, np.dtype(np.uint16)).tolist()
    [65535.0]
    """
    if dtype.kind == "u" and dtype.itemsize == 2:
        return raw.to(torch.int32).bitwise_and(0xFFFF).float()
    if dtype.kind == "u" and dtype.itemsize == 4:
        return raw.to(torch.int64).bitwise_and(0xFFFFFFFF).float()
    return raw.float()


def percentiles(values: Tensor, low: float, high: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two percentiles, the least and the largest value, in double precision, on the same device.

    Examples
    --------
    >>> low, high, least, most = percentiles(torch.arange(101.0), 2, 98)
    >>> float(low), float(high), float(least), float(most)
    (2.0, 98.0, 0.0, 100.0)
    """
    ordered = values.flatten().sort().values
    last = ordered.numel() - 1

    def at(percent: float) -> Tensor:
        place = percent / 100 * last
        below = min(int(place), last)
        first, second = ordered[below].double(), ordered[min(below + 1, last)].double()
        return first + (place - below) * (second - first)

    return at(low), at(high), ordered[0].double(), ordered[last].double()


def sorted_levels(values: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Offset and scale as `Normalization.of`, from the sorted pixels: what a GPU is good at.

    Parameters
    ----------
    values
        Single precision, any shape.
    low, high
        Percentiles.

    Returns
    -------
    offset, scale
        Double precision, on the same device, so that they are not waited for.

    Examples
    --------
    >>> offset, scale = sorted_levels(torch.arange(101.0), 2, 98)
    >>> float(offset), float(scale)
    (2.0, 96.0)
    """
    offset, top, least, most = percentiles(values, low, high)
    scale = torch.where(top > offset, top - offset, most - least)
    return offset, torch.where(scale > 0, scale, torch.ones_like(scale))


def mirrored(shape: tuple[int, int], multiple: int) -> list[NDArray[np.int64]] | None:
    """Rows and columns of a frame that is continued by reflection to a multiple; None if it is one.

    As `numpy.pad` does it, also where less than the margin is there.

    Examples
    --------
    >>> [line.tolist() for line in mirrored((4, 3), 4)]
    [[0, 1, 2, 3], [0, 1, 2, 1]]
    """
    if not any(length % multiple for length in shape):
        return None
    return [
        np.pad(np.arange(length), (0, -length % multiple), mode="reflect").astype(np.int64)
        for length in shape
    ]
