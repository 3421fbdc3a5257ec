"""A recorded movie in a camera's place, so that the whole loop runs on real recorded data.

Frames are read one at a time, when they are asked for, and handed on as they were stored: the
pixel type is the file's. Micro-Manager itself only knows unsigned integers and calls four-byte
pixels `uint32`; where floating-point movies are written, take the type from the frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import Device, SimpleCameraDevice

from devices.recorded import ImageError, Part, open_frames
from devices.sources import ReplayConfig

_ACCEPTED = "a TIFF or an OME-Zarr image whose grey frames run along time"
_DTYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32")


class MovieOverError(RuntimeError):
    """A frame was asked for after the last one of a movie that does not loop."""


class ReplayedMovie:
    """A recorded movie whose frames are read one by one; a single image is one of one frame.

    A TIFF's frames run along its time axis or an unnamed one, and in ImageJ's files also along
    z, as which ImageJ saves any stack until told otherwise. An OME-Zarr is read at its full
    resolution. Axes of length one do not count.

    Parameters
    ----------
    file
        Where it is.
    part
        Which image, channel or plane, where the file has several.

    Attributes
    ----------
    frames
        How many frames it has.
    shape
        Rows × columns of a frame.
    dtype
        Type of its pixels, in the machine's byte order.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is no movie; the message says what is accepted.
    """

    def __init__(self, file: Path, part: Part | None = None) -> None:
        if not file.exists():
            raise FileNotFoundError(f"{file}: no such file; accepted: {_ACCEPTED}")
        with ExitStack() as files:
            try:
                found = files.enter_context(open_frames(file, part))
                found.as_movie()
                if found.dtype.name not in _DTYPES:
                    raise ImageError(
                        f"{file}: pixels are {found.dtype.name}; accepted: {', '.join(_DTYPES)}"
                    )
                found[0]  # for one, compressed in a way that is not installed here
            except ImageError as error:
                told = str(error)
                accepted = "" if "accepted" in told else f"; accepted: {_ACCEPTED}"
                raise ValueError(f"{told}{accepted}") from None
            self._files = files.pop_all()
        self.file, self._found = file, found
        self.frames, self.shape, self.dtype = len(found), found.shape, found.dtype

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Frame `index`, from 0.

        Raises
        ------
        IndexError
            There is no such frame.
        RuntimeError
            It cannot be read.
        """
        try:
            return self._found[index]
        except ImageError as error:
            reason = str(error).removeprefix(f"{self.file}, frame {index}: ")
            raise RuntimeError(
                f"{self.file}: frame {index} of 0 … {self.frames - 1} cannot be read: {reason}"
            ) from None

    def close(self) -> None:
        """Let go of the file."""
        self._files.close()


class ReplayCamera(SimpleCameraDevice):
    """A camera that sees a recorded movie, one frame at each exposure.

    Properties: `Frame`, the number of the frame that comes next, from 0 (settable, to continue
    where a run stopped; equal to `Frames` when the movie is over); `Frames`, how many there
    are; `File`, its name. Frames come at once: no exposure is waited for.

    Parameters
    ----------
    file
        See `ReplayedMovie`.
    exposure_ms
        Exposure time (ms) that the camera reports; the recording stays as it is.
    loop
        Start again after the last frame.
    part
        Which image, channel or plane, where the file has several.

    Raises
    ------
    FileNotFoundError, ValueError
        As `ReplayedMovie`.
    """

    def __init__(
        self,
        file: Path | str,
        *,
        exposure_ms: float = 10.0,
        loop: bool = False,
        part: Part | None = None,
    ) -> None:
        super().__init__()
        self._movie = ReplayedMovie(Path(file), part or Part(spelled=""))
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
        As `ReplayedMovie`.
    """
    file = base / config.file.expanduser()
    at = dict(config.axis) if config.channel is None else {**config.axis, "c": config.channel}
    part = Part(config.series, at, spelled="`replay.{}`")
    camera = ReplayCamera(file, exposure_ms=config.exposure_ms, loop=config.loop, part=part)
    return {"Replay": camera}
