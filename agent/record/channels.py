"""Images with several channels a time point, in the manner of the raw frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from yaozarrs import DimSpec, v05
from yaozarrs.write.v05 import prepare_image
from zarr.codecs import BytesCodec

from agent.record.images import GROWTH, At, ImageStore, check_whole, numbers


class ChannelStore(ImageStore):
    """An OME-Zarr image (NGFF 0.5) with the axes t, c, y, x that only ever grows.

    Attributes
    ----------
    channels
        Their names.
    apart
        Whether each channel of a time point is a chunk of its own; else all are one chunk.
    length
        Time points that it has room for at first.
    """

    synced = False
    channels: Sequence[str]
    apart = False
    length = GROWTH

    def ask_pixel(self, pixel_um: Callable[[], float]) -> None:
        """Before the first frame, ask for the side of its pixels (µm): it is that of the image."""
        if not self._is_there():
            self._pixel_size_um = pixel_um()

    def _read(self, at: At) -> NDArray[Any]:
        """All channels of a time point; absent ones read as NaN, or as 0."""
        whole = int(self._array.dtype.itemsize * np.prod(self._array.chunks))
        for chunk in self.path.joinpath("0", "c", *map(str, numbers(at))).rglob("0"):
            if chunk.is_file():
                check_whole(at, chunk, chunk.stat().st_size, whole)
        return np.asarray(self._array[at])

    def _create(self, pixels: NDArray[Any]) -> None:
        """An image for time points like this one (channels × rows × columns)."""
        self.path.parent.stat()  # a renamed folder would be made again
        time, *place = self._axes(pixels.shape)
        channel = DimSpec(name="c", type="channel", size=len(self.channels))
        limits = [(float(part.min()), float(part.max())) for part in pixels]
        image = v05.Image(
            multiscales=[v05.Multiscale.from_dims([time, channel, *place])],
            omero=v05.Omero(
                channels=[
                    v05.OmeroChannel(
                        label=label,
                        color="FFFFFF",
                        active=at == 0,
                        window=v05.OmeroWindow(start=low, min=low, end=high, max=high),
                    )
                    for at, (label, (low, high)) in enumerate(
                        zip(self.channels, limits, strict=True)
                    )
                ]
            ),
        )
        chunk = (1, 1, *pixels.shape[1:]) if self.apart else (1, *pixels.shape)
        prepare_image(
            self.path,
            image,
            datasets=[((self.length, *pixels.shape), pixels.dtype)],
            chunks=chunk,
            writer=_plain,
            compression="none",
            overwrite=True,
        )
        self._open()


def _plain(
    path: Path,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...],
    *,
    dimension_names: list[str] | None,
    overwrite: bool,
    **rest: Any,
) -> Any:
    """An array without compression, as the raw frames'; absent chunks read as NaN, or as 0."""
    return zarr.create_array(
        str(path),
        shape=shape,
        chunks=chunks,
        dtype=dtype,
        dimension_names=dimension_names,
        zarr_format=3,
        overwrite=overwrite,
        serializer=BytesCodec(endian="little"),
        compressors=(),
        fill_value=float("nan") if np.dtype(dtype).kind == "f" else 0,
    )
