"""One image of a file: its axes, and its frames, each read when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.recorded.description import Description, Place
from devices.recorded.errors import ImageError

LARGEST_BYTES = 2**29
"""Of a frame, or of a piece that is stored in one: 16,384 × 16,384 pixels of 16 bits. Damaged and
hostile files claim any size, and memory is asked for before the first pixel is read."""
GREY = "accepted: grey frames of one channel, or a stack of them"
# Fewer columns than this are no image but channels.
_CHANNELS = 4
_SMALLEST = 8
"""Side below which an array is no image (pixels)."""
_FREE = "qijklmnopuvw"
_CONFIGURATION = re.compile(r" \{\d+\}$")
"""Which configuration of Imspector a stack is of."""


@dataclass(frozen=True, slots=True)
class Part:
    """What of a file is meant.

    Parameters
    ----------
    series
        Number or name of the image, where a file has several. Imspector's names are known without
        the number of the configuration, too (`Ch1` of `Ch1 {0}`); in a file of one image, a name
        is that of a channel.
    at
        Place along axes, by their letter: `{"c": 1}` is the second channel.
    along
        The axis that frames of a movie run along, where it is not time.
    spelled
        How a person makes this choice, with the place of its name, for messages; empty where that
        is not possible.
    """

    series: int | str | None = None
    at: Place = field(default_factory=dict)
    along: str | None = None
    spelled: str = "--{}"

    def option(self, name: str, value: str = "") -> str:
        """`; --channel N takes one`, if there is such an option."""
        if not self.spelled:
            return ""
        return f"; {self.spelled.format(name)}{f' {value}' if value else ''} takes one"


@dataclass(frozen=True, slots=True)
class Series:
    """One image.

    Parameters
    ----------
    file
        Where it is.
    name
        What the file calls it.
    axes
        A letter for each: t, c, z, y, x; i and q where the file has no name for one.
    shape
        Length of each.
    dtype
        Of the pixels, in the machine's byte order.
    color
        Whether its samples are colours.
    pixels
        Opens an array that reads only the parts that are asked for.
    description
        What the file says of it.
    held
        Whether the file has the pixels of a frame at all, by its place along each axis (0 for
        y and x).
    gaps
        Whether a frame that is not held is missing. (OME-Zarr leaves out dark ones, too.)
    mapped
        Maps the pixels where they lie on disk as they are; None where they do not.
    named
        Whether the file itself has names for the axes.
    """

    file: Path
    name: str
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    color: bool
    pixels: Callable[[], Any]
    description: Description
    held: Callable[[Sequence[int]], bool]
    gaps: bool = True
    mapped: Callable[[], NDArray[Any]] | None = None
    named: bool = True

    def __str__(self) -> str:
        by = " × ".join(map(str, self.shape))
        try:
            size = self.description.size("x")
        except ImageError:
            size = None
        told = f" at {size.nm:.4g} nm" if size else ""
        return f"{self.name + ': ' if self.name else ''}{by} ({self.axes.upper()}){told}"


def lettered(series: Series) -> Series:
    """The same image, a letter of its own for each axis, samples and the last ones as channels."""
    axes, shape = series.axes, series.shape
    free = iter(letter for letter in _FREE if letter not in axes)
    axes = "".join(
        next(free, axis) if axis in axes[:at] and axis not in "yx" else axis
        for at, axis in enumerate(axes)
    )
    if "s" in axes and "c" not in axes and not series.color:
        axes = axes.replace("s", "c")
    last = len(shape) > 2 and shape[-1] <= _CHANNELS and min(shape[-3:-1]) > _SMALLEST
    if not series.named and last and "c" not in axes:
        axes = f"{axes[:-3]}yxc"
    return replace(series, axes=axes)


def chosen(images: Sequence[Series], part: Part) -> tuple[Series, Part]:
    """The image that is meant, and what of it is.

    Raises
    ------
    ImageError
        There are several and none was chosen, or none like the chosen one.
    """
    file, wanted = images[0].file, part.series
    listed = "; ".join(f"{number} {image}" for number, image in enumerate(images))
    if wanted is None:
        if len(images) > 1:
            raise ImageError(
                f"{file}: holds {len(images)} images: {listed}"
                f"{part.option('series', 'N') or '; accepted: one'}"
            )
        return images[0], part
    if isinstance(wanted, str):
        named = [one for one in images if wanted in (one.name, _CONFIGURATION.sub("", one.name))]
        channels = images[0].description.channels() if len(images) == 1 else []
        if len(named) == 1:
            return named[0], part
        if wanted in channels and "c" not in part.at:
            return images[0], replace(part, at={**part.at, "c": channels.index(wanted)})
        if not wanted.isdecimal():
            several = f"{len(named)} are called that" if named else "no image is called that"
            raise ImageError(f"{file}: {wanted!r}: {several}; there is {listed}")
    number = int(wanted)
    if not 0 <= number < len(images):
        raise ImageError(f"{file}: {part.spelled.format('series')} {number}: there is {listed}")
    return images[number], part


def reason(error: BaseException) -> str:
    """The first line of the error."""
    return (str(error).splitlines() or [""])[0][:200] or type(error).__name__
