"""TIFFs that stedfast writes: the description of their frames, and how they were made.

In an **OME-TIFF** map annotations (OME structured annotations, 2016-06) belong to the image:
`stedfast/filter` and `stedfast/reconstruction` say how it was made, `stedfast/frames` has a key for
every time point (from 0) whose value begins with `measured` or `reconstructed`. An ImageJ file
has the first in a line of its `Info`, other TIFFs in the JSON of their description.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from agent.offline.files.targets import CLASSIC_BYTES
from devices.recorded import SYMBOLS, About, Scale

NAMESPACE = "stedfast"
FRAMES = f"{NAMESPACE}/frames"
Made = Mapping[str, Mapping[str, Any]]
"""How a file was made, by step: names and plain values."""

_IMAGEJ_TYPES = ("u1", "u2", "f4")
_IMAGEJ_ORDER = "tzcyx"
# What of ImageJ's description still holds for frames of the same place and time.
_IMAGEJ_KEYS = (
    *("unit", "yunit", "zunit", "spacing", "finterval", "fps", "tunit", "loop", "Labels"),
    *("xorigin", "yorigin", "zorigin"),
)
_CALIBRATION = ("cf", "vunit", *(f"c{number}" for number in range(10)))


def write_tiff(
    path: Path,
    frames: Iterator[NDArray[Any]],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    axes: str,
    scale: Scale,
    about: About,
    made: Made,
    marks: Sequence[str],
    *,
    ome: bool,
) -> None:
    """Write frames and their description.

    Parameters
    ----------
    path
        Where to; nothing is there.
    frames
        In order, each rows × columns.
    shape, axes
        Of all: a length and a letter (t, z, c, i, q, y, x) for each axis.
    scale, about
        What the file says that they come from.
    made, marks
        How they were made, and the description of each frame.
    ome
        Write an OME-TIFF; else an ImageJ file or a plain one, as the source was.

    Raises
    ------
    OSError
        The disk refused.
    """
    size = math.prod(shape) * dtype.itemsize
    # ImageJ has signed 16-bit pixels as unsigned ones and a calibration.
    shifted = bool(about.offset) and dtype.str[1:] == "i2"
    stored = np.dtype(np.uint16) if shifted and not ome else dtype
    # ImageJ knows three types, and no BigTIFF.
    imagej = (
        bool(about.imagej)
        and not ome
        and stored.str[1:] in _IMAGEJ_TYPES
        and size < CLASSIC_BYTES
        and "".join(axis for axis in _IMAGEJ_ORDER if axis in axes) == axes
    )
    metadata: dict[str, Any] = {"axes": axes.upper()}
    resolution, unit = _resolution(scale, about, ome=ome)
    if ome:
        axes, shape = _ome_axes(axes, shape)
        metadata = _ome(axes, shape, scale, made, marks)
    elif imagej:
        metadata |= _imagej(about, made, math.prod(shape[:-2]), stored)
        unit = None
    else:
        metadata |= {NAMESPACE: {step: dict(items) for step, items in made.items()}}
    if imagej and shifted:
        frames = ((frame.astype(np.int32) - about.offset).astype(stored) for frame in frames)
        dtype = stored
    tifffile.imwrite(
        path,
        frames,
        shape=shape,
        dtype=dtype,
        imagej=imagej,
        ome=ome,
        bigtiff=size >= CLASSIC_BYTES,
        photometric="minisblack",
        resolution=resolution,
        resolutionunit=unit,
        software=NAMESPACE,
        metadata=metadata,
    )


def _resolution(scale: Scale, about: About, *, ome: bool) -> tuple[Any, Any]:
    """Pixels per unit (x, y) and the unit; None where nothing is known."""
    if about.resolution is not None and not ome:
        return about.resolution
    if scale.x is not None and scale.y is not None:
        return (1e7 / scale.x.nm, 1e7 / scale.y.nm), "CENTIMETER"
    return about.resolution or (None, None)


def _ome(
    axes: str, shape: tuple[int, ...], scale: Scale, made: Made, marks: Sequence[str]
) -> dict[str, Any]:
    about: dict[str, Any] = {"axes": axes.upper()}
    sizes = {
        "PhysicalSizeX": scale.x,
        "PhysicalSizeY": scale.y,
        "PhysicalSizeZ": scale.z,
        "TimeIncrement": scale.interval,
    }
    for key, size in sizes.items():
        if size is not None:
            about |= {key: size.value, f"{key}Unit": SYMBOLS[size.unit]}
    count = math.prod(shape[:-2])
    planes = {key: list(values) for key, values in scale.planes.items() if len(values) == count}
    if scale.times is not None:
        planes |= {"DeltaT": list(scale.times), "DeltaTUnit": ["s"] * len(scale.times)}
    if planes:
        about["Plane"] = planes
    told = {
        f"{NAMESPACE}/{step}": {key: str(value) for key, value in items.items()}
        for step, items in made.items()
    }
    if marks:
        told[FRAMES] = {str(point): mark for point, mark in enumerate(marks)}
    about["MapAnnotation"] = [{"Namespace": name, "Value": items} for name, items in told.items()]
    return about


def _ome_axes(axes: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Time and depth for axes that OME has no name for; where these are too few, all are time."""
    free = [axis for axis in "tz" if axis not in axes]
    others = [axis for axis in axes if axis not in _IMAGEJ_ORDER]
    if len(others) > len(free):
        return "tyx", (math.prod(shape[:-2]), *shape[-2:])
    named = dict(zip(others, free, strict=False))
    return "".join(named.get(axis, axis) for axis in axes), shape


def _imagej(about: About, made: Made, planes: int, stored: np.dtype[Any]) -> dict[str, Any]:
    found = about.imagej
    keys = _IMAGEJ_KEYS if stored.kind == "f" else (*_IMAGEJ_KEYS, *_CALIBRATION)
    metadata = {key: _ascii(found[key]) for key in keys if key in found}
    if len(metadata.get("Labels", ())) != planes:
        metadata.pop("Labels", None)
    lines = [f"{NAMESPACE}/{step}: {json.dumps(dict(items))}" for step, items in made.items()]
    kept = [
        line
        for line in str(found.get("Info", "")).splitlines()
        if not line.startswith(f"{NAMESPACE}/")
    ]
    return metadata | {"Info": "\n".join([*lines, *kept])}


def _ascii(value: Any) -> Any:
    """A text as ImageJ writes it: in ASCII, with the code of any other letter."""
    if not isinstance(value, str):
        return value
    return "".join(c if c.isascii() else f"\\u{ord(c):04X}" for c in value)
