"""Leica's files (`.lif`) as images, through liffile; each frame is read when it is asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from devices.recorded.description import Description
from devices.recorded.errors import ImageError
from devices.recorded.series import Series, reason
from devices.recorded.units import LENGTHS, TIMES, Quantity, quantity

if TYPE_CHECKING:
    from liffile import LifImageABC

# Numbers of the axes in the file's XML ("Leica Image File Formats", version 3.2).
_AXES = {"x": 1, "y": 2, "z": 3, "t": 4}
_DESCRIBED = "./Data/Image/ImageDescription"
_BEFORE_XML = 13
"""Bytes of the file's header."""
_LARGEST_XML = 2**28
"""Bytes."""


def open_leica(file: Path, files: ExitStack) -> list[Series]:
    """The images of a file, until `files` is left.

    Raises
    ------
    ImageError
        It is no such file, or damaged.
    """
    from liffile import LifFile

    try:
        _check_xml(file)
        whole = files.enter_context(LifFile(file, squeeze=False))
        return [_series(file, image) for image in whole.images if not image.is_flim]
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from None
    except Exception as error:  # anything that a damaged file leads to
        raise ImageError(
            f"{file}: not a readable file of Leica's: {reason(error)}; accepted: whole .lif files"
        ) from None


def _check_xml(file: Path) -> None:
    """Unless its XML is larger than any, or defines entities, which a parser expands."""
    with file.open("rb") as opened:
        start = opened.read(_BEFORE_XML)
        size = 2 * int.from_bytes(start[9:], "little")
        if size > _LARGEST_XML:
            raise ImageError(f"its XML claims {size} bytes; accepted: {_LARGEST_XML}")
        text = opened.read(size)
        if any(word.encode("utf-16-le") in text for word in ("<!DOCTYPE", "<!ENTITY")):
            raise ImageError("its XML defines entities; accepted: XML without them")


def _series(file: Path, image: LifImageABC) -> Series:
    return Series(
        file=file,
        name=image.path,
        axes="".join(image.dims).lower(),
        shape=tuple(image.shape),
        dtype=np.dtype(image.dtype).newbyteorder("="),
        color="S" in image.dims,
        pixels=lambda: _Planes(image),
        description=_Stated(image.xml_element),
        held=lambda index: True,
    )


class _Planes:
    """Planes of an image, read by their places along the other axes."""

    def __init__(self, image: LifImageABC) -> None:
        self._image = image
        size, needed = image.memory_block.size, image.nbytes
        if size < needed:
            raise ImageError(f"damaged: {needed} bytes are claimed, {size} are stored")

    def __getitem__(self, key: Sequence[int | slice]) -> NDArray[Any]:
        at = zip(self._image.dims, key, strict=True)
        frames = self._image.frames(**{axis: place for axis, place in at if isinstance(place, int)})
        plane: NDArray[Any] = next(iter(frames))
        return plane


class _Stated(Description):
    """What the XML of an image says."""

    def __init__(self, image: Element) -> None:
        self._image = image

    def size(self, axis: str) -> Quantity | None:
        """From the distance between the first and the last pixel."""
        return self._step(axis, LENGTHS, f"size in {axis}")

    def interval(self) -> Quantity | None:
        """From the time between the first and the last frame."""
        return self._step("t", TIMES, "frame interval")

    def channels(self) -> list[str]:
        """Names of the dyes, or of the colours that they are shown in."""
        found = []
        for channel in self._image.findall(f"{_DESCRIBED}/Channels/ChannelDescription"):
            told = {
                one.findtext("Key"): one.findtext("Value") or ""
                for one in channel.findall("ChannelProperty")
            }
            found.append(told.get("DyeName") or channel.get("LUTName") or "")
        return found

    def _step(self, axis: str, units: dict[str, float], what: str) -> Quantity | None:
        for found in self._image.findall(f"{_DESCRIBED}/Dimensions/DimensionDescription"):
            if found.get("DimID") != str(_AXES.get(axis)):
                continue
            try:
                steps = int(found.get("NumberOfElements", "")) - 1
                length = abs(float(found.get("Length", "")))
            except ValueError:
                return None
            if steps < 1 or not length or not math.isfinite(length):
                return None
            return quantity(length / steps, found.get("Unit", ""), units, what)
        return None
