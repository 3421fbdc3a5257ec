"""Filtered frames of a run, beside the raw ones: an OME-Zarr image with two channels.

`filtered.ome.zarr` is an NGFF 0.5 image with the axes t, c, y, x, float32 in the units of the raw
frames; time point i belongs to time point i of `raw.ome.zarr`. Channel 0 is the filtered frame,
channel 1 its standard deviation per pixel. What was not filtered is NaN; which frames were, the
ledger says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from yaozarrs import DimSpec, v05
from yaozarrs.write.v05 import prepare_image
from zarr.codecs import BytesCodec

from agent.images import GROWTH, ImageStore

FOLDER = "filtered.ome.zarr"
CHANNELS = ("filtered", "sd")


class FilteredStore(ImageStore):
    """Filtered frames on disk, each with its standard deviation.

    Parameters
    ----------
    folder
        The run's folder; an image that is there already is gone on with.
    pixel_size_um
        Side of a pixel on the sample (µm).
    interval_s
        Time between frames where it is fixed (s); otherwise the time axis counts frames.
    """

    name = FOLDER

    def put(self, index: int, image: NDArray[Any], sd: NDArray[Any]) -> None:
        """Put a filtered frame (rows × columns) on disk; both channels or none of them.

        Raises
        ------
        ValueError
            Its shape is not that of the frames before.
        OSError
            The disk refused.
        """
        self.write(index, np.stack([image, sd]).astype(np.float32, copy=False))

    def erase(self, index: int) -> None:
        """Take a filtered frame back; nothing happens where there is none."""
        self._chunk(index, len(("c", "y", "x"))).unlink(missing_ok=True)

    def _create(self, pixels: NDArray[Any]) -> None:
        time, *place = self._axes(pixels.shape)
        channel = DimSpec(name="c", type="channel", size=len(CHANNELS))
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
                    for at, (label, (low, high)) in enumerate(zip(CHANNELS, limits, strict=True))
                ]
            ),
        )
        prepare_image(
            self.path,
            image,
            datasets=[((GROWTH, *pixels.shape), pixels.dtype)],
            chunks=(1, *pixels.shape),
            writer=_filled_with_nan,
            compression="none",
            overwrite=True,
        )
        self._open()


def _filled_with_nan(
    path: Path,
    shape: tuple[int, ...],
    dtype: Any,
    chunks: tuple[int, ...],
    *,
    dimension_names: list[str] | None,
    overwrite: bool,
    **rest: Any,
) -> Any:
    """An array without compression, as the raw frames', whose absent chunks read as NaN."""
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
        fill_value=float("nan"),
    )
