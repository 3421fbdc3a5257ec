"""Imspector's files (`.msr`, `.obf`) as images, through obffile.

The format (https://imspectordocs.readthedocs.io/en/latest/fileformat.html) is a chain of stacks,
each with a name (a channel of a configuration: `Ch1 {0}`), sizes, lengths and units.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from devices.recorded.description import Description, Place
from devices.recorded.errors import ImageError
from devices.recorded.series import Series, reason
from devices.recorded.units import LENGTHS, SYMBOLS, TIMES, Quantity, quantity

if TYPE_CHECKING:
    from obffile import ObfFile, ObfStack

LARGEST_STACK_BYTES = 2**32
"""Of a stack, which is compressed as a whole and therefore read as a whole."""
# What zlib makes of one stored byte, at most (https://zlib.net/zlib_tech.html).
_INFLATED = 1032
_MOST_AXES = 15
"""Of a stack, as the file format has it."""
# Axes as Imspector stores them, where a label does not say: the first one changes fastest.
_AXES = "xyzt"
_ZLIB = 1
"""Number of this compression in a stack's header; 0 is none."""


def open_imspector(file: Path, files: ExitStack) -> list[Series]:
    """The stacks of a file, until `files` is left.

    Raises
    ------
    ImageError
        obffile is not installed; it is no such file, damaged, or claims what cannot be.
    """
    from obffile import ObfFile

    try:
        whole = files.enter_context(ObfFile(file, squeeze=False))
        return [_series(file, whole, stack) for stack in _stacks(whole)]
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from None
    except Exception as error:  # anything that a damaged file leads to
        raise ImageError(
            f"{file}: not a readable file of Imspector: {reason(error)}; accepted: whole .msr and"
            " .obf files in the Object Binary Format"
        ) from None


def _stacks(whole: ObfFile) -> Iterator[ObfStack]:
    """One after the other; `ObfFile.stacks` keeps one of each name alone, and follows circles."""
    from obffile import ObfStack

    position, seen = whole.header.first_stack_pos, set[int]()
    while position:
        if position in seen:
            raise ImageError("damaged: its list of images has no end")
        seen.add(position)
        whole.filehandle.seek(position)
        stack = ObfStack(whole.filehandle, squeeze=False)
        yield stack
        position = stack.header.next_stack_pos


def _series(file: Path, whole: ObfFile, stack: ObfStack) -> Series:
    header = stack.header
    if not 2 <= len(header.res) == header.rank:
        raise ImageError(f"{stack.name}: {header.rank} axes; accepted: 2 to {_MOST_AXES}")
    shape = tuple(stack.shape)
    if header.compression_type not in (0, _ZLIB):
        raise ImageError(
            f"{stack.name}: compression {header.compression_type}; accepted: none or zlib"
        )
    stored = header.data_length * (_INFLATED if header.compression_type == _ZLIB else 1)
    if stack.nbytes > LARGEST_STACK_BYTES:
        raise ImageError(
            f"{stack.name}: {stack.nbytes} bytes of pixels; accepted: {LARGEST_STACK_BYTES}"
        )
    written = stack.footer.samples_written or math.prod(shape)
    if min(written, math.prod(shape)) * stack.dtype.itemsize > stored:
        raise ImageError(
            f"damaged: {stack.name} claims {stack.nbytes} bytes of pixels, and stores"
            f" {header.data_length}"
        )
    description = _Stated(stack)
    return Series(
        file=file,
        name=stack.name,
        axes=description.axes,
        shape=shape,
        dtype=stack.dtype.newbyteorder("="),
        color="S" in stack.dims,
        pixels=lambda: _pixels(whole, stack, written),
        description=description,
        held=lambda index: _last_pixel(shape, index) < written,
    )


def _last_pixel(shape: Sequence[int], place: Sequence[int]) -> int:
    """Number of the last pixel of a frame, in the order in which they are stored."""
    ends = [*place[:-2], shape[-2] - 1, shape[-1] - 1]
    return int(np.ravel_multi_index(ends, shape))


def _pixels(whole: ObfFile, stack: ObfStack, written: int) -> NDArray[Any]:
    """The whole stack; zeros behind what was scanned of one that was stopped."""
    header = stack.header
    if stack.footer.num_chunk_positions or header.compression_type != _ZLIB:
        pixels: NDArray[Any] = stack.asarray()
        return pixels
    # obffile inflates without a limit, and fills what is missing with zeros.
    whole.filehandle.seek(header.data_pos)
    stored = whole.filehandle.read(header.data_length)
    # One byte more than it claims: so far that the stream's checksum is compared.
    raw = zlib.decompressobj().decompress(stored, stack.nbytes + 1)
    if len(raw) > stack.nbytes:
        raise ImageError(f"damaged: {stack.name} stores more than its {stack.size} pixels")
    found = np.frombuffer(
        raw[: len(raw) // stack.dtype.itemsize * stack.dtype.itemsize], stack.dtype
    )
    if found.size < min(written, stack.size):
        raise ImageError(f"damaged: {stack.name} has {found.size} of {written} pixels")
    pixels = np.zeros(stack.size, stack.dtype)
    pixels[: found.size] = found
    return pixels.reshape(stack.shape)


class _Stated(Description):
    """What a stack's header and footer say of its axes.

    Attributes
    ----------
    axes
        A letter for each, the one that changes fastest last.
    """

    def __init__(self, stack: ObfStack) -> None:
        header, footer = stack.header, stack.footer
        self._stack = stack
        letters: list[str] = []
        for number in range(header.rank):
            label = footer.labels[number].split() if number < len(footer.labels) else []
            letter = label[-1].lower() if label and label[-1] in "XYZT" else ""
            if number < len(footer.si_dimensions) and footer.si_dimensions[number].seconds[0]:
                letter = "t"
            free = (one for one in f"{_AXES}ijklmnopuvw" if one not in letters)
            letters.append(letter if letter and letter not in letters else next(free))
        self._number = {letter: number for number, letter in enumerate(letters)}
        self.axes = "".join(reversed(letters)) + ("s" if "S" in stack.dims else "")

    def size(self, axis: str) -> Quantity | None:
        """Its length by its pixels, where its unit is one of length."""
        return self._step(axis, "meter", f"size in {axis}")

    def interval(self) -> Quantity | None:
        """Of the time axis, as its size; None where frames have a time each."""
        return None if self._columns("t") else self._step("t", "second", "frame interval")

    def times(self, places: Sequence[Place]) -> tuple[float, ...] | None:
        """Where the positions along the time axis are stored."""
        found = self._columns("t")
        return tuple(found[place["t"]] for place in places) if found else None

    def _columns(self, axis: str) -> Sequence[float]:
        return self._stack.footer.col_positions.get(self._number.get(axis, -1), ())

    def _step(self, axis: str, unit: str, what: str) -> Quantity | None:
        number = self._number.get(axis)
        header, units = self._stack.header, self._stack.footer.si_dimensions
        if number is None or not header.lengths[number]:
            return None
        known = {"meter": LENGTHS, "second": TIMES}[unit]
        step, symbol = header.lengths[number] / header.res[number], SYMBOLS[unit]
        if number < len(units):
            found = units[number]
            step, symbol = step * found.scale_factor, str(replace(found, scale_factor=1.0))
        return quantity(step, symbol, known, what)
