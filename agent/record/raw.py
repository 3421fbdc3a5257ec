"""The raw frames of a run by their number, whichever image each is in; see `agent.record.layout`.

Rows of the ledger say where frames are. Who only reads looks there, and so sees frames that a
running session adds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.record.anchor import Anchor
from agent.record.collection import describe_in_xml
from agent.record.images import FrameDamaged, ImageStore
from agent.record.layout import ADDED, BETWEEN, RAW, SIZED, Layout, Stored, stored
from agent.record.ledger import FILE as LEDGER
from agent.record.ledger import reading
from agent.record.recording import Recording, even_s
from agent.record.stack import StackStore
from devices.affine import Affine
from devices.shot import Field

SET_ASIDE = "set_aside"
"""Folder of a run for frames that are not its own any more."""


class PlainStore(ImageStore):
    """Frames by one number: their own, or that of a frame between time points.

    Parameters
    ----------
    folder
        The run's.
    name
        Of the image.
    pixel_size_um, anchor
        As `ImageStore`.
    """

    def __init__(
        self, folder: Path, name: str, *, pixel_size_um: float, anchor: Anchor | None = None
    ) -> None:
        self.name = name
        super().__init__(folder, pixel_size_um=pixel_size_um, anchor=anchor)


class RawFrames:
    """Measured frames on disk.

    Parameters
    ----------
    folder
        The run's folder; images that are there already are continued.
    pixel_size_um
        Side of a pixel on the sample (µm).
    layout
        Of the images, for writing.
    recording
        What the ledger holds, for writing; who reads looks there for each new frame.
    mounting
        How the camera lies on the stage, for writing; along its axes if absent.
    anchor
        Says where the folder is, for writing while it may be renamed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pixel_size_um: float,
        layout: Layout | None = None,
        recording: Recording | None = None,
        mounting: Affine | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self.anchor = anchor
        self._folder, self._pixel_size_um = folder, pixel_size_um
        self.layout = layout or Layout()
        """Of the images."""
        self._images: dict[str, ImageStore] = {}
        self._places: dict[int, Stored] = {}
        self._resolved: dict[int, Stored] = {}
        """Where frames really are: one of another size is beside its image."""
        self._mounting = mounting or Affine.square(pixel_size_um)
        self._fields: dict[str, Mapping[str, Any]] = {}
        """Where each image of a field was taken first."""
        self._seq = 0
        self._sized_before = any(folder.glob(SIZED))
        for index, taken in (recording.taken if recording else {}).items():
            self._places[index] = stored(index, taken.shot)
            self.layout.learn(self._places[index])
            self._note_field(self._places[index], taken.shot["field"])

    def place(self, index: int) -> Stored:
        """Where a frame is.

        Raises
        ------
        FrameDamaged
            The ledger does not say.
        """
        if index not in self._places:
            if not self._stacked():
                return Stored(RAW, (index,))
            with reading(self._folder) as ledger:
                for entry in ledger.entries("shot", after=self._seq):
                    self._seq = entry.seq
                    if entry.frame is not None:
                        self._places[entry.frame] = stored(entry.frame, entry.data)
        if index not in self._places:
            raise FrameDamaged(f"frame {index}: the ledger does not have it")
        return self._places[index]

    def write(
        self,
        index: int,
        pixels: NDArray[Any],
        place: Stored,
        pixel_um: Callable[[], float] | None = None,
        field: Field | None = None,
    ) -> None:
        """Put frame `index` (rows × columns) on disk; errors are those of `ImageStore.write`.

        Parameters
        ----------
        index, pixels
            Its number, and its pixels.
        place
            Where it is, as the ledger has it.
        pixel_um
            Asked for the side of its pixels on the sample (µm), where frames of this size are
            new; the run's if absent.
        field
            That it was taken of.
        """
        if field is not None:
            self._note_field(place, {"x_um": field.x_um, "y_um": field.y_um})
        shape = self._image(place).frame_shape
        real = place if shape in (None, pixels.shape) else place.sized(pixels.shape)
        if field is not None:
            self._note_field(real, {"x_um": field.x_um, "y_um": field.y_um})
        self._image(real, pixel_um).write(real.at, pixels)
        if self._sized_before:
            self._clear(index, place, real)
        self._places[index], self._resolved[index] = place, real

    def _note_field(self, place: Stored, field: Mapping[str, Any] | None) -> None:
        """Where the images of a field are; those of frames of many fields are nowhere."""
        if field is not None and self.layout.is_of_a_field(place):
            self._fields.setdefault(place.image, field)

    def _centre_um(self, name: str) -> tuple[float, float] | None:
        """Where the frames of an image are, along their own rows and columns (µm)."""
        if (field := self._fields.get(name)) is None:
            return None
        rows, columns = self._mounting.image_px((field["x_um"], field["y_um"]))
        return rows * self._pixel_size_um, columns * self._pixel_size_um

    def _clear(self, index: int, place: Stored, real: Stored) -> None:
        """Set aside a frame of another size that a session left there without a row."""
        for other in (place, *place.beside(self._folder)):
            if other != real and self._image(other).holds(other.at):
                aside = f"frame_{index:06}_{other.image.replace('/', '_')}.raw"
                self._image(other).set_aside(other.at, self._folder / SET_ASIDE / aside)

    def _really(self, index: int) -> Stored:
        """Where a frame is on disk; as the ledger has it, where it is nowhere."""
        if index not in self._resolved:
            place = self.place(index)
            for other in place.beside(self._folder):
                if self._image(other).holds(other.at):
                    self._resolved[index] = other
                    return other
            return place
        return self._resolved[index]

    def _all_really(self) -> dict[int, Stored]:
        """The same of all frames that are known, by number."""
        if not any(self._folder.glob(SIZED)):
            return dict(sorted(self._places.items()))
        return {index: self._really(index) for index in sorted(self._places)}

    def read(self, index: int) -> NDArray[Any]:
        """Frame `index` as it was written, by this process or by another one since.

        Raises
        ------
        FrameDamaged
            It is not there, or not whole.
        """
        place = self._really(index)
        with self._named(index, place):
            return self._image(place).read(place.at)

    def pixel_um(self, index: int) -> float:
        """Side of a pixel of a frame on the sample (µm): the run's, unless the frame had another.

        Raises
        ------
        DamagedLedger
            The ledger cannot be read.
        """
        if not (self._folder / LEDGER).is_file():
            return self._pixel_size_um
        with reading(self._folder) as ledger:
            rows = [entry.data for entry in ledger.of_frame(index) if entry.kind == "frame"]
        nm = rows[-1].get("pixel_size_nm") if rows else None
        return self._pixel_size_um if nm is None else float(nm) * 1e-3

    def look(self, index: int) -> None:
        """Make sure that frame `index` has all its bytes, without reading them.

        Raises
        ------
        FrameDamaged
            It is not there, or not whole.
        """
        place = self._really(index)
        with self._named(index, place):
            self._image(place).look(place.at)

    def set_aside(self, index: int, folder: Path) -> None:
        """Take a frame's file out of its image, into another folder; if there is one."""
        place = self._really(index)
        self._image(place).set_aside(place.at, folder / f"frame_{index:06}.raw")

    def mend(self, rows: Mapping[int, Mapping[str, Any]]) -> bool:
        """Write metadata again where a power cut left none; whether that was so.

        Parameters
        ----------
        rows
            What the ledger has of each frame: its shape and type.
        """
        mended = []
        for index, place in self._one_of_each().items():
            like = np.empty(rows[index]["shape"], rows[index]["dtype"])
            mended.append(self._image(place).mend(like))
        return any(mended)

    def begin(self) -> None:
        """Before frames are added: those that there are are equidistant no more."""
        for place in self._one_of_each().values():
            self._image(place).scale_time(0)

    def finish(self, frames: int, times_s: Sequence[float], interval_s: float) -> None:
        """Bring all images to their length, and say how long it is between time points.

        Parameters
        ----------
        frames
            How many there are.
        times_s
            When each was taken (s), by its number.
        interval_s
            From frame to frame, where that is always the same; else 0.
        """
        begun: dict[str, dict[int, float]] = {}
        for index, place in self._all_really().items():
            if index < len(times_s):
                begun.setdefault(place.image, {}).setdefault(place.at[0], times_s[index])
        several = RAW in begun and len(begun[RAW]) < frames
        for name, points in begun.items():
            image = self._images[name]
            if isinstance(image, StackStore):
                whole = len(points) == max(points) + 1
                image.describe(points, even_s([*points.values()]) if whole else 0.0)
            elif name == RAW and not several:
                image.trim(frames)
                image.scale_time(interval_s)
            else:
                image.trim(max(points) + 1)
                image.say_which(points)
        for folder in {image.path.parent for name, image in self._images.items() if "/" in name}:
            if folder.is_dir():
                describe_in_xml(folder)

    def _one_of_each(self) -> dict[int, Stored]:
        """A frame in each image, and its place."""
        last = {place.image: index for index, place in self._all_really().items()}
        return {index: self._really(index) for index in last.values()}

    def _stacked(self) -> bool:
        """Whether frames are anywhere but in one image t, y, x."""
        if any((self._folder / name).exists() for name in (BETWEEN, ADDED, f"{RAW}/OME")):
            return True
        try:
            level = json.loads((self._folder / RAW / "0" / "zarr.json").read_bytes())
            return level["node_type"] == "group" or len(level["shape"]) > len("tyx")
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _image(self, place: Stored, pixel_um: Callable[[], float] | None = None) -> ImageStore:
        if (image := self._images.get(place.image)) is None:
            size_um, anchor = self._pixel_size_um, self.anchor
            if pixel_um is not None:
                size_um = pixel_um()
            if len(place.at) > 1:
                layout = self.layout.of_image(place.image)
                image = StackStore(
                    self._folder, place.image, layout, pixel_size_um=size_um, anchor=anchor
                )
            else:
                image = PlainStore(self._folder, place.image, pixel_size_um=size_um, anchor=anchor)
            image.centre_um = self._centre_um(place.image)
            self._images[place.image] = image
        return image

    @contextmanager
    def _named(self, index: int, place: Stored) -> Iterator[None]:
        """Have errors of an image name the frame's number in the run."""
        try:
            yield
        except FrameDamaged as damage:
            if place.at == (index,):
                raise
            raise FrameDamaged(f"frame {index}: {str(damage).partition(': ')[2]}") from None
