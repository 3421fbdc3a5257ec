"""Movies with rebuilt frames among the measured ones, as OME-TIFF and OME-Zarr.

Which frame is which is said where any reader of the format finds it: in an OME-TIFF in map
annotations (see `files.tiffs`); in an OME-Zarr image (0.5) the group has `stedfast` among its
attributes, beside `ome`: how it was made, and `frames` as a list of `{point, kind, time, …}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.offline.files.targets import TIFFS
from agent.offline.files.tiffs import Made, write_tiff
from devices.recorded import About, Quantity, Scale

ENDINGS = (*TIFFS, ".zarr")
MARKS = "stedfast"

Mark = dict[str, Any]
"""A frame's `point`, `kind`, `time` (in measured frames), for a rebuilt one `uncertainty` (of the
signal), and `fault` where there is one."""


def faster(scale: Scale, marks: Sequence[Mark]) -> Scale:
    """Sizes and times of a movie of which these are the frames."""
    times = scale.times
    if times is not None:
        at = [mark["time"] for mark in marks]
        times = tuple(map(float, np.interp(at, np.arange(len(times)), times)))
    step = scale.interval
    if step is not None and len(marks) > 1:
        step = Quantity(step.value * (marks[1]["time"] - marks[0]["time"]), step.unit)
    return Scale(scale.y, scale.x, scale.z, step, times)


def write_movie(
    path: Path,
    ending: str,
    frames: Iterator[NDArray[Any]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    scale: Scale,
    made: Made,
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
        How it was made, by step: names and plain values.

    Raises
    ------
    OSError
        The disk refused.
    """
    if ending.lower() in TIFFS:
        lines = [_line(mark) for mark in marks]
        write_tiff(path, frames, shape, dtype, "tyx", scale, About(), made, lines, ome=True)
    else:
        _write_zarr(path, frames, shape, dtype, scale, made, marks)


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
    made: Made,
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
    own = {**made}
    told: dict[str, Any] = {**own.pop("reconstruction", {}), "frames": list(marks)}
    if own:
        told["made"] = {step: dict(items) for step, items in own.items()}
    if scale.times is not None:
        told |= {"times": list(scale.times), "times_unit": "second"}
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
