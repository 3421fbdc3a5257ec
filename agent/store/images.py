"""The raw frames of a run: an OME-Zarr image that only ever grows.

`raw.ome.zarr` is an NGFF 0.5 image with the axes t, y, x; frame i of the ledger is time point
i. Every frame is a chunk of its own, written to a temporary file and moved into place, so that a
killed process leaves whole frames only.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from yaozarrs import DimSpec, v05
from yaozarrs.write.v05 import prepare_image

FOLDER = "raw.ome.zarr"
GROWTH = 256
"""Time points by which an image grows at once."""


def checksum(pixels: NDArray[Any]) -> int:
    """CRC-32 of the pixels, kept in the ledger."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


class ImageStore:
    """Frames on disk.

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

    def __init__(self, folder: Path, *, pixel_size_um: float, interval_s: float = 0.0) -> None:
        self.path = folder / self.name
        self._pixel_size_um = pixel_size_um
        self._interval_s = interval_s
        self._array: Any = None
        if self._is_there():
            self._open()

    def write(self, index: int, pixels: NDArray[Any]) -> None:
        """Put frame `index` (rows × columns) on disk.

        Raises
        ------
        ValueError
            Its shape or type is not that of the frames before.
        OSError
            The disk refused.
        """
        if self._array is None:
            self._create(pixels)
        shape, dtype = self._array.shape[1:], self._array.dtype
        if pixels.shape != shape or pixels.dtype != dtype:
            raise ValueError(
                f"frame {index} is {pixels.shape} {pixels.dtype}, those before {shape} {dtype}"
            )
        if index >= self._array.shape[0]:
            # Growing rewrites the image's metadata; doing it for many frames at once is cheaper.
            self._array.resize((index + GROWTH, *shape))
        self._write_chunk(index, pixels)

    def _write_chunk(self, index: int, pixels: NDArray[Any]) -> None:
        """Write a frame's chunk as Zarr's specification lays it out.

        `_create` chose uncompressed little-endian chunks of one frame each, so that a chunk is
        the pixels themselves. Through zarr-python, whose writes pass two threads and an event
        loop, it takes several times as long, which a live loop feels. Moved into place when it
        is whole, and written for dark frames, too, which zarr-python would leave out.
        """
        self._write_chunk_at(self._chunk(index, pixels.ndim), pixels)

    @staticmethod
    def _write_chunk_at(chunk: Path, pixels: NDArray[Any]) -> None:
        chunk.parent.mkdir(parents=True, exist_ok=True)
        partial = chunk.with_suffix(".partial")
        try:
            with partial.open("wb") as file:
                file.write(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data)
            partial.replace(chunk)
        except OSError:
            partial.unlink(missing_ok=True)
            raise

    def _chunk(self, index: int, axes: int) -> Path:
        """The file of a frame with this many axes."""
        return self.path.joinpath("0", "c", str(index), *["0"] * axes)

    def read(self, index: int) -> NDArray[Any]:
        """Frame `index` as it was written, by this process or by another one since."""
        if self._array is None or index >= self._array.shape[0]:
            if not self._is_there():
                raise IndexError(f"no frame {index}: {self.path} is empty")
            self._open()
        return np.asarray(self._array[index])

    def _is_there(self) -> bool:
        return (self.path / "0" / "zarr.json").exists()

    def trim(self, frames: int) -> None:
        """Cut the image to the frames there really are."""
        if self._array is not None and self._array.shape[0] != frames:
            self._array.resize((max(frames, 1), *self._array.shape[1:]))

    def _create(self, pixels: NDArray[Any]) -> None:
        prepare_image(
            self.path,
            v05.Image(multiscales=[v05.Multiscale.from_dims(self._axes(pixels.shape))]),
            datasets=[((GROWTH, *pixels.shape), pixels.dtype)],
            chunks=(1, *pixels.shape),
            writer="zarr",
            compression="none",
            overwrite=True,
        )
        self._open()

    def _axes(self, shape: tuple[int, ...]) -> list[DimSpec]:
        """Time, and rows and columns of frames of this shape."""
        time = DimSpec(
            name="t",
            type="time",
            unit="second" if self._interval_s else None,
            size=1,
            scale=self._interval_s or 1.0,
        )
        place = [
            DimSpec(
                name=name, type="space", unit="micrometer", size=size, scale=self._pixel_size_um
            )
            for name, size in zip("yx", shape[-2:], strict=True)
        ]
        return [time, *place]

    def _open(self) -> None:
        self._array = zarr.open_array(self.path / "0", mode="r+")
