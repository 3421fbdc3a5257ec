"""`stedfast export`: a run's raw frames as an OME-TIFF, a series for each field.

Where time points have one frame, each mode has a series of its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.record.device_state import State, states
from agent.record.images import FrameDamaged, checksum
from agent.record.layout import Layout, channel_of, stored
from agent.record.load import read
from agent.record.raw import RawFrames
from agent.record.recording import Recording, Taken, even_s, field_from_dict

_NAMESPACE = "stedfast/settings"
_STATE = "stedfast/state"
_MOST_BYTES = 2**32 - 2**25
"""Of a TIFF whose offsets have 32 bits."""


@dataclass(frozen=True, slots=True)
class Exported:
    """The written frames, and the series that they are in."""

    frames: int
    series: int


@dataclass(slots=True)
class _Series:
    """Frames of a field, of one size, in the order of their time points, channels and planes."""

    field: int | None
    channels: tuple[str, ...]
    planes: int = 1
    step_um: float | None = None
    note: str = ""
    indices: list[int] = dataclasses.field(default_factory=list)
    taken: list[Taken] = dataclasses.field(default_factory=list)

    def add(self, index: int, taken: Taken) -> None:
        """Add the next frame."""
        self.indices.append(index)
        self.taken.append(taken)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Time points, channels and planes."""
        each = len(self.channels) * self.planes
        return len(self.indices) // each, len(self.channels), self.planes


def export(folder: Path, out: Path, *, overwrite: bool = False) -> Exported:
    """Write the measured frames of a run, with their settings.

    Each field, mode and size of frames and of pixels has a series (axes TYX) with its settings,
    physical pixel sizes, and the resolution tags that plain TIFF readers look at; each frame its
    position, exposure time and true time since the run's birth, which is the series' date. Where
    time points have several channels or planes, each field has a series (axes TCZYX), and frames
    of a time point that was left halfway are series of their own.

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
    series = _series(recording, Layout.of(config))
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


def _series(recording: Recording, layout: Layout) -> list[_Series]:
    each = len(layout.channels) * len(layout.planes)
    frames: dict[tuple[str, int], dict[tuple[int, ...], int]] = defaultdict(dict)
    for index, taken in recording.taken.items():
        place = stored(index, taken.shot)
        if len(place.at) > 1 and each > 1:
            frames[place.image, place.at[0]][place.at] = index
    found: dict[tuple[Any, ...], _Series] = {}
    whole = set()
    # Of two names of images the longer one has the larger number.
    for image, number in sorted(frames, key=lambda key: (len(key[0]), key)):
        at = frames[image, number]
        if len(at) < each:
            continue  # left halfway
        together: dict[tuple[Any, ...], list[tuple[int, Taken]]] = defaultdict(list)
        for _, index in sorted(at.items()):
            taken = recording.taken[index]
            together[_size(taken)].append((index, taken))
            whole.add(index)
        for size, frames_of_it in together.items():
            channels = tuple(dict.fromkeys(channel_of(taken.shot) for _, taken in frames_of_it))
            field, note = _field(frames_of_it[0][1]), _note(frames_of_it[0][1])
            key = (image, size, field, channels, note)
            for index, taken in frames_of_it:
                if key not in found:
                    planes, step_um = len(layout.planes), layout.step_um
                    found[key] = _Series(field, channels, planes, step_um, note)
                found[key].add(index, taken)
    for index, taken in sorted(recording.taken.items()):
        if index not in whole:
            channel, point = channel_of(taken.shot), taken.shot.get("point")
            note = f"time point {point}" if each > 1 and point is not None else _note(taken)
            new = _Series(_field(taken), (channel,), note=note)
            found.setdefault((_field(taken), channel, note, _size(taken)), new).add(index, taken)
    return list(found.values())


def _note(taken: Taken) -> str:
    """What a frame is in words where it is of no time point: a plane of a stack has a focus."""
    apart = taken.shot.get("plane") is not None and taken.shot.get("point") is None
    return "stack" if apart else ""


def _size(taken: Taken) -> tuple[Any, ...]:
    """What a series says of all its frames: rows, columns, and side of a pixel."""
    return taken.shape, taken.frame.get("pixel_size_nm")


def _field(taken: Taken) -> int | None:
    where = taken.shot["field"]
    return where["index"] if where else None


def _write(
    file: Path,
    name: str,
    config: RunConfig,
    recording: Recording,
    series: Sequence[_Series],
    images: RawFrames,
) -> None:
    largest = max(math.prod(taken.shape) for taken in recording.taken.values())
    itemsize = images.read(series[0].indices[0]).dtype.itemsize
    big = largest * itemsize * len(recording.taken) > _MOST_BYTES
    born = recording.sessions[0]["at"] if recording.sessions else None
    known = dict(states(recording))
    with tifffile.TiffWriter(file, bigtiff=big, ome=True) as tiff:
        for one in series:
            first = images.read(one.indices[0])
            pixel_um = one.taken[0].pixel_um(config)
            per_cm = 1e4 / pixel_um
            where = one.taken[0].shot["field"]
            of = [str(field_from_dict(where))] if where else []
            modes = list(dict.fromkeys(taken.shot["mode"] for taken in one.taken))
            of += [*one.channels] if len(one.channels) == 1 else modes if len(modes) == 1 else []
            of += [one.note] if one.note else []
            stack = one.shape[1:] != (1, 1)
            metadata = {
                "axes": "TCZYX" if stack else "TYX",
                "Name": ", ".join([name, *of]) if len(series) > 1 else name,
                "PhysicalSizeX": pixel_um,
                "PhysicalSizeXUnit": "µm",
                "PhysicalSizeY": pixel_um,
                "PhysicalSizeYUnit": "µm",
                "Channel": {"Name": [*one.channels]},
                "Plane": _planes(one, config, first.size),
                "MapAnnotation": _annotations(one, config, known),
            }
            if one.step_um:
                metadata |= {"PhysicalSizeZ": one.step_um, "PhysicalSizeZUnit": "µm"}
            if born is not None:
                metadata["AcquisitionDate"] = born.replace("+00:00", "Z")
            each = one.shape[1] * one.shape[2]
            if interval_s := even_s([taken.frame["time_s"] for taken in one.taken[::each]]):
                metadata |= {"TimeIncrement": interval_s, "TimeIncrementUnit": "s"}
            tiff.write(
                _frames(one, images),
                shape=(*one.shape, *first.shape) if stack else (one.shape[0], *first.shape),
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
        focus_um = taken.shot.get("focus_um", where and where["z_um"])
        if focus_um is not None:
            add("PositionZ", focus_um, "µm")
    return planes


def _annotations(
    series: _Series, config: RunConfig, known: Mapping[int, State]
) -> list[dict[str, Any]]:
    """Settings, and what the core knew of its devices, if that was recorded."""
    made = [{"Namespace": _NAMESPACE, "Value": _settings(series, config)}]
    if state := _state(series, known):
        made.append({"Namespace": _STATE, "Value": state})
    return made


def _state(series: _Series, known: Mapping[int, State]) -> dict[str, str]:
    """Properties of all devices, and the time points from which on they changed."""
    each = series.shape[1] * series.shape[2]
    parts: dict[str, list[str]] = defaultdict(list)
    last: dict[str, str] = {}
    before: State | None = None
    for number, index in enumerate(series.indices):
        if (now := known.get(index, {})) is before:
            continue
        before = now
        for device, properties in now.items():
            for name, value in properties.items():
                key = f"{device}.{name}"
                if value != last.get(key, ""):
                    since = f" (from T {number // each})" if number else ""
                    parts[key].append(f"{value}{since}")
                    last[key] = value
    return {key: "; ".join(values) for key, values in parts.items()}


def _settings(series: _Series, config: RunConfig) -> dict[str, str]:
    """The settings of a series in words, of each channel, and by time point where they change."""
    if len(series.channels) == 1:
        return {"mode": series.channels[0], **_settings_of(series.taken, config)}
    return {
        f"{channel}.{name}": words
        for channel in series.channels
        for name, words in _settings_of(
            [one for one in series.taken if channel_of(one.shot) == channel][:: series.planes],
            config,
        ).items()
    }


def _settings_of(frames: Sequence[Taken], config: RunConfig) -> dict[str, str]:
    said = {}
    for name, setting in config.microscope.settings.items():
        unit = f" {setting.unit}" if setting.unit else ""
        numbered = enumerate(taken.shot["settings"].get(name) for taken in frames)
        parts = []
        for value, same in groupby(numbered, lambda pair: pair[1]):
            numbers = [number for number, _ in same]
            parts.append((f"{value}{unit}", numbers[0], numbers[-1]))
        said[name] = (
            parts[0][0]
            if len(parts) == 1
            else "; ".join(f"{value} (T {first} to {last})" for value, first, last in parts)
        )
    return said
