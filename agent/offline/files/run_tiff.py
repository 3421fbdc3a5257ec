"""OME-TIFFs of runs: images of a run's fields, each page with its time and its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from agent.config import RunConfig
from agent.offline.files.tiffs import FRAMES
from agent.record.device_state import State, states
from agent.record.raw import RawFrames
from agent.record.recording import Recording, Taken

_MOST_BYTES = 2**32 - 2**25
"""Of a TIFF whose offsets have 32 bits."""


@dataclass(frozen=True, slots=True)
class Page:
    """A frame.

    Parameters
    ----------
    read
        Gives its pixels (rows × columns).
    taken
        The measured frame that it is, or was made of, or that says where it is; None: none does.
    time_s
        When, since the run's birth (s); None where that is not known.
    measured
        Whether light was measured for it.
    says
        What it is, where it may be something else than a measured frame.
    """

    read: Callable[[], NDArray[Any]]
    taken: Taken | None
    time_s: float | None
    measured: bool = True
    says: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """Pages of one size.

    Parameters
    ----------
    titles
        What tells it from the others of the file, in words.
    channels
        Their names.
    shape
        Time points, channels and planes; `pages` are in this order.
    pages
        Its frames.
    pixel_um, step_um
        Side of a pixel, and distance of the planes (µm), if it is known.
    interval_s
        From one time point to the next, where that is always the same; else 0.
    notes
        Map annotations by namespace.
    each
        Pages of a frame.
    made
        What was done with the measured frames, in a word; empty where nothing was.
    description
        For people.
    """

    titles: Sequence[str]
    channels: Sequence[str]
    shape: tuple[int, int, int]
    pages: Sequence[Page]
    pixel_um: float
    step_um: float | None
    interval_s: float
    notes: Mapping[str, Mapping[str, str]]
    each: int = 1
    made: str = ""
    description: str = ""

    @property
    def stack(self) -> bool:
        """Whether a time point has several pages."""
        return self.shape[1:] != (1, 1)


class ExportedRun:
    """A run whose images are written.

    Parameters
    ----------
    folder, config, recording
        Of the run.
    """

    def __init__(self, folder: Path, config: RunConfig, recording: Recording) -> None:
        self.folder, self.config, self.recording = folder, config, recording
        self.pixel_um = config.microscope.pixel_size_nm * 1e-3
        self.raw = RawFrames(folder, pixel_size_um=self.pixel_um)

    @cached_property
    def states(self) -> Mapping[int, State]:
        """What the core knew of its devices, by frame."""
        return dict(states(self.recording))

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.folder.resolve().name

    @property
    def born(self) -> str | None:
        """When its first session began, in ISO 8601."""
        sessions = self.recording.sessions
        return sessions[0]["at"] if sessions else None


def write(file: Path, run: ExportedRun, images: Sequence[Image]) -> None:
    """Write images of a run into an OME-TIFF; a file that is there is replaced.

    Raises
    ------
    FrameDamaged
        A frame is not on disk as it was written.
    """
    firsts = [image.pages[0].read() for image in images]
    sizes = [len(one.pages) * first.nbytes for one, first in zip(images, firsts, strict=True)]
    with tifffile.TiffWriter(file, bigtiff=sum(sizes) > _MOST_BYTES, ome=True) as tiff:
        for image, first in zip(images, firsts, strict=True):
            per_cm = 1e4 / image.pixel_um
            of = [*(image.titles if len(images) > 1 else ()), *filter(None, [image.made])]
            tiff.write(
                (page.read() for page in image.pages),
                shape=(*image.shape, *first.shape)
                if image.stack
                else (image.shape[0], *first.shape),
                dtype=first.dtype,
                photometric="minisblack",
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                metadata={"Name": ", ".join([run.name, *of])} | _metadata(image, run, first),
            )


def _metadata(image: Image, run: ExportedRun, first: NDArray[Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "axes": "TCZYX" if image.stack else "TYX",
        "PhysicalSizeX": image.pixel_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": image.pixel_um,
        "PhysicalSizeYUnit": "µm",
        "Channel": {"Name": [*image.channels]},
        "Plane": [dict(_plane(page, run.config, first.size)) for page in image.pages],
        "MapAnnotation": [
            {"Namespace": space, "Value": dict(value)} for space, value in _notes(image).items()
        ],
    }
    if image.description:
        metadata["Description"] = image.description
    if image.step_um:
        metadata |= {"PhysicalSizeZ": image.step_um, "PhysicalSizeZUnit": "µm"}
    if run.born is not None:
        metadata["AcquisitionDate"] = run.born.replace("+00:00", "Z")
    if image.interval_s:
        metadata |= {"TimeIncrement": image.interval_s, "TimeIncrementUnit": "s"}
    return metadata


def _notes(image: Image) -> Mapping[str, Mapping[str, str]]:
    """Its annotations; where its frames say what they are, with one for each of them."""
    if not any(page.says for page in image.pages):
        return image.notes
    _, channels, planes = image.shape
    said = {}
    for number, page in enumerate(image.pages):
        point, rest = divmod(number, channels * planes)
        channel, plane = divmod(rest, planes)
        said[f"t{point} c{channel} z{plane}" if image.stack else str(point)] = page.says
    return {**image.notes, FRAMES: said}


def _plane(page: Page, config: RunConfig, pixels: int) -> Iterator[tuple[str, Any]]:
    """Time, exposure and position of a page."""

    def of(key: str, value: float, unit: str) -> Iterator[tuple[str, Any]]:
        yield key, value
        yield f"{key}Unit", unit

    if page.time_s is not None:
        yield from of("DeltaT", page.time_s, "s")
    if page.taken is None:
        return
    shot = page.taken.shot
    if page.measured:
        yield from of("ExposureTime", config.microscope.exposure_s(shot["settings"], pixels), "s")
    if (where := shot["field"]) is not None:
        yield from of("PositionX", where["x_um"], "µm")
        yield from of("PositionY", where["y_um"], "µm")
    focus_um = shot.get("focus_um", where and where["z_um"])
    if focus_um is not None:
        yield from of("PositionZ", focus_um, "µm")
