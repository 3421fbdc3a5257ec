"""Grey stacks in TIFFs: read frame by frame, and written whole or not at all."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from agent.reading import ConfigError

# The largest file that plain TIFF can address, less room for what is not pixels.
CLASSIC_BYTES = 2**32 - 2**25
_IMAGEJ = ("u1", "u2", "f4")
# What of a file's own description still holds for its filtered frames.
_OME_KEYS = tuple(
    name + unit
    for name in ("PhysicalSizeX", "PhysicalSizeY", "PhysicalSizeZ", "TimeIncrement")
    for unit in ("", "Unit")
)
_PLANE_KEYS = tuple(
    name + unit
    for name in ("DeltaT", "ExposureTime", "PositionX", "PositionY", "PositionZ")
    for unit in ("", "Unit")
)
_IMAGEJ_KEYS = ("unit", "yunit", "zunit", "spacing", "finterval", "fps", "tunit", "loop", "Labels")


TIFFS = (".tif", ".tiff")
_OF_ZARR = ("zarr.json", ".zgroup", ".zattrs")


def check_targets(
    file: Path,
    targets: Sequence[Path],
    *,
    overwrite: bool,
    endings: Sequence[str] = TIFFS,
) -> None:
    """Check that files can be written, of which the second is the map of uncertainties.

    Raises
    ------
    ConfigError
        A name ends otherwise, there is no such folder, it is `file` itself, another target or,
        without `overwrite`, there already.
    """
    accepted = " or ".join([", ".join(endings[:-1]), endings[-1]])
    for target in targets:
        if target.suffix.lower() not in endings:
            raise ConfigError(f"{target}: the name must end in {accepted}")
        if not target.parent.is_dir():
            raise ConfigError(f"{target}: there is no folder {target.parent}")
        if target.resolve() == file.resolve():
            raise ConfigError(f"{target}: is the file to read; what was measured is kept")
        if target.exists() and not overwrite:
            raise ConfigError(f"{target}: is there already; --overwrite replaces it")
        if target.is_dir() and not any((target / name).exists() for name in _OF_ZARR):
            raise ConfigError(f"{target}: a folder that is no OME-Zarr image is not replaced")
    if len({target.resolve() for target in targets}) < len(targets):
        raise ConfigError(f"--uncertainty {targets[1]}: another file than {targets[0]} is needed")


def opened(file: Path, files: ExitStack) -> tifffile.TiffFile:
    """A TIFF, until `files` is left.

    Raises
    ------
    ConfigError
        It is none.
    """
    try:
        return files.enter_context(tifffile.TiffFile(file))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, tifffile.TiffFileError, ValueError, IndexError) as error:
        raise ConfigError(f"{file}: not a readable TIFF file: {error}") from None


@dataclass(frozen=True, slots=True)
class Stack:
    """A TIFF's frames, and what its description says of them."""

    file: Path
    tiff: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, file: Path, tiff: tifffile.TiffFile) -> Stack:
        """Check what is in a file.

        Raises
        ------
        ConfigError
            It is in colour, of several channels or images, or not of numbers.
        """
        try:
            found = list(tiff.series)
            if not found or not math.prod(found[0].shape):
                raise ConfigError(f"{file}: holds no image")
            series = found[0]
            color = tiff.pages.first.photometric == tifffile.PHOTOMETRIC.RGB
        except (tifffile.TiffFileError, ValueError, IndexError, KeyError) as error:
            raise ConfigError(f"{file}: not a readable TIFF file: {error}") from None
        axes, shape = series.axes, series.shape
        grey = f"{file}: %s; accepted are grey frames of one channel, or a stack of them"
        if color or "S" in axes:
            raise ConfigError(grey % f"a colour image of shape {shape}")
        if axes[-2:] != "YX":
            raise ConfigError(grey % f"axes {axes}, shape {shape}")
        if "C" in axes and shape[axes.index("C")] > 1:
            raise ConfigError(grey % f"{shape[axes.index('C')]} channels")
        if len(found) > 1:
            raise ConfigError(
                f"{file}: holds {len(found)} images of different shape or place; accepted is one"
                " frame or stack a file"
            )
        if series.dtype is None or series.dtype.kind not in "uif":
            raise ConfigError(f"{file}: pixels of type {series.dtype}; accepted are real numbers")
        return cls(file, tiff, series, axes, shape, series.dtype.newbyteorder("="))

    @property
    def frames(self) -> int:
        """How many there are."""
        return math.prod(self.shape[:-2])

    @property
    def kept_type(self) -> np.dtype[Any]:
        """Of the filtered frames."""
        return self.dtype if self.dtype.kind in "ui" else np.dtype(np.float32)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Frames, each read when it is asked for.

        Raises
        ------
        ConfigError
            One cannot be read.
        """
        frames = self._read()
        for number in range(self.frames):
            try:
                frame = next(frames)
            except Exception as error:  # whatever a damaged file leads to
                raise ConfigError(
                    f"{self.file}, frame {number}: not readable: {error or type(error).__name__}"
                ) from None
            yield frame

    def _read(self) -> Iterator[NDArray[Any]]:
        pages = [page for page in self.series.pages if page is not None]
        if len(pages) == self.frames:
            for page in pages:
                yield page.asarray().reshape(self.shape[-2:])
        else:
            # One page for all (large ImageJ stacks), or frames that were never written.
            yield from self.series.asarray(out="memmap").reshape(-1, *self.shape[-2:])


def planes_in(
    spool: Path, count: int, shape: tuple[int, ...], dtype: Any = np.float32
) -> Iterator[NDArray[Any]]:
    """Planes (rows × columns) from a file that holds nothing else."""
    rows, columns = shape[-2:]
    with spool.open("rb") as file:
        for _ in range(count):
            yield np.fromfile(file, dtype, rows * columns).reshape(rows, columns)


class Partial:
    """A file, or the folder of an OME-Zarr image, that is only moved to its place when it is whole.

    Parameters
    ----------
    target
        Its place.
    ending
        Of another file that belongs to the same target and is never moved.
    """

    def __init__(self, target: Path, ending: str = "") -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}{ending}.partial")

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_: object) -> None:
        _remove(self.path)

    def keep(self) -> None:
        """Move it to its place, from where an older one goes."""
        if not self._target.is_dir():
            self.path.replace(self._target)
            return
        older = self._target.with_name(f"{self._target.name}.older")
        self._target.replace(older)
        self.path.replace(self._target)
        _remove(older)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_like(
    path: Path, stack: Stack, dtype: np.dtype[Any], frames: Iterator[NDArray[Any]], name: Path
) -> None:
    """Write a file like the stack's, to `path`; `name` is what it will be called."""
    tiff = stack.tiff
    size = math.prod(stack.shape) * dtype.itemsize
    named = name.name.lower().endswith((".ome.tif", ".ome.tiff"))
    ome = tiff.is_ome or named
    # ImageJ knows three types, and no BigTIFF.
    imagej = (
        tiff.is_imagej
        and not ome
        and dtype.str[1:] in _IMAGEJ
        and size < CLASSIC_BYTES
        and set(stack.axes) <= set("TZCYX")
    )
    metadata: dict[str, Any] = {"axes": stack.axes}
    if ome:
        metadata |= described(stack)
    elif imagej:
        found = tiff.imagej_metadata or {}
        metadata |= {key: found[key] for key in _IMAGEJ_KEYS if key in found}
    resolution, unit = resolution_of(tiff)
    tifffile.imwrite(
        path,
        frames,
        shape=stack.shape,
        dtype=dtype,
        imagej=imagej,
        ome=ome,
        bigtiff=size >= CLASSIC_BYTES,
        photometric="minisblack",
        resolution=resolution,
        resolutionunit=None if imagej else unit,
        metadata=metadata,
    )


def resolution_of(tiff: tifffile.TiffFile) -> tuple[Any, Any]:
    """Pixels per unit (x, y) and the unit, from the tags of the first page; None where not told."""
    first = tiff.pages.first
    tags = [first.tags.get(key) for key in ("XResolution", "YResolution")]
    x, y = (tag.value if tag and tag.value[1] else None for tag in tags)
    unit = first.tags.get("ResolutionUnit")
    return (x, y) if x and y else None, unit.value if unit else None


def described(stack: Stack) -> dict[str, Any]:
    """Sizes, times and positions, from OME-XML or from ImageJ's description."""
    tiff = stack.tiff
    if not tiff.ome_metadata:
        return _described_by_imagej(stack)
    try:
        pixels = tifffile.xml2dict(tiff.ome_metadata)["OME"]["Image"]["Pixels"]
        found = {key: pixels[key] for key in _OME_KEYS if key in pixels}
        planes = pixels.get("Plane", [])
        planes = planes if isinstance(planes, list) else [planes]
        if len(planes) == stack.frames:
            planes.sort(key=lambda plane: (plane.get("TheT", 0), plane.get("TheZ", 0)))
            if common := [key for key in _PLANE_KEYS if all(key in plane for plane in planes)]:
                found["Plane"] = {key: [plane[key] for plane in planes] for key in common}
    except (KeyError, TypeError, AttributeError):
        return {}
    return found


def _described_by_imagej(stack: Stack) -> dict[str, Any]:
    """Pixel size and interval of an ImageJ file, whose resolution is in pixels per unit."""
    about = stack.tiff.imagej_metadata or {}
    found: dict[str, Any] = {}
    if about.get("finterval") and str(about.get("tunit", "sec")) in ("s", "sec", "seconds"):
        found |= {"TimeIncrement": float(about["finterval"]), "TimeIncrementUnit": "s"}
    unit = str(about.get("unit", "")).replace("\\u00B5m", "µm")
    unit = {"micron": "µm", "um": "µm"}.get(unit, unit)
    if unit not in ("µm", "nm", "mm"):
        return found
    for axis in "XY":
        tag = stack.tiff.pages.first.tags.get(f"{axis}Resolution")
        if tag and tag.value[0]:
            found[f"PhysicalSize{axis}"] = tag.value[1] / tag.value[0]
            found[f"PhysicalSize{axis}Unit"] = unit
    return found
