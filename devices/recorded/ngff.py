"""OME-Zarr images: 0.1 to 0.5, and several of them in the layout of bioformats2raw."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import zarr

from devices.recorded.errors import ImageError
from devices.recorded.ngff_description import NgffDescription
from devices.recorded.series import LARGEST_BYTES, Series, reason

# Before 0.3 all images had five axes, and no names for them.
_OLDEST = ("t", "c", "z", "y", "x")
# Where a folder says that it is a group, in Zarr 3 and 2.
_GROUP = ("zarr.json", ".zgroup")
_BARE = "an array alone, without axes and scales; accepted: the folder of its image"


def open_ngff(file: Path) -> list[Series]:
    """The images in a folder.

    Raises
    ------
    ImageError
        It is no OME-Zarr image, or a damaged one.
    """
    try:
        if (file / ".zarray").is_file():
            raise ImageError(_BARE)
        if not any((file / name).is_file() for name in _GROUP):
            raise ImageError(
                "a folder that is no OME-Zarr image; accepted: the files in it, one by one"
            )
        group = zarr.open(file, mode="r")
        if not isinstance(group, zarr.Group):
            raise ImageError(_BARE)
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
