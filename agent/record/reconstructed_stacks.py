"""The movie of a time-lapse that skips time points of several channels or planes.

`reconstructed.ome.zarr` has the layout of `raw.ome.zarr`: the axes t, c, z, y, x, and an image for
each field where there are several. Each frame that was skipped is rebuilt from those of its own
channel and plane. Among the attributes of each image, `stedfast` has for each frame what
`agent.record.reconstructed` says, `channel` and `plane` by number, and as `decides` the channel and
the plane whose frames decide when the next time point is taken: `expected_error` is of those alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zarr
from numpy.typing import NDArray

from agent.record.layout import RAW, Layout
from agent.record.marks import MarkedImage
from agent.record.reconstructed import FOLDER, ReconstructedStore
from agent.record.stack import StackStore

Series = tuple[int, int]
"""Channel and plane, by number."""


class FieldMovie(StackStore, MarkedImage):
    """The movie of one field: frames by (time point, channel, plane)."""

    synced = False


class ReconstructedStacks:
    """Frames on disk, by field, time point, channel and plane.

    Parameters
    ----------
    folder
        The run's folder; images that are there already are continued.
    fields
        Numbers of the fields.
    points
        How many time points there will be.
    layout
        Of the raw frames.
    decides
        Channel and plane that decide.
    pixel_size_um
        Side of a pixel on the sample (µm).
    """

    def __init__(
        self,
        folder: Path,
        fields: Sequence[int],
        points: int,
        layout: Layout,
        decides: Series,
        *,
        pixel_size_um: float,
    ) -> None:
        self.decides, self._points = decides, points
        self._movies = {}
        for field in fields:
            name = f"{FOLDER}/{field}" if len(fields) > 1 else FOLDER
            movie = FieldMovie(folder, name, layout, pixel_size_um=pixel_size_um)
            movie.length, movie.about = points, {"decides": list(decides)}
            movie.over = name.replace(FOLDER, RAW)
            self._movies[field] = movie

    def ask_pixel(self, pixel_um: Callable[[], float]) -> None:
        """See `FieldMovie`."""
        for movie in self._movies.values():
            movie.ask_pixel(pixel_um)

    def put(
        self, point: int, field: int, pixels: NDArray[Any], series: Series | None = None
    ) -> None:
        """Put a frame (rows × columns) on disk; of the series that decides, if none is named.

        Raises
        ------
        ValueError
            Its shape or type is not that of the frames before.
        OSError
            The disk refused.
        """
        self._movies[field].write((point, *(series or self.decides)), pixels)

    def has(self, point: int, field: int, series: Series | None = None) -> bool:
        """Whether that frame is there."""
        return self._movies[field].holds((point, *(series or self.decides)))

    def mark(self, marks: Iterable[Mapping[str, Any]]) -> None:
        """Mark frames as measured or rebuilt; the last mark of a frame counts."""
        of_field: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        channel, plane = self.decides
        for mark in marks:
            of_field[mark["field"]].append({"channel": channel, "plane": plane, **mark})
        for field, found in of_field.items():
            self._movies[field].mark(found)

    def settle(self) -> None:
        """Write all marks to the attributes of the images."""
        for movie in self._movies.values():
            movie.settle()


def movies(folder: Path, pixel_size_um: float) -> list[MarkedImage]:
    """The rebuilt images that a run's folder has."""
    where = folder / FOLDER
    numbers = sorted(int(one.name) for one in where.glob("[0-9]*") if (one / "zarr.json").exists())
    names = [f"{FOLDER}/{number}" for number in numbers if (where / "OME").exists()]
    if not names and (where / "0" / "zarr.json").exists():
        if zarr.open_array(where / "0", mode="r").ndim < 5:
            return [ReconstructedStore(folder, [], 0, pixel_size_um=pixel_size_um)]
        names = [FOLDER]
    return [FieldMovie(folder, name, Layout(), pixel_size_um=pixel_size_um) for name in names]
