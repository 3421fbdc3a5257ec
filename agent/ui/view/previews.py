"""Frames as small grey pictures, made when a browser asks for one and kept for the next."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from PIL import Image

from agent.record.filtered_frames import FilteredFrames
from agent.record.raw import RawFrames
from agent.record.reconstructed import FOLDER as RECONSTRUCTED
from agent.ui.report.contrast import Limits, contrast, reduced
from agent.ui.report.projection import PROJECTIONS

KINDS = ("raw", "filtered", "sd", "reconstructed")
LARGEST = 2048
_SMALLEST = 32
_KEPT = 24
_QUALITY = 88
_SAMPLE = 65_536
"""Pixels that the automatic contrast limits are found from."""

Kind = Literal["raw", "filtered", "sd", "reconstructed"]


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture of a frame.

    Attributes
    ----------
    data
        JPEG, or PNG where every pixel is to be exact; 8-bit grey.
    limits
        Values shown as black and white.
    shape
        Rows and columns of the frame itself.
    """

    data: bytes
    content_type: str
    limits: Limits
    shape: tuple[int, int]


class Previews:
    """Draws frames of a run; reads them from its folder and never writes there.

    Parameters
    ----------
    folder
        The run's.
    pixel_um
        Side of a pixel on the sample (µm).
    """

    def __init__(self, folder: Path, pixel_um: float) -> None:
        self._readers: dict[str, Callable[[int], NDArray[Any]]] = {
            "raw": _Reader(lambda: RawFrames(folder, pixel_size_um=pixel_um)),
            "filtered": _Reader(lambda: FilteredFrames(folder, pixel_size_um=pixel_um), 0),
            "sd": _Reader(lambda: FilteredFrames(folder, pixel_size_um=pixel_um), 1),
            "reconstructed": _Reader(lambda: _Movie(folder / RECONSTRUCTED)),
        }
        self._kept: OrderedDict[tuple[Any, ...], Preview] = OrderedDict()

    def make(
        self,
        kind: Kind,
        index: int,
        *,
        side: int,
        limits: Limits | None,
        exact: bool,
        stack: Sequence[int] = (),
        projection: str = "",
    ) -> Preview:
        """Draw a frame, or take an earlier drawing of it.

        Parameters
        ----------
        kind
            Whose pixels.
        index
            Number of the frame, which is on disk; of a rebuilt one, its number in the movie: all
            fields of a time point, then those of the next one.
        side
            Frames larger than this are reduced by averaging squares of pixels.
        limits
            Values shown as black and white; the frame's own where absent.
        exact
            As PNG.
        stack
            Numbers of the frames that are projected instead.
        projection
            How: a key of `PROJECTIONS`.

        Raises
        ------
        LookupError
            There is no such frame.
        """
        side = min(max(side, _SMALLEST), LARGEST)
        numbers = tuple(stack) if projection else (index,)
        key = (kind, numbers, projection, side, limits, exact)
        if (found := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return found
        pixels = [self._readers[kind](number) for number in numbers]
        try:
            whole = PROJECTIONS[projection](pixels) if projection else pixels[0]
        except ValueError as error:
            raise LookupError(f"the planes of frame {index} differ in size") from error
        made = draw(whole, side=side, limits=limits, exact=exact)
        self._kept[key] = made
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return made


class _Reader:
    """Opens an image when it is first needed, and again after it was not readable."""

    def __init__(self, make: Callable[[], Any], channel: int | None = None) -> None:
        self._make = make
        self._channel = channel
        self._image: Any = None

    def __call__(self, index: int) -> NDArray[Any]:
        try:
            self._image = self._image or self._make()
            pixels = np.asarray(self._image.read(index))
        except Exception as error:  # whatever a damaged or missing image leads to
            self._image = None
            raise LookupError(f"frame {index} is not readable") from error
        if pixels.dtype.kind == "f" and np.isnan(pixels).all():
            raise LookupError(f"frame {index} was not made")
        while pixels.ndim > 2:
            at = self._channel or 0
            pixels = pixels[at if pixels.shape[0] > at else 0]
        return pixels


class _Movie:
    """The rebuilt frames of a run, by number: time points × fields.

    Of several channels and planes it is the series that decides.
    """

    def __init__(self, path: Path) -> None:
        images = [path]
        if (path / "OME").exists():
            images = sorted(path.glob("[0-9]*"), key=lambda image: int(image.name))
        self._arrays: list[Any] = [zarr.open_array(one / "0", mode="r") for one in images]
        self._groups = [zarr.open_group(one, mode="r") for one in images]

    def read(self, number: int) -> NDArray[Any]:
        first = self._arrays[0]
        stacks = first.ndim > len("tcyx")
        point, field = divmod(number, len(self._arrays) if stacks else first.shape[1])
        if not stacks:
            return np.asarray(first[point, field])
        said: Any = self._groups[field].attrs["stedfast"]
        channel, plane = said["decides"]
        return np.asarray(self._arrays[field][point, channel, plane])


def draw(pixels: NDArray[Any], *, side: int, limits: Limits | None, exact: bool) -> Preview:
    """Draw pixels (rows × columns) in grey; values that are not finite are black."""
    shape = (int(pixels.shape[0]), int(pixels.shape[1]))
    factor = min(math.ceil(max(shape) / side), *shape)
    small = reduced(pixels, factor) if factor > 1 else pixels
    low, high = limits if limits is not None else _limits(small)
    scaled = (small.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    if small.dtype.kind == "f":
        np.nan_to_num(scaled, copy=False, nan=0.0)
    grey = np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)
    data = BytesIO()
    if exact:
        Image.fromarray(grey).save(data, "PNG", compress_level=1)
    else:
        Image.fromarray(grey).save(data, "JPEG", quality=_QUALITY)
    kind = "image/png" if exact else "image/jpeg"
    return Preview(data.getvalue(), kind, (float(low), float(high)), shape)


def _limits(pixels: NDArray[Any]) -> Limits:
    """The limits that the report would use, from a sample of the pixels."""
    flat = pixels.ravel()
    sample = flat[:: max(1, flat.size // _SAMPLE)]
    finite = sample[np.isfinite(sample)]
    return contrast([finite]) if finite.size else (0.0, 1.0)
