"""Raw frames of a field with several channels or planes: an OME-Zarr image t, c, z, y, x."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray
from yaozarrs import DimSpec, v05
from yaozarrs.write.v05 import prepare_image

from agent.record.anchor import Anchor
from agent.record.collection import add_to_xml, files_of, list_in
from agent.record.images import ABOUT, GROWTH, ImageStore
from agent.record.layout import Layout
from agent.record.ngff import is_json, limits_of

_COLORS = ("00FFFF", "FF00FF", "FFFF00", "00FF00", "FF0000", "0000FF")


class StackStore(ImageStore):
    """Frames on disk, by (time point, channel, plane).

    Parameters
    ----------
    folder
        The run's.
    name
        Of the image: a folder in it, or `COLLECTION/NUMBER` for one image of several.
    layout
        Its channels and planes; of an image that is only read, it does not matter.
    pixel_size_um
        Side of a pixel on the sample (µm).
    anchor
        Says where the folder is, for writing while it may be renamed.
    """

    leading = 3
    length = GROWTH
    """Time points that it has room for at first."""
    together = 1
    """Channels of a plane that are one chunk."""
    writer: Any = "zarr"
    """Makes the array, see `yaozarrs.write.v05.prepare_image`."""
    about: Mapping[str, Any] = {}
    """What a new image says of its frames."""

    def __init__(
        self,
        folder: Path,
        name: str,
        layout: Layout,
        *,
        pixel_size_um: float,
        anchor: Anchor | None = None,
    ) -> None:
        self.name = name
        self._layout = layout
        super().__init__(folder, pixel_size_um=pixel_size_um, anchor=anchor)

    def describe(self, points: Mapping[int, float], interval_s: float) -> None:
        """Bring the image to its length, and say what it has.

        Parameters
        ----------
        points
            When each of its time points began (s).
        interval_s
            From one to the next, where that is always the same and none is absent; else 0.
        """
        self.trim(max(points, default=0) + 1)
        self.scale_time(interval_s)
        if self._array is None:
            return
        self.say_which(points)
        self.show(points)

    def show(self, points: Iterable[int]) -> None:
        """Have viewers show each channel from its darkest to its brightest pixel.

        Parameters
        ----------
        points
            Time points that are there.
        """
        if self._array is None:
            return
        group = zarr.open_group(self.path, mode="r+")
        ome: Any = group.attrs["ome"]
        for channel, shown in enumerate(ome["omero"]["channels"]):
            if (frame := self._first(sorted(points), channel)) is not None:
                low, high = limits_of(frame)
                shown["window"] |= {"start": low, "end": max(high, low + 1)}
        group.attrs["ome"] = ome
        self._sync_metadata()

    def mend(self, like: NDArray[Any]) -> bool:
        """Write the metadata again, those of its collection as well; whether any were lost."""
        collection, _, number = self.name.rpartition("/")
        parent = self.path.parent
        lost = bool(collection) and not all(map(is_json, files_of(parent)))
        if lost:
            list_in(parent, number)
        return super().mend(like) or lost

    def _first(self, points: Sequence[int], channel: int) -> NDArray[Any] | None:
        """A frame of a channel, from the middle of its stack; None where it has none."""
        at = (points[0], channel, self._array.shape[2] // 2) if points else (0, 0, 0)
        return self._read(at) if self.holds(at) else None

    def _channels(self, pixels: NDArray[Any]) -> list[v05.OmeroChannel]:
        """How viewers show each channel; pixels are those of a frame."""
        labels = self._layout.channels
        low, high = limits_of(pixels)
        most = float(2 ** (8 * pixels.dtype.itemsize) - 1)
        window = v05.OmeroWindow(start=low, min=0, end=high, max=most)
        return [
            v05.OmeroChannel(
                label=label, color=color(at, len(labels)), active=True, window=window.model_copy()
            )
            for at, label in enumerate(labels)
        ]

    def _create(self, pixels: NDArray[Any]) -> None:
        collection, _, number = self.name.rpartition("/")
        root = self.path.parent.parent if collection else self.path.parent
        root.stat()  # a renamed folder would be made again
        if collection:
            list_in(self.path.parent, number)
        layout = self._layout
        shown, planes = self._channels(pixels), len(layout.planes)
        size = pixels.shape[-2:]
        time, *place = self._axes(size)
        channel = DimSpec(name="c", type="channel", size=len(shown))
        depth = DimSpec(
            name="z",
            type="space",
            unit="micrometer" if layout.step_um else None,
            size=planes,
            scale=layout.step_um or 1.0,
        )
        image = v05.Image(
            multiscales=[v05.Multiscale.from_dims([time, channel, depth, *place])],
            omero=v05.Omero(channels=shown),
        )
        prepare_image(
            self.path,
            image,
            datasets=[((self.length, len(shown), planes, *size), pixels.dtype)],
            extra_attributes={ABOUT: dict(self.about)} if self.about else None,
            chunks=(1, self.together, 1, *size),
            writer=self.writer,
            compression="none",
            overwrite=True,
        )
        self._open()
        self._sync_metadata()
        if collection:
            add_to_xml(self.path.parent, number)


def color(at: int, of: int) -> str:
    """Of a channel by its number; a single one is grey."""
    return _COLORS[at % len(_COLORS)] if of > 1 else "FFFFFF"
