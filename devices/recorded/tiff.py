"""TIFFs, OME-TIFFs, ImageJ's and LSM files as images whose frames are read when asked for.

Nothing in a file is believed before it is compared with the file itself: the data that it claims to
hold must fit into it, and the counts in its description are bounded.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray

from devices.recorded.description import Description
from devices.recorded.errors import ImageError
from devices.recorded.ome_xml import OmeXml, ome_images
from devices.recorded.series import LARGEST_BYTES, Series, reason
from devices.recorded.tiff_description import ImageJ, Lsm, Tags

_MOST_PLANES = 10**7
"""Planes that a file may claim; more is damage."""
_COUNTED = re.compile(
    r"""\b(?:Size[A-Z]|First[A-Z]|IFD|NumPlanes|PlaneCount|SamplesPerPixel|Start|End|Step)"""
    r"""\s*=\s*["']\s*([^"']*)["']"""
)
_FILE_NAMES = re.compile(r"""\bFileName\s*=\s*["']([^"']*)["']""")
_COLORS = (
    tifffile.PHOTOMETRIC.RGB,
    tifffile.PHOTOMETRIC.YCBCR,
    tifffile.PHOTOMETRIC.CIELAB,
    tifffile.PHOTOMETRIC.SEPARATED,
)
# How many bytes one stored byte can become; for other compressions, 2,048.
_INFLATED = {1: 1, 32773: 128, 34925: 2**15, 50000: 2**16, 50013: 2**12}


def open_tiff(file: Path, files: ExitStack) -> list[Series]:
    """The images of a file, until `files` is left.

    Raises
    ------
    ImageError
        It is no TIFF, damaged, or claims what cannot be.
    """
    try:
        with _logged_errors() as damage:
            tiff = files.enter_context(tifffile.TiffFile(file))
            if not len(tiff.pages):
                raise ImageError("damaged, holds no image")
            root = _checked_description(tiff)
            found = list(tiff.series)
            if damage and (lacks := _lacking(tiff, found)):
                raise ImageError(f"damaged, {lacks}")
            if damage:
                raise ImageError(f"damaged: {damage[0][:200]}")
            if not found:
                raise ImageError("holds no image")
            return [_series(file, tiff, one, root, number) for number, one in enumerate(found)]
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from None
    except Exception as error:  # anything that a damaged file leads to
        raise ImageError(
            f"{file}: not a readable TIFF file: {reason(error)}; accepted: TIFFs and OME-Zarr"
            " images, as which a microscope's own format is exported by its software"
        ) from None


def _checked_description(tiff: tifffile.TiffFile) -> Any:
    """The root of OME-XML that can be handed to a parser, if there is any."""
    first = tiff.pages.first
    text = first.description or ""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ImageError("its OME-XML defines entities; accepted: XML without them")
    if not tiff.is_ome:
        return None
    for found in _COUNTED.findall(text):
        try:
            number = float(found)
        except ValueError:
            number = math.nan
        if not abs(number) <= _MOST_PLANES:
            raise ImageError(f"its OME-XML counts {found[:40]!r}; accepted: {_MOST_PLANES}")
    for name in _FILE_NAMES.findall(text):
        if "/" in name or "\\" in name or name.startswith("."):
            raise ImageError(f"its OME-XML names {name[:80]!r}; accepted: files beside it")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ImageError(f"its OME-XML is not readable ({error}); accepted: valid XML") from None
    for pixels in root.iter():
        sizes = [int(pixels.get(f"Size{axis}", 1)) for axis in "TZC"]
        if math.prod(sizes) > _MOST_PLANES or min(sizes) < 0:
            raise ImageError(
                f"its OME-XML counts {sizes[0]} × {sizes[1]} × {sizes[2]} planes; accepted:"
                f" {_MOST_PLANES}"
            )
    return root


def _lacking(tiff: tifffile.TiffFile, found: Sequence[tifffile.TiffPageSeries]) -> str:
    """`only 1 of 9 frames are there`, of an ImageJ stack."""
    try:
        stored = int((tiff.imagej_metadata or {}).get("images", 1))
    except (TypeError, ValueError):
        return ""
    there = math.prod(found[0].shape[:-2]) if found else 0
    return f"only {there} of {stored} frames are there" if stored > there else ""


def _series(
    file: Path, tiff: tifffile.TiffFile, found: tifffile.TiffPageSeries, root: Any, number: int
) -> Series:
    if found.dtype is None or not found.shape or not math.prod(found.shape):
        raise ImageError(f"holds no image (shape {found.shape})")
    dtype = found.dtype.newbyteorder("=")
    keyframe = found.keyframe
    held = _held_pages(found)
    if found.kind == "imagej" and (lacks := _lacking(tiff, [found])) and len(tiff.series) == 1:
        raise ImageError(f"damaged, {lacks}")
    return Series(
        file=file,
        name=found.name,
        axes=found.axes.lower(),
        shape=tuple(found.shape),
        dtype=dtype,
        color="S" in found.axes and keyframe.photometric in _COLORS,
        pixels=lambda: _array(found),
        description=_description(tiff, keyframe, dtype, root, number),
        held=lambda index: _is_held(found.shape, held, index),
        mapped=_mapped(file, found),
        named=found.kind in ("imagej", "ome", "lsm")
        or (found.kind == "shaped" and "Q" not in found.axes),
    )


def _mapped(file: Path, found: tifffile.TiffPageSeries) -> Callable[[], NDArray[Any]] | None:
    start, dtype = found.dataoffset, found.dtype
    if start is None or dtype is None or not dtype.isnative:
        return None
    return lambda: np.memmap(file, dtype, "r", start, tuple(found.shape))


def _array(found: tifffile.TiffPageSeries) -> Any:
    with _logged_errors() as damage:
        array = zarr.open_array(found.aszarr(level=0), mode="r")
        if damage:
            raise ImageError(damage[0][:200])
        return array


def _description(
    tiff: tifffile.TiffFile, page: Any, dtype: np.dtype[Any], root: Any, number: int
) -> Description:
    if root is not None:
        images = ome_images(root)
        if images:
            return OmeXml(page, root, images[number if number < len(images) else 0])
    if tiff.is_imagej:
        return ImageJ(page, dict(tiff.imagej_metadata or {}), dtype)
    if tiff.is_lsm:
        return Lsm(dict(tiff.lsm_metadata or {}))
    shaped = tiff.shaped_metadata
    return Tags(page, dict(shaped[0]) if shaped else {})


def _held_pages(found: tifffile.TiffPageSeries) -> list[bool]:
    """Which pages have all their pixels in the file.

    Raises
    ------
    ImageError
        Some claim to be larger than their stored data, or to lie beyond the file's end.
    """
    page = found.keyframe
    itemsize = found.dtype.itemsize if found.dtype is not None else 1
    piece = math.prod(page.chunks) * itemsize
    if piece > LARGEST_BYTES:
        raise ImageError(f"stored in pieces of {piece} bytes; accepted: up to {LARGEST_BYTES}")
    if found.dataoffset is not None:
        end, size = found.dataoffset + found.nbytes, page.parent.filehandle.size
        if end > size:
            raise ImageError(f"damaged: {end} bytes are claimed, {size} are there")
        return [True] * len(found.pages)
    return [one is not None and _is_whole(one, page) for one in found.pages]


def _is_whole(page: Any, keyframe: Any) -> bool:
    """Whether every piece of a page is stored; `ImageError` if the stored data cannot be it."""
    counts, offsets = page.databytecounts, page.dataoffsets
    if len(counts) == 0 or not all(counts):
        return False
    size = page.parent.filehandle.size
    if any(start + count > size for start, count in zip(offsets, counts, strict=False)):
        raise ImageError(f"damaged: page {page.index} lies beyond the file's end")
    most = _INFLATED.get(int(keyframe.compression), 2048)
    # A page stored in one piece has a header that is no pixels.
    if sum(counts) * most + 2**16 * (most > 1) < keyframe.nbytes and not keyframe.is_tiled:
        raise ImageError(
            f"damaged: page {page.index} claims {keyframe.nbytes} bytes of pixels, and stores"
            f" {sum(counts)}"
        )
    return True


def _is_held(shape: Sequence[int], held: Sequence[bool], place: Sequence[int]) -> bool:
    """Whether the page of a frame is held; pages follow one another along the leading axes."""
    index, pages = 0, 1
    for length, at in zip(shape, place, strict=True):
        if pages >= len(held):
            break
        index, pages = index * length + at, pages * length
    return held[index] if pages == len(held) else all(held)


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """Collect what tifffile only logs: it opens a cut-off file without a word to its caller."""
    logged: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR:
                logged.append(record.getMessage())

    log, listener = logging.getLogger("tifffile"), Listener(logging.WARNING)
    log.addHandler(listener)
    try:
        yield logged
    finally:
        log.removeHandler(listener)
