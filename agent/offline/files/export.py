"""`stedfast export`: a run's raw frames as an OME-TIFF, one series for each field and mode."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.record.images import FrameDamaged, checksum
from agent.record.load import read
from agent.record.raw import RawFrames
from agent.record.recording import Recording, Taken, even_s

_NAMESPACE = "stedfast/settings"
_MOST_BYTES = 2**32 - 2**25
"""Of a TIFF whose offsets have 32 bits."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The written frames, and the series that they are in."""

    frames: int
    series: int


@dataclass(slots=True)
class _Series:
    """Frames of one field and mode, in order."""

    field: int | None
    mode: str
    indices: list[int]
    taken: list[Taken]


def export(folder: Path, out: Path, *, overwrite: bool = False) -> Exported:
    """Write the measured frames of a run, with their settings.

    Each field and mode has a series (axes TYX) with its settings, physical pixel sizes, and the
    resolution tags that plain TIFF readers look at; each frame its position, exposure time and true
    time since the run's birth, which is the series' date.

    Parameters
    ----------
    folder
        A run folder.
    out
        The TIFF to write.
    overwrite
        Replace a file that is there.

    Raises
    ------
    UserError
        No run, no frames, a frame that is not on disk as it was written, or a file in the way.
    """
    config, recording = read(folder)
    if not recording.taken:
        raise UserError(f"{folder}: has no frames to export")
    if out.suffix.lower() not in (".tif", ".tiff"):
        raise UserError(
            f"{out}: found the ending {out.suffix!r}; accepted: .ome.tif, .tif or .tiff"
        )
    if not out.parent.is_dir():
        raise UserError(f"{out}: there is no folder {out.parent}")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: is there already; --overwrite replaces it")
    images = RawFrames(folder, pixel_size_um=config.microscope.pixel_size_nm * 1e-3)
    series = _series(recording)
    partial = out.with_name(out.name + ".partial")
    try:
        images.look(series[0].indices[0])
        _write(partial, folder.resolve().name, config, recording, series, images)
        partial.replace(out)
    except FrameDamaged as damage:
        raise UserError(f"{folder}: {damage}; nothing was exported") from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return Exported(len(recording.taken), len(series))


def _series(recording: Recording) -> list[_Series]:
    found: dict[tuple[int | None, str], _Series] = {}
    for index, taken in sorted(recording.taken.items()):
        where = taken.shot["field"]
        key = where["index"] if where else None, taken.shot["mode"]
        one = found.setdefault(key, _Series(*key, [], []))
        one.indices.append(index)
        one.taken.append(taken)
    return list(found.values())


def _write(
    file: Path,
    name: str,
    config: RunConfig,
    recording: Recording,
    series: Sequence[_Series],
    images: RawFrames,
) -> None:
    pixel_um = config.microscope.pixel_size_nm * 1e-3
    per_cm = 1e4 / pixel_um
    first = images.read(series[0].indices[0])
    big = first.nbytes * len(recording.taken) > _MOST_BYTES
    born = recording.sessions[0]["at"] if recording.sessions else None
    with tifffile.TiffWriter(file, bigtiff=big, ome=True) as tiff:
        for one in series:
            of = [] if one.field is None else [f"field {one.field}"]
            metadata = {
                "axes": "TYX",
                "Name": ", ".join([name, *of, one.mode]) if len(series) > 1 else name,
                "PhysicalSizeX": pixel_um,
                "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": pixel_um,
                "PhysicalSizeYUnit": "µm",
                "Channel": {"Name": [one.mode]},
                "Plane": _planes(one, config, first.size),
                "MapAnnotation": {
                    "Namespace": _NAMESPACE,
                    "Value": {"mode": one.mode, **_settings(one, config)},
                },
            }
            if born is not None:
                metadata["AcquisitionDate"] = born.replace("+00:00", "Z")
            if interval_s := even_s([taken.frame["time_s"] for taken in one.taken]):
                metadata |= {"TimeIncrement": interval_s, "TimeIncrementUnit": "s"}
            tiff.write(
                _frames(one, images),
                shape=(len(one.indices), *first.shape),
                dtype=first.dtype,
                photometric="minisblack",
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                metadata=metadata,
            )


def _frames(series: _Series, images: RawFrames) -> Iterator[NDArray[Any]]:
    for index, taken in zip(series.indices, series.taken, strict=True):
        pixels = images.read(index)
        if checksum(pixels) != taken.frame["crc32"]:
            raise FrameDamaged(f"frame {index}: the pixels on disk are not those of the ledger")
        yield pixels


def _planes(series: _Series, config: RunConfig, pixels: int) -> dict[str, list[Any]]:
    """Times, exposures and positions of a series' frames."""
    planes: dict[str, list[Any]] = defaultdict(list)

    def add(key: str, value: float, unit: str) -> None:
        planes[key].append(value)
        planes[f"{key}Unit"].append(unit)

    for taken in series.taken:
        add("DeltaT", taken.frame["time_s"], "s")
        settings = taken.shot["settings"]
        add("ExposureTime", config.microscope.exposure_s(settings, pixels), "s")
        if (where := taken.shot["field"]) is not None:
            add("PositionX", where["x_um"], "µm")
            add("PositionY", where["y_um"], "µm")
            if where["z_um"] is not None:
                add("PositionZ", where["z_um"], "µm")
    return planes


def _settings(series: _Series, config: RunConfig) -> dict[str, str]:
    """The settings of a series in words, by frame where they change."""
    said = {}
    for name, setting in config.microscope.settings.items():
        unit = f" {setting.unit}" if setting.unit else ""
        numbered = enumerate(taken.shot["settings"].get(name) for taken in series.taken)
        parts = []
        for value, frames in groupby(numbered, lambda pair: pair[1]):
            numbers = [number for number, _ in frames]
            parts.append((f"{value}{unit}", numbers[0], numbers[-1]))
        said[name] = (
            parts[0][0]
            if len(parts) == 1
            else "; ".join(f"{value} (T {first} to {last})" for value, first, last in parts)
        )
    return said
