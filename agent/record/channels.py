"""Images with several channels a time point, in the manner of the raw frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from yaozarrs import DimSpec, v05
from yaozarrs.write.v05 import prepare_image
from zarr.codecs import BytesCodec

from agent.record.images import ABOUT, GROWTH, At, ImageStore, check_whole, numbers
from agent.record.ngff import limits_of


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
    about
        What a new image says of its frames.
    """

    synced = False
    own = 3
    channels: Sequence[str]
    apart = False
    length = GROWTH
    about: Mapping[str, Any] = {}

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
        limits = [limits_of(part) for part in pixels]
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
            extra_attributes={ABOUT: dict(self.about)} if self.about else None,
            chunks=chunk,
            writer=plain_array,
            compression="none",
            overwrite=True,
        )
        self._open()


def plain_array(
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
