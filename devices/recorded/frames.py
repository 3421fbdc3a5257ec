"""The frames of one image of a file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.recorded.description import Place
from devices.recorded.errors import ImageError
from devices.recorded.scale import About, Scale
from devices.recorded.series import GREY, LARGEST_BYTES, Part, Series, lettered, reason
from devices.recorded.units import Quantity


class Frames:
    """The grey frames of one image that are meant, read one at a time.

    Parameters
    ----------
    series
        The image.
    part
        What of it is meant.

    Raises
    ------
    ImageError
        It is in colour, has several channels of which none was chosen, or is not of real numbers;
        a place was chosen that is not there.
    """

    def __init__(self, series: Series, part: Part) -> None:
        series = lettered(series)
        self.file, self.description = series.file, series.description
        self._series, self._part = series, part
        shape = tuple(series.shape)
        if series.color:
            raise ImageError(f"{self.file}: a colour image of shape {shape}; {GREY}")
        if not math.prod(shape):
            raise ImageError(f"{self.file}: holds no image (shape {shape})")
        lengths = dict(zip(series.axes, shape, strict=True))
        if len(lengths) < len(series.axes):
            raise ImageError(f"{self.file}: axes {series.axes.upper()}, shape {shape}; {GREY}")
        self._taken = dict(part.at)
        for axis, place in part.at.items():
            _check_place(self.file, part, axis, place, lengths)
        if lengths.get("c", 1) > 1 and "c" not in part.at:
            names = ", ".join(
                f"{number} {name}"
                for number, name in enumerate(self.description.channels())
                if name
            )
            raise ImageError(
                f"{self.file}: {lengths['c']} channels{' last' if series.axes[-1] == 'c' else ''}"
                f"{f' ({names})' if names else ''}; {GREY}{part.option('channel', 'N')}"
            )
        if "c" in lengths:
            self._taken.setdefault("c", 0)
        self.axes = "".join(axis for axis in series.axes if axis not in self._taken)
        if self.axes[-2:] != "yx":
            raise ImageError(f"{self.file}: axes {series.axes.upper()}, shape {shape}; {GREY}")
        if series.dtype.kind not in "uif":
            raise ImageError(f"{self.file}: pixels of type {series.dtype}; accepted: real numbers")
        self.axes = self.axes[:-2]
        self.lengths = tuple(lengths[axis] for axis in self.axes)
        self.shape = (lengths["y"], lengths["x"])
        if math.prod(self.shape) * series.dtype.itemsize > LARGEST_BYTES:
            rows, columns = self.shape
            raise ImageError(
                f"{self.file}: frames of {rows} × {columns} pixels; accepted: up to"
                f" {LARGEST_BYTES} bytes each"
            )
        self.offset = self.description.offset
        self.dtype = np.dtype(np.int16) if self.offset else series.dtype

    def __len__(self) -> int:
        return math.prod(self.lengths)

    @cached_property
    def places(self) -> list[Place]:
        """Where each frame is."""
        spans = [range(length) for length in self.lengths]
        return [self._taken | dict(zip(self.axes, at, strict=True)) for at in product(*spans)]

    def held(self, number: int) -> bool:
        """Whether the file has the pixels of a frame; what it lacks would read as zeros."""
        place = self.places[number]
        return self._series.held([place.get(axis, 0) for axis in self._series.axes])

    def __getitem__(self, number: int) -> NDArray[Any]:
        """A frame, rows × columns.

        Raises
        ------
        IndexError
            There is no such frame.
        ImageError
            It cannot be read.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"{self.file}: no frame {number}, there are 0 … {len(self) - 1}")
        place = self.places[number]
        if self._series.gaps and not self.held(number):
            raise ImageError(f"{self.file}, frame {number}: is not in the file")
        key = tuple(slice(None) if axis in "yx" else place[axis] for axis in self._series.axes)
        try:
            frame = np.asarray(self._pixels[key])
        except Exception as error:  # anything that a damaged file leads to
            raise ImageError(
                f"{self.file}, frame {number}: not readable: {reason(error)}"
            ) from None
        if self.offset:
            return (frame.astype(np.int32) + self.offset).astype(self.dtype)
        return frame.astype(self.dtype, copy=False)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self[number] for number in range(len(self)))

    def mapped(self) -> NDArray[Any] | None:
        """All frames (n × rows × columns) on disk, where they lie there one after the other."""
        series = self._series
        if (
            series.mapped is None
            or self.offset
            or math.prod(series.shape) != len(self) * math.prod(self.shape)
        ):
            return None
        return series.mapped().reshape(-1, *self.shape)

    @cached_property
    def _pixels(self) -> Any:
        return self._series.pixels()

    def scale(self, pixel_size_nm: float | None = None, interval_s: float | None = None) -> Scale:
        """What a pixel and a frame are in the world.

        Parameters
        ----------
        pixel_size_nm, interval_s
            Instead of what the file says.

        Raises
        ------
        ImageError
            The file states one in a way that cannot be used.
        """
        told = self.description
        sizes: dict[str, Quantity | None] = {}
        if pixel_size_nm is not None:
            sizes = dict.fromkeys("yx", Quantity(pixel_size_nm, "nanometer"))
        asked = [axis for axis in "yxz" if axis in self._series.axes and axis not in sizes]
        with self._told("pixel-size NM"):
            sizes |= {axis: told.size(axis) for axis in asked}
        interval, times = None, None
        if interval_s is not None:
            interval = Quantity(interval_s, "second")
        else:
            with self._told("interval S"):
                interval, times = told.interval(), told.times(self.places)
        planes = told.planes(self.places)
        return Scale(sizes["y"], sizes["x"], sizes.get("z"), interval, times, planes)

    @contextmanager
    def _told(self, instead: str) -> Iterator[None]:
        """Name the file, and the option that says it instead, where a statement cannot be used."""
        try:
            yield
        except ImageError as error:
            spelled = self._part.spelled
            option = f", or --{instead}" if spelled.startswith("--") else ""
            raise ImageError(f"{self.file}: {error}{option}") from None

    def about(self) -> About:
        """What else the file says."""
        told = self.description
        kinds = told.kinds(self.places)
        return About(told.imagej(), self.offset, told.resolution(), told.made(), kinds)

    def as_movie(self) -> str | None:
        """Check that the frames run along one axis that can be time.

        Returns
        -------
        str or None
            Assumptions that were made.

        Raises
        ------
        ImageError
            They run along several, or along depth.
        """
        long = [axis for axis, length in zip(self.axes, self.lengths, strict=True) if length > 1]
        along = self._part.along
        if along is not None and along not in self._series.axes:
            raise ImageError(
                f"{self.file}: {self._part.spelled.format('axis')} {along}: there is no such"
                f" axis; accepted: {', '.join(self._series.axes[:-2])}"
            )
        by = " × ".join(map(str, self._series.shape))
        where = f"{self.file}: axes {self._series.axes.upper()} of {by}"
        if len(long) > 1 or (along is not None and [along] != long and long):
            raise ImageError(
                f"{where}; accepted: one movie, frames along one axis"
                f"{self._part.option('axis', f'{long[-1]}=N')}"
            )
        axis = next(iter(long), "t")
        if axis in "tiq" or axis == along:
            return None
        # ImageJ saves any stack as one of slices, until it is told otherwise.
        if axis == "z" and self.description.imagej():
            return "its axis Z is taken for time"
        spelled = self._part.spelled
        asked = f"; --axis {axis} takes it for time" if spelled.startswith("--") else ""
        raise ImageError(f"{where}; accepted: a movie, frames along time{asked}")


def _check_place(file: Path, part: Part, axis: str, place: int, lengths: dict[str, int]) -> None:
    spelled = part.spelled.format("channel" if axis == "c" else f"axis {axis}") or axis
    if axis not in lengths or axis in "yx":
        accepted = ", ".join(name for name in lengths if name not in "yx") or "none"
        raise ImageError(f"{file}: {spelled} {place}: no such axis here; accepted: {accepted}")
    if not 0 <= place < lengths[axis]:
        raise ImageError(f"{file}: {spelled}: found {place}; accepted: 0 to {lengths[axis] - 1}")
