"""`stedfast filter`: the frames of a TIFF through a restoration network, into another TIFF."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from agent.reading import ConfigError

if TYPE_CHECKING:
    from models.restoration import Restorer

# The largest file that plain TIFF can address, less room for what is not pixels.
_CLASSIC_BYTES = 2**32 - 2**25
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


@dataclass(frozen=True, slots=True)
class Filtered:
    """What came of filtering a file.

    Parameters
    ----------
    frames
        How many.
    uncertainty
        Each frame's mean standard deviation over its mean signal (`Restored.uncertainty`).
    device
        Where the last frame was computed.
    faults
        What went wrong on the way, with the frame's number before it.
    """

    frames: int
    uncertainty: tuple[float, ...]
    device: str
    faults: tuple[str, ...]


def filter_file(
    file: Path,
    out: Path,
    model: str,
    *,
    uncertainty: Path | None = None,
    device: str = "auto",
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, frames: None,
) -> Filtered:
    """Filter every frame of a TIFF by itself, one in memory at a time.

    A file of integers stays one, of the same type: values are rounded, and clipped to what the type
    holds, so that both files open with the same look-up table. Anything else becomes float32.
    An OME-TIFF stays one, with its pixel size, times and positions, as does an ImageJ
    stack; other files keep their resolution. Nothing is in the place of `out` before the last
    frame is written.

    Parameters
    ----------
    file
        A grey TIFF of one channel, a frame or a stack of them (T, Z).
    out
        The TIFF to write.
    model
        Name of weights that come along, or a ``.safetensors`` file.
    uncertainty
        Another TIFF to write: the standard deviation of each pixel's error, float32, in the
        frames' units.
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    overwrite
        Replace files that are there; never `file` itself.
    progress
        Is told the number of frames that are done and of all.

    Raises
    ------
    ConfigError
        The file, the model or the device cannot be used, or a file is in the way.
    """
    _check_targets(file, out, uncertainty, overwrite)
    restorer = _open(model, device)
    with ExitStack() as files:
        tiff = _opened(file, files)
        stack = _Stack.of(file, tiff)
        partial = files.enter_context(_Partial(out))
        errors = files.enter_context(_Partial(uncertainty)) if uncertainty else None
        # Both files grow with the frames, and a TIFF is written in one go: errors wait here.
        spool = files.enter_context(_Partial(uncertainty, ".planes")) if uncertainty else None
        work = _Work(stack, restorer, progress)
        kept = files.enter_context(spool.path.open("wb")) if spool else None
        try:
            _write(partial.path, stack, stack.kept_type, work.images(kept), out)
            if errors and spool and kept and uncertainty:
                kept.flush()
                _write(
                    errors.path,
                    stack,
                    np.dtype(np.float32),
                    _planes_in(spool.path, stack),
                    uncertainty,
                )
        except OSError as error:
            raise ConfigError(f"{out}: cannot be written: {error}") from None
        partial.keep()
        if errors:
            errors.keep()
    return Filtered(stack.frames, tuple(work.uncertainty), work.device, tuple(work.faults))


def _check_targets(file: Path, out: Path, uncertainty: Path | None, overwrite: bool) -> None:
    targets = [out] if uncertainty is None else [out, uncertainty]
    for target in targets:
        if target.suffix.lower() not in (".tif", ".tiff"):
            raise ConfigError(f"{target}: the name must end in .tif or .tiff")
        if not target.parent.is_dir():
            raise ConfigError(f"{target}: there is no folder {target.parent}")
        if target.resolve() == file.resolve():
            raise ConfigError(f"{target}: is the file to filter; what was measured is kept")
        if target.exists() and not overwrite:
            raise ConfigError(f"{target}: is there already; --overwrite replaces it")
    if uncertainty is not None and uncertainty.resolve() == out.resolve():
        raise ConfigError(f"--uncertainty {uncertainty}: another file than {out} is needed")


def _open(model: str, device: str) -> Restorer:
    from models.restoration import Restorer

    try:
        return Restorer(model, device)
    except (OSError, ValueError) as error:
        option = "device" if str(error).startswith("device") else "model"
        raise ConfigError(f"--{option}: {str(error).removeprefix(f'{option}: ')}") from None


def _opened(file: Path, files: ExitStack) -> tifffile.TiffFile:
    try:
        return files.enter_context(tifffile.TiffFile(file))
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file") from None
    except (OSError, tifffile.TiffFileError, ValueError, IndexError) as error:
        raise ConfigError(f"{file}: not a readable TIFF file: {error}") from None


@dataclass(frozen=True, slots=True)
class _Stack:
    """A TIFF's frames, and what its description says of them."""

    file: Path
    tiff: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, file: Path, tiff: tifffile.TiffFile) -> _Stack:
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


class _Work:
    """Filters a stack frame by frame, and notes what comes with them."""

    def __init__(
        self, stack: _Stack, restorer: Restorer, progress: Callable[[int, int], None]
    ) -> None:
        self._stack, self._restorer, self._progress = stack, restorer, progress
        self.uncertainty: list[float] = []
        self.faults: list[str] = []
        self.device = ""
        self._taken = -1

    def _frames(self) -> Iterator[NDArray[Any]]:
        for frame in self._stack:
            self._taken += 1
            yield frame

    def images(self, errors: Any) -> Iterator[NDArray[Any]]:
        """Filtered frames in the type they are kept in; their errors go to a file, if any."""
        stack = self._stack
        results = self._restorer.stream(self._frames())
        self._progress(0, stack.frames)
        while True:
            try:
                result = next(results, None)
            except ConfigError:
                raise
            except (ValueError, MemoryError) as error:
                raise ConfigError(f"{stack.file}, frame {self._taken}: {error}") from None
            if result is None:
                return
            if result.fault:
                self.faults.append(f"frame {len(self.uncertainty)}: {result.fault}")
            self.uncertainty.append(result.uncertainty)
            self.device = result.device
            if errors is not None:
                errors.write(result.sd.astype(np.float32, copy=False).tobytes())
            yield as_type(result.image, stack.kept_type)
            self._progress(len(self.uncertainty), stack.frames)


def as_type(image: NDArray[np.float32], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An image in another type; integers are rounded, and clipped to what the type holds."""
    if dtype.kind not in "ui":
        return image.astype(dtype, copy=False)
    # Single precision cannot hold the limits of 32-bit integers; of 64-bit ones double cannot.
    limits = np.iinfo(dtype)
    most = np.nextafter(float(limits.max), 0) if dtype.itemsize > 4 else float(limits.max)
    return np.clip(np.rint(image.astype(np.float64)), float(limits.min), most).astype(dtype)


def _planes_in(spool: Path, stack: _Stack) -> Iterator[NDArray[Any]]:
    """Float32 planes from a file that holds nothing else."""
    rows, columns = stack.shape[-2:]
    with spool.open("rb") as file:
        for _ in range(stack.frames):
            yield np.fromfile(file, np.float32, rows * columns).reshape(rows, columns)


class _Partial:
    """A file that is only moved to its place when it is whole."""

    def __init__(self, target: Path, ending: str = "") -> None:
        self._target = target
        self.path = target.with_name(f"{target.name}{ending}.partial")

    def __enter__(self) -> _Partial:
        return self

    def __exit__(self, *_: object) -> None:
        self.path.unlink(missing_ok=True)

    def keep(self) -> None:
        """Move it to its place."""
        self.path.replace(self._target)


def _write(
    path: Path, stack: _Stack, dtype: np.dtype[Any], frames: Iterator[NDArray[Any]], name: Path
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
        and size < _CLASSIC_BYTES
        and set(stack.axes) <= set("TZCYX")
    )
    metadata: dict[str, Any] = {"axes": stack.axes}
    if ome:
        metadata |= _ome(stack)
    elif imagej:
        found = tiff.imagej_metadata or {}
        metadata |= {key: found[key] for key in _IMAGEJ_KEYS if key in found}
    first = tiff.pages.first
    tags = [first.tags.get(key) for key in ("XResolution", "YResolution")]
    x, y = (tag.value if tag and tag.value[1] else None for tag in tags)
    unit = first.tags.get("ResolutionUnit")
    tifffile.imwrite(
        path,
        frames,
        shape=stack.shape,
        dtype=dtype,
        imagej=imagej,
        ome=ome,
        bigtiff=size >= _CLASSIC_BYTES,
        photometric="minisblack",
        resolution=(x, y) if x and y else None,
        resolutionunit=unit.value if unit and not imagej else None,
        metadata=metadata,
    )


def _ome(stack: _Stack) -> dict[str, Any]:
    """Sizes, times and positions, from OME-XML or from ImageJ's description."""
    tiff = stack.tiff
    if not tiff.ome_metadata:
        return _ome_of_imagej(stack)
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


def _ome_of_imagej(stack: _Stack) -> dict[str, Any]:
    """Pixel size of an ImageJ file, whose resolution is in pixels per unit."""
    unit = str((stack.tiff.imagej_metadata or {}).get("unit", "")).replace("\\u00B5m", "µm")
    unit = {"micron": "µm", "um": "µm"}.get(unit, unit)
    if unit not in ("µm", "nm", "mm"):
        return {}
    found: dict[str, Any] = {}
    for axis in "XY":
        tag = stack.tiff.pages.first.tags.get(f"{axis}Resolution")
        if tag and tag.value[0]:
            found[f"PhysicalSize{axis}"] = tag.value[1] / tag.value[0]
            found[f"PhysicalSize{axis}Unit"] = unit
    return found
