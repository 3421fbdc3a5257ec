"""The whole movie of a time-lapse that skips, for `stedfast export`.

Rebuilt frames stand among the measured ones, at the time that they are made for. `stedfast/frames`
says of each frame what it is, and none that is rebuilt has an exposure time.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.run_tiff import ExportedRun, Image, Page
from agent.offline.files.tiffs import NAMESPACE
from agent.record.layout import Layout
from agent.record.marks import MarkedImage
from agent.record.ngff import interval_of
from agent.record.reconstructed_stacks import movies
from agent.record.recording import Taken, field_from_dict
from devices.recorded import RECONSTRUCTED

At = tuple[int, int, int]
"""Time point, channel and plane."""
Marks = Mapping[At, Mapping[str, Any]]
"""What the movie says of each frame of a field."""
_MISSING = "missing"


def images(run: ExportedRun) -> list[Image]:
    """The movie of each field.

    Raises
    ------
    UserError
        The run rebuilt no frames.
    """
    found = movies(run.folder, run.pixel_um)
    made = [_image(run, movie, *one) for movie in found for one in _by_field(movie)]
    if not made:
        raise UserError(f"{run.folder}: no frame was rebuilt")
    return made


def _by_field(movie: MarkedImage) -> Iterator[tuple[int, Marks]]:
    """Each field of which it has frames, and their marks."""
    found: dict[int, dict[At, Mapping[str, Any]]] = defaultdict(dict)
    for mark in movie.marks():
        at = mark["point"], mark.get("channel", 0), mark.get("plane", 0)
        found[mark["field"]][at] = mark
    yield from sorted(found.items())


def _image(run: ExportedRun, movie: MarkedImage, field: int, marks: Marks) -> Image:
    group = zarr.open_group(movie.path, mode="r")
    ome: Any = group.attrs["ome"]
    labels = [channel["label"] for channel in ome["omero"]["channels"]]
    array: Any = group["0"]
    layout = Layout.of(run.config)
    names, planes = layout.channels, len(layout.planes)
    among: int | None = None
    if array.ndim == len("tcyx"):  # its channels are fields
        among, names, planes = labels.index(f"field {field}"), run.config.section.modes(), 1
    points = 1 + max(point for point, _, _ in marks)
    whole = [*product(range(points), range(len(names)), range(planes))]
    frames = {at: _taken(run, marks.get(at)) for at in whole}

    def read(at: At) -> NDArray[Any]:
        if _kind(marks.get(at)) == _MISSING:
            return np.zeros(array.shape[-2:], array.dtype)
        return np.asarray(array[at if among is None else (at[0], among)])

    first = next((taken for taken in frames.values() if taken is not None), None)
    where = first and first.shot["field"]
    rebuilt = sum(_kind(mark) == RECONSTRUCTED for mark in marks.values())
    return Image(
        titles=[str(field_from_dict(where)) if where else f"field {field}"],
        channels=names,
        shape=(points, len(names), planes),
        pages=[
            Page(partial(read, at), place, time_s, frames[at] is not None, _says(marks.get(at)))
            for at, place, time_s in _filled(frames)
        ],
        pixel_um=first.pixel_um(run.config) if first else run.pixel_um,
        step_um=layout.step_um,
        interval_s=interval_of(movie.path),
        notes={f"{NAMESPACE}/reconstruction": _made(run)},
        made=RECONSTRUCTED,
        description=f"{rebuilt} of {len(whole)} frames are rebuilt: a network's estimate and no "
        f"measurement; {NAMESPACE}/frames says which",
    )


def _taken(run: ExportedRun, mark: Mapping[str, Any] | None) -> Taken | None:
    """The measured frame that a frame of the movie is; None: it is none."""
    index = None if mark is None else mark.get("frame")
    return None if index is None else run.recording.taken.get(index)


def _filled(frames: Mapping[At, Taken | None]) -> Iterator[tuple[At, Taken | None, float | None]]:
    """Place, frame that says where it is, and time of each frame (s).

    A rebuilt one is where its channel and plane were measured last, and between the times of the
    measured ones.
    """
    measured: dict[tuple[int, int], dict[int, Taken]] = defaultdict(dict)
    for (point, *series), taken in frames.items():
        if taken is not None:
            measured[series[0], series[1]][point] = taken
    for (point, channel, plane), taken in frames.items():
        found = measured.get((channel, plane), {})
        points = sorted(found)
        if taken is not None:
            yield (point, channel, plane), taken, taken.frame["time_s"]
        elif not points or not points[0] < point < points[-1]:
            yield (point, channel, plane), None, None
        else:
            times = [found[at].frame["time_s"] for at in points]
            before = points[bisect(points, point) - 1]
            yield (point, channel, plane), found[before], float(np.interp(point, points, times))


def _kind(mark: Mapping[str, Any] | None) -> str:
    return _MISSING if mark is None else str(mark["kind"])


def _says(mark: Mapping[str, Any] | None) -> str:
    """`measured; frame 3`, or `reconstructed; expected error 0.081`."""
    said = [_kind(mark)]
    of = mark or {}
    if of.get("frame") is not None:
        said.append(f"frame {of['frame']}")
    if of.get("expected_error") is not None:
        said.append(f"expected error {of['expected_error']:.3g}")
    return "; ".join(said)


def _made(run: ExportedRun) -> dict[str, str]:
    """By what frames were rebuilt."""
    weights = {row["weights"] for row in run.recording.rebuilt.values() if row.get("weights")}
    return {
        "model": str(run.config.timelapse.model),
        "weights_sha256": ", ".join(sorted(weights)),
        "source": run.name,
    }
