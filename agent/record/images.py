"""An OME-Zarr image that only ever grows, frame by frame.

It is an NGFF 0.5 image with the axes t, y, x, or more between t and y. Every frame is a chunk of
its own, written to a temporary file and moved into place, so that a killed process leaves whole
frames only. The disk is waited for while the next frame is exposed: a power cut can damage the last
frame alone, which is found and taken again on resuming. The time axis counts time points, and has a
scale only at the end, if these turn out to be equidistant.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from yaozarrs import DimSpec, v05
from yaozarrs.write.v05 import prepare_image

from agent.record.anchor import Anchor, FolderGone
from agent.record.durable import LateSync, move, write_file
from agent.record.layout import RAW
from agent.record.ngff import centre_of, is_json

ABOUT = "stedfast"
"""Attribute of an image for what its format has no word for; `points`, where time points are
absent: those that are there."""
GROWTH = 256
"""Time points by which an image grows at once."""
At = int | tuple[int, ...]
"""Place of a frame: its time point, or its numbers along all axes before its own."""


def checksum(pixels: NDArray[Any]) -> int:
    """CRC-32 of the pixels, kept in the ledger."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


class FrameDamaged(ValueError):
    """A frame that the ledger has is not on disk as it was written."""


def numbers(at: At) -> tuple[int, ...]:
    """Numbers of a frame along the axes before its own."""
    return (at,) if isinstance(at, int) else at


def check_whole(at: At, chunk: Path, found: int, whole: int) -> None:
    """`FrameDamaged` where a frame's file has another number of bytes than a whole one."""
    if found != whole:
        raise FrameDamaged(f"{_named(at)}: is cut, {chunk} has {found} bytes instead of {whole}")


class ImageStore:
    """Frames on disk, by their place.

    Parameters
    ----------
    folder
        The run's folder; an image that is there already is continued.
    pixel_size_um
        Side of a pixel on the sample (µm).
    interval_s
        Time between time points where it is fixed (s); otherwise the time axis counts frames.
    anchor
        Says where the folder is, for writing while it may be renamed.
    """

    name = RAW
    """Of its folder, which lies in the run's."""
    synced = True
    """Whether the disk is waited for; not for pixels that can be computed again."""
    leading = 1
    """Axes before those of a frame."""
    own = 2
    """Axes of a frame."""
    centre_um: tuple[float, float] | None = None
    """Where the middle of its frames is (µm, along rows and columns); a new image says it."""
    over = ""
    """Name of the image that it lies over: a new one is where that one is."""

    def __init__(
        self,
        folder: Path,
        *,
        pixel_size_um: float,
        interval_s: float = 0.0,
        anchor: Anchor | None = None,
    ) -> None:
        self.path = folder / self.name
        self.anchor = anchor
        self._pixel_size_um = pixel_size_um
        self._interval_s = interval_s
        self._array: Any = None
        self._sync = LateSync() if self.synced else None
        if self._is_there():
            with suppress(FrameDamaged):  # reported on reading, and mended on resuming
                self._open()

    def write(self, at: At, pixels: NDArray[Any]) -> None:
        """Put a frame (rows × columns) on disk.

        Raises
        ------
        ValueError
            Its shape or type is not that of the frames before.
        OSError
            The disk refused.
        FolderGone
            The run's folder is no longer there.
        """
        begun = self._array is not None
        for again in (True, False):
            try:
                self._follow()
                if begun and self._array is None:
                    raise self._deleted()  # rather than begin again in the rest
                self._put(at, pixels)
            except (FileNotFoundError, FrameDamaged) as error:
                # It is renamed just now, or deleted file by file.
                if self.anchor is None or (isinstance(error, FrameDamaged) and not begun):
                    raise
                if not again:
                    raise self._deleted() from None
            else:
                return

    def _deleted(self) -> FolderGone:
        folder = self.path.parent if self.anchor is None else self.anchor.folder
        return FolderGone(f"{folder}: {self.name} was deleted while the run wrote in it")

    def _put(self, at: At, pixels: NDArray[Any]) -> None:
        if self._array is None:
            if (self.path / "0" / "c").exists():
                raise FrameDamaged(f"{self.path}: has frames, but does not say which")
            self._create(pixels)
        place, whole = numbers(at), self._array.shape
        shape, dtype = self._written, self._array.dtype
        if pixels.shape != shape or pixels.dtype != dtype:
            raise ValueError(
                f"{_named(at)} is {pixels.shape} {pixels.dtype}, those before {shape} {dtype}"
            )
        if place[0] >= whole[0]:
            # Growing rewrites the image's metadata; doing it for many frames at once is cheaper.
            self._array.resize((place[0] + GROWTH, *whole[1:]))
            self._sync_metadata()
        self._write_chunk(at, pixels)

    def _follow(self) -> None:
        """Continue where the folder is, if it was renamed: the frames have cost light."""
        if self.anchor is not None and not self.anchor.holds():
            self.path = self.anchor.place() / self.name
            self._array = None  # it would be written where it was
            if self._is_there():
                self._open()

    def _write_chunk(self, at: At, pixels: NDArray[Any]) -> None:
        """Write a frame's chunk as Zarr's specification lays it out.

        `_create` chose uncompressed little-endian chunks of one frame each, so that a chunk is
        the pixels themselves. Through zarr-python, whose writes pass two threads and an event
        loop, it takes several times as long, which a live loop feels. Moved into place when it
        is whole, and written for dark frames, too, which zarr-python would leave out.
        """
        self._write_chunk_at(self._chunk(at), pixels)

    def _write_chunk_at(self, chunk: Path, pixels: NDArray[Any]) -> None:
        self._make_folder(chunk.parent)
        data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data
        write_file(chunk, data, sync=None if self._sync is None else self._sync.begin)

    def flush(self) -> None:
        """Wait until all frames outlive a power cut.

        Raises
        ------
        OSError
            The disk refused.
        """
        if self._sync is not None:
            self._sync.wait()

    def _make_folder(self, folder: Path) -> None:
        """Make a folder of the image; not the image's own, which may have been renamed."""
        try:
            folder.mkdir()
        except FileExistsError:
            return
        except FileNotFoundError:
            if folder.parent == self.path:
                raise
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True)

    def _chunk(self, at: At) -> Path:
        """The file of a frame."""
        return self.path.joinpath("0", "c", *map(str, numbers(at)), *["0"] * self.own)

    def read(self, at: At) -> NDArray[Any]:
        """A frame as it was written, by this process or by another one since.

        Raises
        ------
        FrameDamaged
            It is not there, or not whole.
        """
        self._find(at)
        return self._read(at)

    @property
    def frame_shape(self) -> tuple[int, ...] | None:
        """Of its frames; None before the first."""
        return None if self._array is None else tuple(self._array.shape[self.leading :])

    @property
    def _written(self) -> tuple[int, ...]:
        """Shape of what is written at once, which is a chunk."""
        return tuple(self._array.shape[self.leading :])

    def ask_pixel(self, pixel_um: Callable[[], float]) -> None:
        """Before the first frame, ask for the side of its pixels (µm): it is that of the image."""
        if not self._is_there():
            self._pixel_size_um = pixel_um()

    def holds(self, at: At) -> bool:
        """Whether a frame is there, whole or cut."""
        return self._chunk(at).is_file()

    def look(self, at: At) -> None:
        """Make sure that a frame has all its bytes, without reading them.

        Raises
        ------
        FrameDamaged
            It is not there, or not whole.
        """
        self._find(at)
        chunk = self._chunk(at)
        if not chunk.is_file() or chunk.stat().st_size != self._bytes:
            self._read(at)

    def _find(self, at: At) -> None:
        if self._array is None or numbers(at)[0] >= self._array.shape[0]:
            if not self._is_there():
                raise FrameDamaged(f"{_named(at)}: is missing, there is no {self.path}")
            self._open()

    @property
    def _bytes(self) -> int:
        """Size of a frame."""
        return int(self._array.dtype.itemsize * np.prod(self._written))

    def _read(self, at: At) -> NDArray[Any]:
        """A frame's chunk; zarr-python takes a missing one for a dark frame."""
        shape, dtype = self._written, self._array.dtype
        chunk = self._chunk(at)
        try:
            data = chunk.read_bytes()
        except FileNotFoundError:
            raise FrameDamaged(f"{_named(at)}: is missing, there is no {chunk}") from None
        check_whole(at, chunk, len(data), self._bytes)
        return np.frombuffer(data, dtype.newbyteorder("<")).reshape(shape).astype(dtype)

    def trim(self, points: int) -> None:
        """Cut the image to the time points there really are, and wait until these are safe."""
        self.flush()
        self._follow()
        if self._array is None or self._array.shape[0] == (kept := max(points, 1)):
            return
        # Not through zarr-python, which asks the disk for every chunk that there was room for.
        for point in (self.path / "0" / "c").glob("[0-9]*"):
            if int(point.name) >= kept:
                for chunk in point.rglob("*"):
                    if chunk.name.isdigit() and chunk.is_file():
                        chunk.unlink()
        file = self.path / "0" / "zarr.json"
        about = json.loads(file.read_bytes())
        about["shape"][0] = kept
        write_file(file, json.dumps(about, indent=2).encode())
        self._open()

    def say_which(self, points: Collection[int]) -> None:
        """Name the time points that there are, where some are absent."""
        self._follow()
        if self._array is None or len(points) == self._array.shape[0]:
            return
        self.say({"points": sorted(points)})

    def say(self, what: Mapping[str, Any]) -> None:
        """Add to what the image says of its frames, beside what the format says."""
        attributes = zarr.open_group(self.path, mode="r+").attrs
        said: Any = attributes.get(ABOUT, {})
        attributes[ABOUT] = {**said, **what}
        if self.synced:
            self._sync_metadata()

    def said(self) -> Mapping[str, Any]:
        """What the image says of its frames; nothing where it is not there."""
        if not self._is_there():
            return {}
        said: Any = zarr.open_group(self.path, mode="r").attrs.get(ABOUT, {})
        return dict(said)

    def scale_time(self, interval_s: float) -> None:
        """Say how long it is from one time point to the next (s); 0: not always the same."""
        self._follow()
        if self._array is None:
            return
        group = zarr.open_group(self.path, mode="r+")
        ome: Any = group.attrs["ome"]
        (multiscale,) = ome["multiscales"]
        axis = multiscale["axes"][0]
        scale = multiscale["datasets"][0]["coordinateTransformations"][0]["scale"]
        if scale[0] == (interval_s or 1.0) and ("unit" in axis) == bool(interval_s):
            return
        axis.pop("unit", None)
        if interval_s:
            axis["unit"] = "second"
        scale[0] = interval_s or 1.0
        group.attrs["ome"] = ome
        self._sync_metadata()

    def set_aside(self, at: At, target: Path) -> None:
        """Move a frame's file out of the image, if there is one."""
        if self._array is None:
            return
        if (chunk := self._chunk(at)).exists():
            target.parent.mkdir(exist_ok=True)
            move(chunk, target)

    def mend(self, like: NDArray[Any]) -> bool:
        """Write the metadata again where a power cut left none; whether that was so.

        Parameters
        ----------
        like
            Has the shape and type of the frames.
        """
        files = (self.path / "zarr.json", self.path / "0" / "zarr.json")
        if all(map(is_json, files)):
            return False
        with tempfile.TemporaryDirectory(dir=self.path.parent, prefix=".mend") as made:
            place, self.path = self.path, Path(made) / self.path.name
            self._create(like)
            made_files = (self.path / "zarr.json", self.path / "0" / "zarr.json")
            self.path = place
            (place / "0").mkdir(parents=True, exist_ok=True)
            for source, target in zip(made_files, files, strict=True):
                move(source, target)
        taken = [int(chunk.name) for chunk in (place / "0" / "c").glob("[0-9]*")]
        self._open()
        self._array.resize((max(taken, default=0) + GROWTH, *self._array.shape[1:]))
        return True

    def _sync_metadata(self) -> None:
        """Wait for the disk to have what zarr-python wrote."""
        for file in (self.path / "zarr.json", self.path / "0" / "zarr.json"):
            with file.open("rb+") as opened:
                os.fsync(opened.fileno())

    def _create(self, pixels: NDArray[Any]) -> None:
        self.path.parent.stat()  # a renamed folder would be made again
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
        self._sync_metadata()

    def _axes(self, shape: tuple[int, ...]) -> list[DimSpec]:
        """Time, and rows and columns of frames of this shape."""
        time = DimSpec(
            name="t",
            type="time",
            unit="second" if self._interval_s else None,
            size=1,
            scale=self._interval_s or 1.0,
        )
        centre = self.centre_um
        if self.over:
            centre = centre_of(self.path.parents[self.name.count("/")] / self.over)
        middle = [None, None] if centre is None else [*centre]
        step = self._pixel_size_um
        place = [
            DimSpec(
                name=name,
                type="space",
                unit="micrometer",
                size=size,
                scale=step,
                translation=None if at is None else at - step * (size - 1) / 2,
            )
            for name, size, at in zip("yx", shape[-2:], middle, strict=True)
        ]
        return [time, *place]

    def _is_there(self) -> bool:
        return (self.path / "0" / "zarr.json").exists()

    def _open(self) -> None:
        try:
            self._array = zarr.open_array(self.path / "0", mode="r+")
        except (ValueError, KeyError, TypeError) as error:
            self._array = None
            raise FrameDamaged(f"{self.path / '0' / 'zarr.json'}: is damaged: {error}") from None


def _named(at: At) -> str:
    """A frame in words."""
    place = numbers(at)
    return f"frame {place[0]}" if len(place) == 1 else f"frame {place}"
