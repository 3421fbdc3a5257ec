"""Where the raw frames of a run are stored: in which image, and at which place in it.

A run of one field, channel and plane has one image with the axes t, y, x, in which frame i is time
point i. Where a time point has more frames, each field has an image with the axes t, c, z, y, x;
several fields are numbered images within `raw.ome.zarr`. Places that a person adds to a run of one
field while it works are numbered images within `added.ome.zarr`. Frames that belong to no time
point, as those of trials between them, are in an image of their own. The ledger has each frame's
place.

Frames that a camera gives at once are channels, in any of these images: MODE/CAMERA, or CAMERA
alone where a time point is a shot of any mode.

An image has frames of one size, that of its first. Those of another size are at the same place in
an image beside it, whose name has their rows and columns: `raw_512x512.ome.zarr`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from devices.shot import Shot

_ENDING = ".ome.zarr"
RAW = f"raw{_ENDING}"
_BETWEEN = "between"
BETWEEN = f"{_BETWEEN}{_ENDING}"
ADDED = f"added{_ENDING}"
SIZED = f"*_*x*{_ENDING}"
"""Pattern of the names of images that have frames of another size than the first."""
IMAGES = r"^(raw|between|added)\.ome\.zarr(/\d{1,6})?$"
"""Names of images, as a pattern."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The place of a frame.

    Parameters
    ----------
    image
        Path of its image within the run's folder, with `/`.
    at
        Numbers along the axes before y and x: (t,) or (t, c, z).
    """

    image: str
    at: tuple[int, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return {"image": self.image, "at": list(self.at)}

    def sized(self, shape: tuple[int, ...]) -> Stored:
        """Where a frame of this shape is, when the image is one of frames of another size.

        Examples
        --------
        >>> Stored("raw.ome.zarr/1", (4, 0, 2)).sized((512, 256)).image
        'raw_512x256.ome.zarr/1'
        """
        folder, slash, number = self.image.partition("/")
        stem = folder.removesuffix(_ENDING)
        rows, columns = shape
        return Stored(f"{stem}_{rows}x{columns}{_ENDING}{slash}{number}", self.at)

    def beside(self, folder: Path) -> Iterator[Stored]:
        """The same place in the images of a run's folder that have frames of other sizes."""
        name, slash, number = self.image.partition("/")
        stem = name.removesuffix(_ENDING)
        for found in sorted(folder.glob(f"{stem}_*x*{_ENDING}")):
            yield Stored(f"{found.name}{slash}{number}", self.at)


def stored(index: int, shot: Mapping[str, Any]) -> Stored:
    """The place of a frame whose shot the ledger has; earlier versions kept one image."""
    place = shot.get("stored")
    return Stored(place["image"], tuple(place["at"])) if place else Stored(RAW, (index,))


def channel_of(shot: Mapping[str, Any]) -> str:
    """What the channel of a frame is called whose shot the ledger has: MODE, or MODE/CAMERA."""
    mode = str(shot["mode"])
    return f"{mode}/{shot['camera']['name']}" if "camera" in shot else mode


@dataclass(slots=True)
class Layout:
    """Gives each frame of a run its place.

    Parameters
    ----------
    modes
        Of a time point, in their order; `("",)` where a time point is a frame of any mode.
    planes
        Numbers of the planes that it has of each.
    fields
        How many fields it has.
    step_um
        Distance of the planes (µm); None where it is not the same everywhere.
    between
        Whether frames are taken between time points.
    added_from
        Number of the first field that a person may add; None where none can be.
    cameras
        Names of the frames that a camera gives at once; empty where it gives one.
    """

    modes: tuple[str, ...] = ("",)
    planes: tuple[int, ...] = (0,)
    fields: int = 1
    step_um: float | None = None
    between: bool = False
    added_from: int | None = None
    cameras: tuple[str, ...] = ()
    _others: int = field(default=0, init=False)
    _added: int = field(default=0, init=False)

    @classmethod
    def of(cls, config: RunConfig) -> Layout:
        """The layout of a config's run."""
        section, cameras = config.section, config.microscope.camera_channels
        sweeps = config.focus is not None and config.focus.sweeps
        if not (section.by_point() or sweeps):
            return cls(cameras=cameras)
        planes = sorted(plane.index for plane in section.planes() if plane is not None)
        return cls(
            section.modes(),
            tuple(dict.fromkeys(planes)) or (0,),
            section.fields_at_once(),
            section.plane_step_um(),
            sweeps,
            None if section.refuses_places() else config.microscope.fields.count,
            cameras,
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels of a time point: of each mode, those of the camera."""
        if not self.cameras:
            return self.modes
        return tuple(
            f"{mode}/{camera}" if mode else camera for mode in self.modes for camera in self.cameras
        )

    def of_image(self, name: str) -> Layout:
        """That of one of its images: between time points, planes and modes have no axis."""
        return Layout(cameras=self.cameras) if name.startswith(_BETWEEN) else self

    @property
    def plain(self) -> bool:
        """Whether there is one frame a time point, and none between them."""
        return len(self.channels) * len(self.planes) * self.fields == 1 and not self.between

    def is_of_a_field(self, place: Stored) -> bool:
        """Whether all frames of an image are of one field."""
        if place.image.startswith(_BETWEEN):
            return False
        return "/" in place.image or (self.fields == 1 and self.modes != ("",))

    def places(self, index: int, shot: Shot) -> tuple[Stored, ...]:
        """The places of the frames of the next shot that was not there before, one by camera.

        Parameters
        ----------
        index
            Number of its first frame in the run.
        shot
            What it is taken for.
        """
        if self._is_added(shot):
            self._added += 1
        elif self.plain:
            return (Stored(RAW, (index - self._added,)),)
        cameras = range(len(self.cameras) or 1)
        if self.modes == ("",) and self.cameras:
            return tuple(Stored(RAW, (index // len(cameras), camera, 0)) for camera in cameras)
        if shot.point is None or shot.mode not in self.modes:
            number = self._others
            self._others += 1
            if not self.cameras:
                return (Stored(BETWEEN, (number,)),)
            return tuple(Stored(BETWEEN, (number, camera, 0)) for camera in cameras)
        image = RAW
        if shot.field and (self.fields > 1 or self._is_added(shot)):
            image = f"{RAW if self.fields > 1 else ADDED}/{shot.field.index}"
        plane = shot.plane.index if shot.plane else 0
        first = self.modes.index(shot.mode) * len(cameras)
        return tuple(Stored(image, (shot.point, first + camera, plane)) for camera in cameras)

    def learn(self, place: Stored) -> None:
        """Take in the place of a frame of an earlier session."""
        if place.image == BETWEEN:
            self._others = max(self._others, place.at[0] + 1)
        elif place.image.startswith(ADDED):
            self._added += 1

    def _is_added(self, shot: Shot) -> bool:
        """Whether it is of a field that a person added to a run of one field."""
        if self.added_from is None or self.fields > 1 or shot.point is None or shot.field is None:
            return False
        return shot.field.index >= self.added_from
