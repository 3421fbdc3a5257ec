"""Movies in files: a TIFF, an OME-Zarr image or the raw frames of a run, read frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.opening import opened
from agent.record.layout import RAW
from agent.record.ledger import FILE as LEDGER
from devices.recorded import AUDITED, MEASURED, Frames, Part, Quantity, Scale, parted

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class MovieFile:
    """A grey movie.

    Parameters
    ----------
    count
        Time points.
    shape
        Rows and columns.
    dtype
        Of the pixels, in the machine's byte order.
    read
        Begins to read the frames, in order; None for a time point that was not measured.
    scale
        Their sizes and times.
    note
        Assumptions about it.
    measured
        Numbers of the frames that were measured; None for all.
    made
        What the file says of how it was made, by step.
    """

    count: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: Callable[[], Iterator[Pixels | None]]
    scale: Scale
    note: str | None = None
    measured: tuple[int, ...] | None = None
    made: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def frames(self) -> Iterator[Pixels]:
        """Those that were measured."""
        return (frame for frame in self.read() if frame is not None)


def open_movie(
    file: Path,
    files: ExitStack,
    part: Part | None = None,
    pixel_size_nm: float | None = None,
    interval_s: float | None = None,
) -> MovieFile:
    """Open a movie until `files` is left.

    Parameters
    ----------
    file
        An image file, or the folder of a run; the raw frames in one are that run.
    files
        Closes it.
    part
        Which image, channel or plane, where the file has several.
    pixel_size_nm, interval_s
        Instead of what the file says.

    Raises
    ------
    UserError
        It is not readable, or no grey movie of one field and channel.
    """
    if not parted(file)[0].exists():
        raise UserError(f"{file}: no such file")
    for folder in (file, file.resolve().parent) if file.resolve().name == RAW else (file,):
        if (folder / LEDGER).exists():
            return _of_run(folder)
    frames = files.enter_context(opened(file, part))
    note = frames.as_movie()
    about = frames.about()
    measured = _measured(frames, about.kinds)
    return MovieFile(
        len(frames),
        frames.shape,
        frames.dtype,
        lambda: _read(frames, measured),
        frames.scale(pixel_size_nm, interval_s),
        note,
        measured,
        about.made,
    )


def _measured(frames: Frames, kinds: tuple[str, ...]) -> tuple[int, ...] | None:
    """Which frames were measured: those that the file has, and that were not rebuilt.

    Raises
    ------
    UserError
        None was.
    """
    numbers = [
        number
        for number in range(len(frames))
        if (not kinds or kinds[number] in (MEASURED, AUDITED)) and frames.held(number)
    ]
    if not numbers:
        raise UserError(f"{frames.file}: none of its {len(frames)} frames was measured")
    return None if len(numbers) == len(frames) else tuple(numbers)


def _read(frames: Frames, measured: tuple[int, ...] | None) -> Iterator[Pixels | None]:
    known = None if measured is None else set(measured)
    for number in range(len(frames)):
        yield frames[number] if known is None or number in known else None


def _of_run(folder: Path) -> MovieFile:
    """The frames of a run that all show one field with the same settings."""
    from agent.record.load import read as read_run
    from agent.record.raw import RawFrames

    config, recording = read_run(folder)
    if not recording.taken:
        raise UserError(f"{folder}: has no frames")
    numbers = sorted(recording.seen())
    kinds = {_kind(recording.taken[number].shot) for number in numbers}
    if len(kinds) > 1:
        raise UserError(
            f"{folder}: frames of {len(kinds)} kinds; accepted: a run of one mode, field and"
            " choice of settings"
        )
    pixel_um = recording.taken[numbers[0]].pixel_um(config)
    images = RawFrames(folder, pixel_size_um=pixel_um)
    first = images.read(numbers[0])
    times = tuple(float(recording.taken[number].frame["time_s"]) for number in numbers)
    side = Quantity(pixel_um, "micrometer")
    return MovieFile(
        len(numbers),
        (first.shape[0], first.shape[1]),
        first.dtype.newbyteorder("="),
        lambda: (images.read(number) for number in numbers),
        Scale(side, side, times=times),
    )


def _kind(shot: dict[str, Any]) -> str:
    """Where and how a frame was taken."""
    field = shot.get("field") or {}
    return f"{shot.get('mode')}, field {field.get('index')}, {sorted(shot['settings'].items())}"
