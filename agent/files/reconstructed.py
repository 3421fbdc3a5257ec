"""Movies with rebuilt frames among the measured ones, as OME-TIFF and OME-Zarr.

Which frame is which is said where any reader of the format finds it. In an **OME-TIFF** two map
annotations (OME structured annotations, 2016-06) belong to the image: `stedfast/reconstruction`
says how it was made, `stedfast/frames` has a key for every time point (from 0) whose value
begins with `measured` or `reconstructed`. In an **OME-Zarr** image (0.5) the group has `stedfast`
among its attributes, beside `ome`: the same, with `frames` as a list of `{point, kind, time, …}`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from agent.files.movies import UNITS, Quantity, Scale
from agent.files.stacks import CLASSIC_BYTES, TIFFS

ENDINGS = (*TIFFS, ".zarr")
MARKS = "stedfast"
FRAMES, MADE = "stedfast/frames", "stedfast/reconstruction"
MEASURED, RECONSTRUCTED = "measured", "reconstructed"

Mark = dict[str, Any]
"""What is said of a frame: `point`, `kind`, `time` (in measured frames), for a rebuilt one
`uncertainty` (of the signal), and `fault` where there is one."""


def faster(scale: Scale, marks: Sequence[Mark]) -> Scale:
    """Sizes and times of a movie of which these are the frames."""
    times = scale.times
    if times is not None:
        at = [mark["time"] for mark in marks]
        times = tuple(map(float, np.interp(at, np.arange(len(times)), times)))
    step = scale.interval
    if step is not None and len(marks) > 1:
        step = Quantity(step.value * (marks[1]["time"] - marks[0]["time"]), step.unit)
    return Scale(scale.y, scale.x, step, times, scale.times_unit, scale.resolution)


def write_movie(
    path: Path,
    ending: str,
    frames: Iterator[NDArray[Any]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    scale: Scale,
    made: dict[str, Any],
    marks: Sequence[Mark],
) -> None:
    """Write a movie and what its frames are.

    Parameters
    ----------
    path
        Where to; nothing is there.
    ending
        Of the name that it will have; says which format.
    frames
        In order, each rows × columns.
    shape
        T × rows × columns.
    made
        How it was made: names and plain values.

    Raises
    ------
    OSError
        The disk refused.
    """
    if ending.lower() in TIFFS:
        _write_tiff(path, frames, shape, dtype, scale, made, marks)
    else:
        _write_zarr(path, frames, shape, dtype, scale, made, marks)


def _write_tiff(
    path: Path,
    frames: Iterator[NDArray[Any]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    scale: Scale,
    made: dict[str, Any],
    marks: Sequence[Mark],
) -> None:
    about: dict[str, Any] = {"axes": "TYX"}
    sizes = {"PhysicalSizeX": scale.x, "PhysicalSizeY": scale.y, "TimeIncrement": scale.interval}
    for key, size in sizes.items():
        if size is not None:
            about |= {key: size.value, f"{key}Unit": UNITS[size.unit]}
    if scale.times is not None:
        unit = UNITS[scale.times_unit]
        about["Plane"] = {"DeltaT": list(scale.times), "DeltaTUnit": [unit] * len(scale.times)}
    about["MapAnnotation"] = [
        {"Namespace": MADE, "Value": {key: str(value) for key, value in made.items()}},
        {"Namespace": FRAMES, "Value": {str(mark["point"]): _line(mark) for mark in marks}},
    ]
    resolution, unit_of_it = scale.resolution
    size_bytes = math.prod(shape) * dtype.itemsize
    tifffile.imwrite(
        path,
        frames,
        shape=shape,
        dtype=dtype,
        ome=True,
        bigtiff=size_bytes >= CLASSIC_BYTES,
        photometric="minisblack",
        resolution=resolution,
        resolutionunit=unit_of_it,
        metadata=about,
    )


def _line(mark: Mark) -> str:
    """`reconstructed; uncertainty 0.031; frame 3 again: …`."""
    parts = [mark["kind"]]
    if "uncertainty" in mark:
        parts.append(f"uncertainty {mark['uncertainty']}")
    if "fault" in mark:
        parts.append(mark["fault"])
    return "; ".join(parts)


def _write_zarr(
    path: Path,
    frames: Iterator[NDArray[Any]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    scale: Scale,
    made: dict[str, Any],
    marks: Sequence[Mark],
) -> None:
    from yaozarrs import DimSpec, v05
    from yaozarrs.write.v05 import prepare_image

    axes = [
        DimSpec(
            name=name,
            type=kind,
            unit=size.unit if size else None,
            size=length,
            scale=size.value if size else 1.0,
        )
        for name, kind, size, length in zip(
            "tyx",
            ("time", "space", "space"),
            (scale.interval, scale.y, scale.x),
            shape,
            strict=True,
        )
    ]
    told: dict[str, Any] = {**made, "frames": list(marks)}
    if scale.times is not None:
        told |= {"times": list(scale.times), "times_unit": scale.times_unit}
    _, arrays = prepare_image(
        path,
        v05.Image(multiscales=[v05.Multiscale.from_dims(axes)]),
        datasets=[(shape, dtype)],
        extra_attributes={MARKS: told},
        chunks=(1, *shape[1:]),
        writer="zarr",
        overwrite=True,
    )
    array = arrays["0"]
    for number, frame in enumerate(frames):
        array[number] = frame
