"""The filtered frames of a run by their number, each stored at the place of its raw frame.

`filtered.ome.zarr` is laid out as `raw.ome.zarr`, with an image for each field where there are
several: time point, plane and field are those of the raw frame, and each channel whose frames are
filtered has two. Frames of `between.ome.zarr` and `added.ome.zarr` are in
`filtered_between.ome.zarr` and `filtered_added.ome.zarr`.

Earlier versions had one image, in which frame i of the run was time point i, and which does not say
by what it was filtered; such a one is read, and continued, as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from agent.record.collection import describe_in_xml
from agent.record.filtered import (
    FILTER,
    FOLDER,
    MADE,
    RAW_CHANNELS,
    By,
    FilteredStack,
    FilteredStore,
)
from agent.record.images import FrameDamaged
from agent.record.layout import RAW, Layout, Stored
from agent.record.ledger import reading
from agent.record.ngff import interval_of
from agent.record.raw import PlainStore, RawFrames

FRAMES = "frames"
"""What an image says of each frame: `point`, `frame` (its number in the run), and `kind`, which is
`filtered`, with its `uncertainty`, or `not filtered`; in a stack `channel` (the raw image's) and
`plane`, too."""
FILTERED, NOT_FILTERED = "filtered", "not filtered"


class FilteredFrames:
    """Filtered frames on disk.

    Parameters
    ----------
    folder
        The run's folder; images that are there already are continued.
    pixel_size_um
        Side of a pixel on the sample (µm).
    raw
        The run's raw frames.
    by
        What filters, for writing.
    weights_sha256
        Of its weights, which new images name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        pixel_size_um: float,
        raw: RawFrames | None = None,
        by: By | None = None,
        weights_sha256: str = "",
    ) -> None:
        self._folder, self._pixel_size_um, self._by = folder, pixel_size_um, by
        model = None if by is None else by.model
        self._about = {MADE: {FILTER: {"model": model, "weights_sha256": weights_sha256}}}
        self._raw = raw or RawFrames(folder, pixel_size_um=pixel_size_um)
        self._images: dict[str, FilteredStore | FilteredStack] = {}
        self._numbered: FilteredStore | None = None
        """The image of an earlier version, if there is one; once there is any, it is known."""
        self._known = False

    def put(
        self,
        index: int,
        image: NDArray[Any],
        sd: NDArray[Any],
        pixel_um: Callable[[], float] | None = None,
    ) -> None:
        """Put what frame `index` was filtered to, and its deviation, on disk.

        Parameters
        ----------
        index, image, sd
            Its number in the run; rows × columns each.
        pixel_um
            Asked for the side of its pixels on the sample (µm), where its image is new.

        Raises
        ------
        ValueError
            Its shape is not that of the frames before.
        OSError
            The disk refused.
        """
        store, at = self._find(index)
        if pixel_um is not None:
            store.ask_pixel(pixel_um)
        store.put(at, image, sd)

    def read(self, index: int) -> NDArray[Any]:
        """What frame `index` was filtered to, and its deviation: 2 × rows × columns.

        Raises
        ------
        FrameDamaged
            It is not there, or not whole.
        """
        store, at = self._find(index)
        if not store.holds(at):
            raise FrameDamaged(f"frame {index}: what it was filtered to is not on disk")
        try:
            return store.read(at)
        except FrameDamaged as damage:
            raise FrameDamaged(f"frame {index}: {str(damage).partition(': ')[2]}") from None

    def erase(self, index: int) -> None:
        """Take a filtered frame back; nothing happens where there is none."""
        with suppress(FrameDamaged):
            store, at = self._find(index)
            store.erase(at)

    def finish(self, frames: int, interval_s: float) -> None:
        """Bring all images to the length of the raw ones, and say which frames were filtered.

        Parameters
        ----------
        frames
            How many the run has.
        interval_s
            From frame to frame, where that is always the same; else 0.
        """
        if (old := self._earlier()) is not None:
            old.trim(frames)
            old.scale_time(interval_s)
            return
        found: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for index, row in self._rows(frames):
            store, at = self._find(index)
            found[self._raw.place(index).image].append(_mark(store, at, index, row))
            if row is None:
                store.erase(at)
        for image, marks in found.items():
            store = self._images[_name(image)]
            if store.frame_shape is None:
                continue  # nothing was filtered
            store.trim(max(mark["point"] for mark in marks) + 1)
            store.scale_time(interval_of(self._folder / image))
            store.say({FRAMES: marks})
            if isinstance(store, FilteredStack):
                store.show({mark["point"] for mark in marks if mark["kind"] == FILTERED})
        for folder in {self._images[_name(image)].path.parent for image in found if "/" in image}:
            if folder.is_dir():
                describe_in_xml(folder)

    def _rows(self, frames: int) -> list[tuple[int, dict[str, Any] | None]]:
        """Of each frame that could be filtered what the ledger has; None where it was not."""
        if self._by is None:
            return []
        with reading(self._folder) as ledger:
            rows = {entry.frame: entry.data for entry in ledger.entries("filtered")}
            asked = {
                entry.frame
                for entry in ledger.entries("shot")
                if entry.frame is not None
                and entry.frame < frames
                and entry.data["mode"] in self._by.modes
                and entry.data.get("camera", {}).get("seen", True)
            }
        return [(index, rows.get(index)) for index in sorted(asked)]

    def _earlier(self) -> FilteredStore | None:
        """The image in which frames stand by their number in the run, if there is one."""
        folder = self._folder / FOLDER
        if not self._known and folder.exists():
            self._known = True
            if not (folder / "OME").exists():
                plain = FilteredStore(self._folder, pixel_size_um=self._pixel_size_um)
                if plain.frame_shape is not None and FILTER not in plain.said().get(MADE, {}):
                    self._numbered = plain
        return self._numbered

    def _find(self, index: int) -> tuple[FilteredStore | FilteredStack, tuple[int, ...]]:
        """The image of a frame, and its place in it."""
        if (old := self._earlier()) is not None:
            return old, (index,)
        place = self._raw.place(index)
        store = self._image(place)
        if isinstance(store, FilteredStore):
            return store, place.at
        point, channel, plane = place.at
        if channel not in store.raw_channels:
            raise FrameDamaged(f"frame {index}: is of a channel that is not filtered")
        return store, (point, store.raw_channels.index(channel), plane)

    def _image(self, place: Stored) -> FilteredStore | FilteredStack:
        name = _name(place.image)
        if (found := self._images.get(name)) is None:
            um, about = self._pixel_size_um, self._about
            if len(place.at) == 1:
                found = FilteredStore(self._folder, pixel_size_um=um, name=name, about=about)
            else:
                found = self._stack(name, place, about)
                if not found.raw_channels:
                    return found  # who reads looks again once it is there
            found.over = place.image
            self._images[name] = found
        return found

    def _stack(self, name: str, place: Stored, about: dict[str, Any]) -> FilteredStack:
        layout, um = Layout(), self._pixel_size_um
        said = PlainStore(self._folder, name, pixel_size_um=um).said()
        channels = tuple(said.get(RAW_CHANNELS, ()))
        if self._by is not None:
            layout = self._by.layout.of_image(place.image)
            channels = channels or self._by.channels(layout)
        return FilteredStack(
            self._folder, name, layout, pixel_size_um=um, raw_channels=channels, about=about
        )


def _name(image: str) -> str:
    """Of the image of what the frames of an image of raw ones are filtered to.

    Examples
    --------
    >>> _name("raw.ome.zarr/1"), _name("between.ome.zarr")
    ('filtered.ome.zarr/1', 'filtered_between.ome.zarr')
    """
    folder, slash, number = image.partition("/")
    made = FOLDER if folder == RAW else f"filtered_{folder}"
    return f"{made}{slash}{number}"


def _mark(
    store: FilteredStore | FilteredStack,
    at: tuple[int, ...],
    index: int,
    row: Mapping[str, Any] | None,
) -> dict[str, Any]:
    mark: dict[str, Any] = {"point": at[0], "frame": index}
    if isinstance(store, FilteredStack):
        mark |= {"channel": store.raw_channels[at[1]], "plane": at[2]}
    if row is None:
        return {**mark, "kind": NOT_FILTERED}
    unsure = row["uncertainty"]
    # JSON has no word for what is no number.
    return {**mark, "kind": FILTERED, "uncertainty": unsure if isfinite(unsure) else None}
