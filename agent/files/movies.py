"""Movies in files: a TIFF, an OME-Zarr image or the raw frames of a run, read frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agent.files.stacks import Stack, described, opened, resolution_of
from agent.reading import ConfigError
from agent.store.ledger import FILE as LEDGER

Frames = Iterator[NDArray[Any]]

UNITS = {
    "nanometer": "nm",
    "micrometer": "µm",
    "millimeter": "mm",
    "millisecond": "ms",
    "second": "s",
    "minute": "min",
    "hour": "h",
}
"""Names of units in OME-Zarr, and their symbols in OME-TIFF."""
_NAMES = {symbol: name for name, symbol in UNITS.items()}


class Quantity(NamedTuple):
    """A size or a time, with the name of its unit as OME-Zarr writes it."""

    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Scale:
    """What a pixel and a frame are in the world; None where the file does not say.

    Parameters
    ----------
    y, x
        Side of a pixel.
    interval
        Between frames.
    times
        Of each frame, in `times_unit`.
    resolution
        As the TIFF's tags have it, with its unit.
    """

    y: Quantity | None = None
    x: Quantity | None = None
    interval: Quantity | None = None
    times: tuple[float, ...] | None = None
    times_unit: str = "second"
    resolution: tuple[Any, Any] = (None, None)


@dataclass(frozen=True, slots=True)
class MovieFile:
    """A grey movie.

    Parameters
    ----------
    count
        Frames.
    shape
        Rows and columns.
    dtype
        Of the pixels, in the machine's byte order.
    read
        Begins to read the frames, in order.
    scale
        Their sizes and times.
    note
        What had to be assumed of it.
    """

    count: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    read: Callable[[], Frames]
    scale: Scale
    note: str | None = None


def open_movie(file: Path, files: ExitStack) -> MovieFile:
    """Open a movie until `files` is left.

    Raises
    ------
    ConfigError
        It is not readable, or no grey movie of one field and channel.
    """
    if not file.exists():
        raise ConfigError(f"{file}: no such file")
    if (file / LEDGER).exists():
        return _of_run(file)
    if file.is_dir():
        return _of_zarr(file)
    return _of_tiff(file, files)


def _of_tiff(file: Path, files: ExitStack) -> MovieFile:
    tiff = opened(file, files)
    stack = Stack.of(file, tiff)
    several = {
        axis: length
        for axis, length in zip(stack.axes[:-2], stack.shape[:-2], strict=True)
        if length > 1
    }
    if len(several) > 1:
        raise ConfigError(
            f"{file}: axes {stack.axes}, shape {stack.shape}; accepted is one movie, frames along"
            " one axis"
        )
    axis = next(iter(several), "T")
    note = f"its axis {axis} is taken for time" if axis == "Z" else None
    rows, columns = stack.shape[-2:]
    about = described(stack)
    planes = about.get("Plane", {})
    unit = _NAMES.get(str((planes.get("DeltaTUnit") or ["s"])[0]))
    times = tuple(map(float, planes["DeltaT"])) if "DeltaT" in planes and unit else None
    return MovieFile(
        stack.frames,
        (rows, columns),
        stack.dtype,
        lambda: (frame.astype(stack.dtype, copy=False) for frame in stack),
        Scale(
            _quantity(about, "PhysicalSizeY", "µm"),
            _quantity(about, "PhysicalSizeX", "µm"),
            _quantity(about, "TimeIncrement", "s"),
            times,
            unit or "second",
            resolution_of(tiff),
        ),
        note,
    )


def _quantity(about: dict[str, Any], key: str, usual: str) -> Quantity | None:
    """A size of OME-XML, where a missing unit is the usual one."""
    unit = _NAMES.get(str(about.get(f"{key}Unit", usual)))
    return Quantity(float(about[key]), unit) if key in about and unit else None


def _of_zarr(file: Path) -> MovieFile:
    import zarr

    try:
        group: Any = zarr.open_group(file, mode="r")
        attributes = group.attrs.asdict()
        scales = attributes.get("ome", attributes)["multiscales"][0]
        dataset = scales["datasets"][0]
        array: Any = group[dataset["path"]]
        axes = [dict(axis) for axis in scales["axes"]]
        steps = [1.0] * len(axes)
        for change in dataset.get("coordinateTransformations", []):
            if change["type"] == "scale":
                steps = [float(step) for step in change["scale"]]
        names = [str(axis["name"]) for axis in axes]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(f"{file}: not a readable OME-Zarr image ({reason})") from None
    shape = tuple(array.shape)
    alone = all(shape[at] == 1 for at, name in enumerate(names[:-2]) if name != "t")
    if names[-2:] != ["y", "x"] or len(names) != len(shape) or not alone:
        raise ConfigError(
            f"{file}: axes {', '.join(names)}, shape {shape}; accepted is a grey movie"
            " (t, y, x) of one channel and one plane"
        )
    dtype = np.dtype(array.dtype).newbyteorder("=")
    if dtype.kind not in "uif":
        raise ConfigError(f"{file}: pixels of type {dtype}; accepted are real numbers")
    time = names.index("t") if "t" in names else None
    found = {
        name: Quantity(step, str(axis["unit"]))
        for name, axis, step in zip(names, axes, steps, strict=True)
        if axis.get("unit") in UNITS
    }

    def read() -> Frames:
        for number in range(1 if time is None else shape[time]):
            place = tuple(number if at == time else 0 for at in range(len(shape) - 2))
            try:
                frame = np.asarray(array[place])
            except Exception as error:  # whatever a damaged chunk leads to
                raise ConfigError(
                    f"{file}, frame {number}: not readable: {error or type(error).__name__}"
                ) from None
            yield frame.astype(dtype, copy=False)

    return MovieFile(
        1 if time is None else shape[time],
        (shape[-2], shape[-1]),
        dtype,
        read,
        Scale(found.get("y"), found.get("x"), found.get("t")),
    )


def _of_run(folder: Path) -> MovieFile:
    """The frames of a run that all show one field with the same settings."""
    from agent.store.images import ImageStore
    from agent.summary import read as read_run

    config, recording = read_run(folder)
    if not recording.taken:
        raise ConfigError(f"{folder}: has no frames")
    numbers = sorted(recording.taken)
    kinds = {_kind(recording.taken[number].shot) for number in numbers}
    if len(kinds) > 1:
        raise ConfigError(
            f"{folder}: frames of {len(kinds)} kinds; accepted is a run of one mode, field and"
            " choice of settings"
        )
    pixel_um = config.microscope.pixel_size_nm * 1e-3
    images = ImageStore(folder, pixel_size_um=pixel_um)
    first = images.read(numbers[0])
    times = tuple(float(recording.taken[number].frame["time_s"]) for number in numbers)
    side = Quantity(pixel_um, "micrometer")
    return MovieFile(
        len(numbers),
        (first.shape[0], first.shape[1]),
        first.dtype.newbyteorder("="),
        lambda: (images.read(number) for number in numbers),
        Scale(side, side, None, times),
    )


def _kind(shot: dict[str, Any]) -> str:
    """Where and how a frame was taken."""
    field = shot.get("field") or {}
    return f"{shot.get('mode')}, field {field.get('index')}, {sorted(shot['settings'].items())}"
