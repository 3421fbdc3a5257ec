"""A recorded movie in a camera's place, so that the whole loop runs on real recorded data.

Frames are read one at a time, when they are asked for, and handed on as they were stored: the
pixel type is the file's. Micro-Manager itself only knows unsigned integers and calls four-byte
pixels `uint32`; where floating-point movies are written, take the type from the frame.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import Device, SimpleCameraDevice

from devices.config import ReplayConfig

_ACCEPTED = "a TIFF (YX or TYX) or OME-Zarr 0.4/0.5 (yx or tyx) of one channel and one plane"
_DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32")


class MovieOverError(RuntimeError):
    """A frame was asked for after the last one of a movie that does not loop."""


@dataclass(frozen=True)
class Movie:
    """A recorded movie whose frames are read one by one.

    Parameters
    ----------
    file
        Where it is.
    frames
        How many frames it has.
    shape
        Rows × columns of a frame.
    dtype
        Type of its pixels, in the machine's byte order.
    """

    file: Path
    frames: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    _read: Callable[[int], Any]
    _close: Callable[[], None]

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Frame `index`, from 0.

        Raises
        ------
        IndexError
            There is no such frame.
        RuntimeError
            It cannot be read.
        """
        if not 0 <= index < self.frames:
            raise IndexError(f"{self.file}: no frame {index}, there are 0 … {self.frames - 1}")
        try:
            return np.asarray(self._read(index)).astype(self.dtype, copy=False)
        except Exception as error:
            raise RuntimeError(
                f"{self.file}: frame {index} of 0 … {self.frames - 1} cannot be read: {error}"
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        self._close()


def open_movie(file: Path) -> Movie:
    """Open a TIFF or an OME-Zarr as a movie; a single image is a movie of one frame.

    A TIFF's frames run along its time axis or an unnamed one, and in ImageJ's files also along
    z, as which ImageJ saves any stack until told otherwise. An OME-Zarr is read at its full
    resolution. Axes of length one do not count.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no movie; the message says what is accepted.
    """
    if not file.exists():
        raise FileNotFoundError(f"{file}: no such file; accepted is {_ACCEPTED}")
    movie = _open_zarr(file) if file.is_dir() else _open_tiff(file)
    if movie.dtype.name not in _DTYPES:
        movie.close()
        raise ValueError(
            f"{file}: pixels are {movie.dtype.name}; accepted are {', '.join(_DTYPES)}"
        )
    try:
        movie[0]
    except RuntimeError as error:  # for one, compressed in a way that is not installed here
        movie.close()
        raise ValueError(str(error)) from error
    return movie


def _open_tiff(file: Path) -> Movie:
    try:
        with _logged_errors() as damage:
            tiff = tifffile.TiffFile(file)
            try:
                array = _tiff_array(tiff)
                if damage:
                    raise ValueError(f"damaged: {damage[0]}")
            except BaseException:
                tiff.close()
                raise
    except (tifffile.TiffFileError, OSError, ValueError) as error:
        raise ValueError(f"{file}: {error}; accepted is {_ACCEPTED}") from error
    return _movie(file, array, ["t", "y", "x"][-array.ndim :], tiff.close)


def _tiff_array(tiff: tifffile.TiffFile) -> Any:
    """Its pixels as a lazy array, yx or tyx."""
    if len(tiff.series) != 1:
        raise ValueError(f"{len(tiff.series)} image series")
    series = tiff.series[0]
    time_axes = "TIQZ" if series.kind == "imagej" else "TIQ"
    if series.axes != "YX" and (series.axes[1:] != "YX" or series.axes[0] not in time_axes):
        raise ValueError(f"axes {series.axes} of {_by(series.shape)}")
    stored = int((tiff.imagej_metadata or {}).get("images", 1))
    if stored > (found := series.shape[0] if series.ndim == 3 else 1):
        raise ValueError(f"damaged, only {found} of {stored} frames are there")
    return zarr.open_array(series.aszarr(level=0), mode="r")


def _open_zarr(file: Path) -> Movie:
    try:
        array, axes = _zarr_image(zarr.open_group(file, mode="r"))
    except (ValueError, OSError) as error:
        raise ValueError(f"{file}: {error}; accepted is {_ACCEPTED}") from error
    if len(axes) != array.ndim or axes[-2:] != ["y", "x"]:
        raise ValueError(f"{file}: axes {axes} of {_by(array.shape)}; accepted is {_ACCEPTED}")
    long = [name for name, n in zip(axes, array.shape, strict=True) if n > 1 and name not in "tyx"]
    if long:
        raise ValueError(
            f"{file}: more than one plane along {', '.join(long)} (axes {axes} of "
            f"{_by(array.shape)}); accepted is {_ACCEPTED}"
        )
    return _movie(file, array, axes, lambda: None)


def _zarr_image(group: zarr.Group) -> tuple[Any, list[str]]:
    """Full-resolution array of an image group, and the names of its axes."""
    attributes: dict[str, Any] = dict(group.attrs)
    metadata = attributes.get("ome", attributes)
    if "bioformats2raw.layout" in metadata and "multiscales" not in metadata:
        images = sorted(name for name, _ in group.groups() if name.isdigit())
        if len(images) != 1:
            raise ValueError(f"images {', '.join(images)} in one file; give the folder of one")
        return _zarr_image(zarr.open_group(group.store_path / images[0], mode="r"))
    try:
        image = metadata["multiscales"][0]
        axes = [str(axis["name"]) for axis in image["axes"]]
        path = str(image["datasets"][0]["path"])
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"no complete `multiscales` in its metadata ({error!r})") from error
    return zarr.open_array(group.store_path / path, mode="r"), axes


def _movie(file: Path, array: Any, axes: list[str], close: Callable[[], None]) -> Movie:
    def read(frame: int) -> Any:
        at = {"t": frame, "y": slice(None), "x": slice(None)}
        return array[tuple(at.get(axis, 0) for axis in axes)]

    frames = array.shape[axes.index("t")] if "t" in axes else 1
    height, width = array.shape[-2:]
    dtype = np.dtype(array.dtype).newbyteorder("=")
    return Movie(file, int(frames), (int(height), int(width)), dtype, read, close)


def _by(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


@contextmanager
def _logged_errors() -> Iterator[list[str]]:
    """Collect what tifffile only logs: it opens a cut-off file without a word to its caller."""
    logged: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logged.append(record.getMessage())

    log, listener = logging.getLogger("tifffile"), Listener(logging.ERROR)
    log.addHandler(listener)
    try:
        yield logged
    finally:
        log.removeHandler(listener)


class ReplayCamera(SimpleCameraDevice):
    """A camera that sees a recorded movie, one frame at each exposure.

    Properties: `Frame`, the number of the frame that comes next, from 0 (settable, to go on
    where a run stopped; equal to `Frames` when the movie is over); `Frames`, how many there
    are; `File`, its name. Frames come at once: no exposure is waited for.

    Parameters
    ----------
    file
        See `open_movie`.
    exposure_ms
        Exposure time (ms) that the camera reports; the recording stays what it is.
    loop
        Start again after the last frame.

    Raises
    ------
    FileNotFoundError, ValueError
        As `open_movie`.
    """

    def __init__(self, file: Path | str, *, exposure_ms: float = 10.0, loop: bool = False) -> None:
        super().__init__()
        self._movie = open_movie(Path(file))
        self._exposure_ms = exposure_ms
        self._loop = loop
        self._frame = 0
        self.register_property(
            "Frame",
            limits=(0, self._movie.frames),
            property_type=int,
            getter=ReplayCamera._get_frame,
            setter=ReplayCamera._set_frame,
        )
        self.register_property(
            "Frames", property_type=int, is_read_only=True, getter=ReplayCamera._get_frames
        )
        self.register_property(
            "File", property_type=str, is_read_only=True, getter=ReplayCamera._get_file
        )

    def sensor_shape(self) -> tuple[int, int]:
        """Rows × columns of a frame."""
        return self._movie.shape

    def dtype(self) -> np.dtype[Any]:
        """Pixel type of the recording."""
        return self._movie.dtype

    def get_exposure(self) -> float:
        """Return the reported exposure time (ms)."""
        return self._exposure_ms

    def set_exposure(self, exposure: float) -> None:
        """Report another exposure time (ms)."""
        self._exposure_ms = float(exposure)

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        """Copy the next frame into `buffer`.

        Raises
        ------
        MovieOverError
            There is none, and the movie does not loop.
        RuntimeError
            It cannot be read.
        """
        movie = self._movie
        if self._frame >= movie.frames and not self._loop:
            raise MovieOverError(
                f"{movie.file}: frame {self._frame} was asked for, but the movie is over: it has "
                f"{movie.frames}, 0 … {movie.frames - 1}; `loop: true` would start it again"
            )
        index = self._frame % movie.frames
        buffer[:] = movie[index]
        self._frame = index + 1
        return {"Frame": str(index)}

    def shutdown(self) -> None:
        """Let go of the file."""
        self._movie.close()

    def _get_frame(self) -> int:
        return self._frame

    def _set_frame(self, value: float) -> None:
        if value != int(value):
            raise ValueError(f"Frame: {value:g} is not a whole number")
        self._frame = int(value)

    def _get_frames(self) -> int:
        return self._movie.frames

    def _get_file(self) -> str:
        return self._movie.file.name


def build_replay(config: ReplayConfig, base: Path) -> dict[str, Device]:
    """Build the replay camera, under its label `Replay`.

    Parameters
    ----------
    config
        Which movie.
    base
        Folder that a relative path starts from.

    Raises
    ------
    FileNotFoundError, ValueError
        As `open_movie`.
    """
    file = base / config.file.expanduser()
    return {"Replay": ReplayCamera(file, exposure_ms=config.exposure_ms, loop=config.loop)}
