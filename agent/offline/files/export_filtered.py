"""What the filter made of a run's frames, for `stedfast export`.

Each channel that is filtered has two: the filtered frames, and their standard deviation. Frames
that were not filtered are NaN, and `stedfast/frames` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.run_notes import notes_on
from agent.offline.files.run_series import FieldSeries, series_of
from agent.offline.files.run_tiff import ExportedRun, Image, Page
from agent.offline.files.tiffs import NAMESPACE
from agent.record.filtered import PAIR, By
from agent.record.filtered_frames import NOT_FILTERED, FilteredFrames
from agent.record.recording import Taken
from agent.record.summary import weights_of
from devices.recorded import MEASURED


def images(run: ExportedRun) -> list[Image]:
    """The filtered frames of a run, laid out as its measured ones.

    Raises
    ------
    UserError
        None was filtered.
    """
    by = By.of(run.config)
    if by is None or not run.recording.filtered():
        raise UserError(f"{run.folder}: no frame was filtered")
    could_be = {
        index: taken
        for index, taken in run.recording.taken.items()
        if taken.shot["mode"] in by.modes and taken.seen
    }
    store = FilteredFrames(run.folder, pixel_size_um=run.pixel_um, raw=run.raw)
    found = series_of(could_be, by.layout, len(by.channels(by.layout)))
    return [
        _image(series, run, store)
        for series in found
        if any(taken.filtered is not None for taken in series.taken)
    ]


def _image(series: FieldSeries, run: ExportedRun, store: FilteredFrames) -> Image:
    points, channels, planes = series.shape
    unsure = [one.filtered["uncertainty"] for one in series.taken if one.filtered is not None]
    asked = run.config.filter
    said = {
        "model": asked.model if asked else "",
        "weights_sha256": weights_of(run.recording, "filter") or "",
        "uncertainty": f"{fmean(unsure):.4g}",
        "source": run.name,
        "shows": "frames, and their standard deviation",
    }
    return Image(
        titles=series.titles(),
        channels=[f"{channel} {part}" for channel in series.channels for part in PAIR],
        shape=(points, len(PAIR) * channels, planes),
        pages=[*_pages(series, store)],
        pixel_um=series.taken[0].pixel_um(run.config),
        step_um=series.step_um,
        interval_s=series.interval_s,
        notes={
            **notes_on(series, run.config, run.states),
            f"{NAMESPACE}/filter": {key: str(value) for key, value in said.items()},
        },
        each=len(PAIR),
        made=PAIR[0],
        description=f"{len(unsure)} of {len(series.taken)} frames, filtered: a network's estimate "
        "and no measurement",
    )


def _pages(series: FieldSeries, store: FilteredFrames) -> Iterator[Page]:
    """Of each channel of a time point the filtered planes, then their deviations."""
    frames = [*zip(series.indices, series.taken, strict=True)]
    for begin in range(0, len(frames), series.planes):
        for part, word in enumerate(PAIR):
            for index, taken in frames[begin : begin + series.planes]:
                says = NOT_FILTERED
                if taken.filtered is not None:
                    unsure = taken.filtered["uncertainty"]
                    says = f"{MEASURED}; {word}; uncertainty {unsure:.4g}"
                read = partial(_read, index, taken, part, store)
                yield Page(read, taken, taken.frame["time_s"], says=says)


def _read(index: int, taken: Taken, part: int, store: FilteredFrames) -> NDArray[Any]:
    if taken.filtered is None:
        return np.full(taken.shape, np.nan, np.float32)
    found: NDArray[Any] = store.read(index)[part]
    return found
