"""OME-Zarr images: 0.1 to 0.5, and several of them in the layout of bioformats2raw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import zarr

from devices.recorded.description import Description, Place
from devices.recorded.errors import ImageError
from devices.recorded.series import LARGEST_BYTES, Series, reason
from devices.recorded.units import LENGTHS, TIMES, Quantity, quantity

MARKS = "stedfast"
_WORDS = {"t": "frame interval", "y": "pixel size in y", "x": "pixel size in x", "z": "z step"}
# Before 0.3 all images had five axes, and no names for them.
_OLDEST = ("t", "c", "z", "y", "x")
# Where a folder says that it is a group, in Zarr 3 and 2.
_GROUP = ("zarr.json", ".zgroup")


def open_ngff(file: Path) -> list[Series]:
    """The images in a folder.

    Raises
    ------
    ImageError
        It is no OME-Zarr image, or a damaged one.
    """
    try:
        if not any((file / name).is_file() for name in _GROUP):
            raise ImageError(
                "a folder that is no OME-Zarr image; accepted: the files in it, one by one"
            )
        group = zarr.open_group(file, mode="r")
        return [_series(file, *found) for found in _images(group)]
    except ImageError as error:
        raise ImageError(f"{file}: {error}") from None
    except Exception as error:  # anything that strange or damaged metadata lead to
        raise ImageError(f"{file}: not a readable OME-Zarr image ({reason(error)})") from None


def _images(group: zarr.Group, deeper: bool = True) -> list[tuple[zarr.Group, Any, dict[str, Any]]]:
    """Every image: its group, its `multiscales` and all attributes of that group."""
    attributes: dict[str, Any] = dict(group.attrs)
    metadata = attributes.get("ome", attributes)
    if not isinstance(metadata, dict):
        raise ImageError("`ome` among its attributes is no mapping; accepted: an OME-Zarr image")
    if "multiscales" in metadata:
        return [(group, one, attributes) for one in metadata["multiscales"]]
    if "bioformats2raw.layout" in metadata and deeper:
        names = sorted((name for name, _ in group.groups() if name.isdigit()), key=int)
        found = [one for name in names for one in _images(_below(group, name), deeper=False)]
        if found:
            return found
    if "plate" in metadata or "well" in metadata:
        raise ImageError("a plate of many wells; accepted: the folder of one image in it")
    raise ImageError("no complete `multiscales` in its metadata; accepted: an OME-Zarr image")


def _below(group: zarr.Group, path: str) -> Any:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ImageError(f"path {path!r} leads out of the image; accepted: one within it")
    return group[path]


def _series(file: Path, group: zarr.Group, image: Any, attributes: dict[str, Any]) -> Series:
    try:
        dataset = image["datasets"][0]
        path = str(dataset["path"])
        axes = _axes(image, "ome" in attributes)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ImageError(
            f"no complete `multiscales` in its metadata ({error!r}); accepted: an OME-Zarr image"
        ) from None
    array = _below(group, path)
    if not isinstance(array, zarr.Array) or array.ndim != len(axes):
        raise ImageError(
            f"axes {', '.join(str(axis['name']) for axis in axes)} of an array of"
            f" {getattr(array, 'ndim', 'no')} dimensions; accepted: a name for each"
        )
    dtype = np.dtype(array.dtype)
    chunk = math.prod(array.shards or array.chunks) * dtype.itemsize
    if chunk > LARGEST_BYTES:
        raise ImageError(f"chunks of {chunk} bytes; accepted: up to {LARGEST_BYTES}")
    steps = _steps(len(axes), [*_changes(dataset), *_changes(image)])
    names = "".join(str(axis["name"]).lower()[:1] or "q" for axis in axes)
    return Series(
        file=file,
        name=str(image.get("name") or ""),
        axes=names,
        shape=tuple(array.shape),
        dtype=dtype.newbyteorder("="),
        color=False,
        pixels=lambda: array,
        description=NgffDescription(axes, steps, attributes),
        held=lambda index: _held(array, names, index),
        gaps=False,
    )


def _axes(image: Any, named: bool) -> list[dict[str, Any]]:
    """Axes with names and, if there are any, units."""
    if "axes" not in image and not named:
        return [{"name": name} for name in _OLDEST]
    return [dict(axis) if isinstance(axis, Mapping) else {"name": axis} for axis in image["axes"]]


def _changes(part: Any) -> list[Any]:
    return list(part.get("coordinateTransformations") or [])


def _steps(axes: int, changes: list[Any]) -> list[float]:
    """What a step along each axis is, after all scales; where it begins does not matter."""
    steps = [1.0] * axes
    for change in changes:
        kind = change.get("type")
        if kind in ("identity", "translation"):
            continue
        scale = change.get("scale")
        if kind != "scale" or not isinstance(scale, list) or len(scale) != axes:
            raise ImageError(
                f"transformation {str(change)[:60]}; accepted: scales with a number for each of"
                f" the {axes} axes, and translations"
            )
        steps = [step * float(by) for step, by in zip(steps, scale, strict=True)]
    return steps


def _held(array: Any, axes: str, index: Sequence[int]) -> bool:
    """Whether any chunk of a frame is on disk."""
    root = Path(array.store_path.store.root) / array.path
    grid = array.shards or array.chunks
    spans = [
        range(-(-length // step)) if axis in "yx" else [at // step]
        for axis, length, step, at in zip(axes, array.shape, grid, index, strict=True)
    ]
    keys: list[tuple[int, ...]] = [()]
    for span in spans:
        keys = [(*key, at) for key in keys for at in span]
    return any((root / array.metadata.encode_chunk_key(key)).exists() for key in keys)


class NgffDescription(Description):
    """Axes and scales of a multiscale image, and what stedfast's own attributes say."""

    ome = True

    def __init__(
        self, axes: Sequence[dict[str, Any]], steps: Sequence[float], attributes: dict[str, Any]
    ) -> None:
        self._axes = {str(axis["name"]).lower(): axis for axis in axes}
        self._steps = dict(zip(self._axes, steps, strict=False))
        own = attributes.get(MARKS)
        self._own: dict[str, Any] = own if isinstance(own, dict) else {}
        omero = attributes.get("ome", attributes).get("omero")
        self._omero: dict[str, Any] = omero if isinstance(omero, dict) else {}

    def size(self, axis: str) -> Quantity | None:
        """From the scale of that axis."""
        return self._step(axis, LENGTHS)

    def interval(self) -> Quantity | None:
        """From the scale of the time axis."""
        return self._step("t", TIMES)

    def _step(self, axis: str, units: Mapping[str, float]) -> Quantity | None:
        if axis not in self._axes:
            return None
        step, unit = self._steps[axis], self._axes[axis].get("unit")
        if unit is not None:
            return quantity(step, str(unit), units, _WORDS[axis])
        if step == 1:  # as written without knowledge of the scale
            return None
        raise ImageError(f"{_WORDS[axis]} is {step:g} without a unit; accepted: one with a unit")

    def times(self, places: Sequence[Place]) -> tuple[float, ...] | None:
        """As stedfast writes them."""
        told = self._own.get("times")
        if not isinstance(told, list):
            return None
        unit = quantity(1, str(self._own.get("times_unit", "second")), TIMES, "`times_unit`")
        try:
            return tuple(float(told[place.get("t", 0)]) * unit.seconds for place in places if unit)
        except (IndexError, TypeError, ValueError):
            raise ImageError("`times` has no number for each frame; accepted: one each") from None

    def made(self) -> dict[str, dict[str, str]]:
        """What stedfast's attributes have beside the list of frames."""
        plain = {
            key: str(value)
            for key, value in self._own.items()
            if isinstance(value, str | int | float)
        }
        found = {"reconstruction": plain} if "model" in plain else {}
        others = self._own.get("made")
        for step, items in others.items() if isinstance(others, dict) else ():
            if isinstance(items, dict):
                found[str(step)] = {str(key): str(value) for key, value in items.items()}
        return found

    def kinds(self, places: Sequence[Place]) -> tuple[str, ...]:
        """From the list of frames, by time point and, of a run, by field, which is a channel."""
        marks = self._own.get("frames")
        if not isinstance(marks, list) or not all(isinstance(mark, dict) for mark in marks):
            return ()
        fields = sorted({mark["field"] for mark in marks if isinstance(mark.get("field"), int)})
        known = {
            (mark.get("point"), fields.index(mark["field"]) if fields else 0): mark.get("kind")
            for mark in marks
            if not fields or mark.get("field") in fields
        }
        found = [known.get((p.get("t", 0), p.get("c", 0) if fields else 0)) for p in places]
        return tuple(str(kind or "missing") for kind in found)

    def channels(self) -> list[str]:
        """Their labels."""
        channels = self._omero.get("channels")
        if not isinstance(channels, list):
            return []
        return [str(one.get("label", "")) for one in channels if isinstance(one, dict)]
