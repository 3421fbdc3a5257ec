"""A run as arrays and tables, for scripts and notebooks.

    run = open_run("runs/2026-11-27-101500-optimize")
    run.frame(4)                        # pixels, rows × columns
    run.frames()["score"]               # a value for each frame; NaN where it has none
    pandas.DataFrame(run.trials())      # a table is a dict of columns

Everything is read from the folder, nothing is written, and the run may be running meanwhile: frames
that it adds after `open_run` are not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from agent.config import RunConfig
from agent.record import filtered, reconstructed
from agent.record.device_state import states
from agent.record.filtered_frames import FilteredFrames
from agent.record.layout import RAW
from agent.record.load import read
from agent.record.raw import RawFrames
from agent.record.recording import Recording, Taken
from agent.record.summary import summary_of

Table = dict[str, NDArray[Any]]
"""Columns by name, all of one length; numbers are float64, with NaN where unknown."""


def open_run(folder: str | Path) -> StoredRun:
    """Read a run's folder.

    Raises
    ------
    UserError
        It is no run folder, or its ledger is damaged; says where.
    """
    config, recording = read(Path(folder))
    return StoredRun(Path(folder), config, recording)


class StoredRun:
    """A run that was read with `open_run`.

    Attributes
    ----------
    folder
        Where it is.
    config
        Its config, checked.
    """

    def __init__(self, folder: Path, config: RunConfig, recording: Recording) -> None:
        self.folder = folder
        self.config = config
        self._recording = recording
        pixel_um = config.microscope.pixel_size_nm * 1e-3
        self._raw = RawFrames(folder, pixel_size_um=pixel_um)
        self._filtered = FilteredFrames(folder, pixel_size_um=pixel_um, raw=self._raw)

    def __len__(self) -> int:
        """Frames that were taken."""
        return len(self._recording.taken)

    @property
    def summary(self) -> dict[str, Any]:
        """What `stedfast show --json` prints."""
        return summary_of(self.folder, self.config, self._recording)

    def frame(self, index: int) -> NDArray[Any]:
        """Raw pixels of a frame (rows × columns), as the camera gave them.

        Raises
        ------
        IndexError
            There is no such frame.
        FrameDamaged
            It is not on disk as it was written.
        """
        self._check(index)
        return self._raw.read(index)

    @property
    def raw(self) -> zarr.Array[Any]:
        """All raw frames: time × rows × columns, read when it is sliced.

        Where a time point has several channels or planes: time × channels × planes × rows ×
        columns. It has room for more frames than were taken: those read as 0.

        Raises
        ------
        FileNotFoundError
            No frame was taken, or each field has an image; see `image`.
        """
        if (self.folder / RAW / "OME").exists():
            raise FileNotFoundError(f"{self.folder}: each field has an image; see `image(field)`")
        return self._image(RAW)

    def image(self, field: int) -> zarr.Array[Any]:
        """Raw frames of a field: time × channels × planes × rows × columns.

        Parameters
        ----------
        field
            Its number.

        Raises
        ------
        FileNotFoundError
            No frame of it was taken, or the run has one image for all, `raw`.
        """
        return self._image(f"{RAW}/{field}")

    @property
    def filtered(self) -> zarr.Array[Any]:
        """Filtered frames: time × (filtered, standard deviation) × rows × columns, in raw counts.

        Frames that were not filtered are NaN. Where a time point has several channels or planes:
        time × channels × planes × rows × columns, with two channels, the frame and its deviation,
        for each channel that is filtered.

        Raises
        ------
        FileNotFoundError
            None was filtered, or each field has an image; see `filtered_image`.
        """
        if (self.folder / filtered.FOLDER / "OME").exists():
            raise FileNotFoundError(
                f"{self.folder}: each field has an image; see `filtered_image(field)`"
            )
        return self._image(filtered.FOLDER)

    def filtered_image(self, field: int) -> zarr.Array[Any]:
        """The same of a field.

        Raises
        ------
        FileNotFoundError
            No frame of it was filtered, or the run has one image for all, `filtered`.
        """
        return self._image(f"{filtered.FOLDER}/{field}")

    def filtered_frame(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """What a frame was filtered to, and the standard deviation of that, in raw counts.

        Raises
        ------
        IndexError
            There is no such frame.
        FrameDamaged
            It was not filtered, or is not on disk as it was written.
        """
        self._check(index)
        image, sd = self._filtered.read(index)
        return image, sd

    @property
    def reconstructed(self) -> zarr.Array[Any]:
        """Movie of a time-lapse that skips: time points × fields × rows × columns.

        With several channels or planes its axes are those of `raw`. `marks` says which frames were
        measured.

        Raises
        ------
        FileNotFoundError
            The run skipped nothing, or each field has an image; see `movie`.
        """
        if (self.folder / reconstructed.FOLDER / "OME").exists():
            raise FileNotFoundError(f"{self.folder}: each field has an image; see `movie(field)`")
        return self._image(reconstructed.FOLDER)

    def movie(self, field: int) -> zarr.Array[Any]:
        """The same of a field: time × channels × planes × rows × columns.

        Raises
        ------
        FileNotFoundError
            There is no such field, or the run has one movie for all, `reconstructed`.
        """
        return self._image(f"{reconstructed.FOLDER}/{field}")

    def frames(self) -> Table:
        """One row for each frame that was taken, in order.

        Its columns: `frame`, `time_s` (since the run's birth), `mode`, `camera` (its channel of a
        camera that gives several frames at once; else empty), `purpose`, `point` (time point),
        `plane` (of a z-stack), `field` (NaN where none was asked for), `place` (its name), `x_um`,
        `y_um`, `z_um` (as asked for), `pixel_size_nm` (NaN where it is the config's), `score`,
        `score_sd`, `uncertainty` (of the filter), and for each setting and each laser
        `settings.NAME` and `dose_J.LASER` (once for the frames of a shot: with its first).
        """
        rows = [_row(index, taken) for index, taken in sorted(self._recording.taken.items())]
        return _table(rows)

    def trials(self) -> Table:
        """One row for each trial of `plan: optimize`, in order.

        Its columns: `trial`, `settings.NAME`, and what was measured (`score`, `score_sd`,
        `bleaching`, …, `dose_J.LASER`, and the value of an objective of one's own under its name),
        NaN where the trial failed.
        """
        rows = []
        for number, note in enumerate(self.notes("trial"), 1):
            found = dict(note.get("objectives") or {})
            found.pop("flags", None)
            dose = found.pop("dose_J", None) or {}
            rows.append(
                {"trial": number}
                | {f"settings.{name}": value for name, value in note["settings"].items()}
                | found.pop("measured", {})
                | found
                | {f"dose_J.{laser}": joules for laser, joules in dose.items()}
            )
        return _table(rows)

    def state(self, index: int | None = None) -> dict[str, dict[str, str]]:
        """What Micro-Manager's core knew of its devices: values by device and property.

        Parameters
        ----------
        index
            As a frame was taken; None: as the run began.

        Raises
        ------
        IndexError
            There is no such frame.
        """
        if index is None:
            begun = self._recording.sessions[:1]
            found = begun[0].get("state", {}).get("properties", {}) if begun else {}
        else:
            self._check(index)
            found = dict(states(self._recording))[index]
        return {device: dict(properties) for device, properties in found.items()}

    def marks(self) -> list[dict[str, Any]]:
        """What each frame of a time-lapse that skips is: {field, point, kind, frame, …}."""
        return [
            {"field": note["field"], **mark}
            for note in self.notes("lapse")
            for mark in note["frames"]
        ]

    def notes(self, topic: str) -> list[dict[str, Any]]:
        """What the plan noted on a topic: `trial`, `recommendation`, `lapse` or one of its own."""
        return self._recording.notes_on(topic)

    def _check(self, index: int) -> None:
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index}: this run has frames 0 to {len(self) - 1}")

    def _image(self, name: str) -> zarr.Array[Any]:
        path = self.folder / name / "0"
        if not path.exists():
            raise FileNotFoundError(f"{self.folder}: this run has no {name}")
        return zarr.open_array(path, mode="r")


def _row(index: int, taken: Taken) -> dict[str, Any]:
    shot, score = taken.shot, taken.score
    field = shot.get("field") or {}
    return (
        {
            "frame": index,
            "time_s": taken.frame["time_s"],
            "mode": shot["mode"],
            "camera": (shot.get("camera") or {}).get("name", ""),
            "purpose": shot["purpose"],
            "point": shot.get("point"),
            "plane": (shot.get("plane") or {}).get("index"),
            "field": field.get("index"),
            "place": field.get("name", ""),
            **{axis: field.get(axis) for axis in ("x_um", "y_um")},
            "z_um": shot.get("focus_um", field.get("z_um")),
            "pixel_size_nm": taken.frame.get("pixel_size_nm"),
            "score": score.value if score else None,
            "score_sd": score.sd if score else None,
            "uncertainty": taken.filtered["uncertainty"] if taken.filtered else None,
        }
        | {f"settings.{name}": value for name, value in shot["settings"].items()}
        | {f"dose_J.{laser}": joules for laser, joules in (shot.get("dose_J") or {}).items()}
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: _column([row.get(name) for row in rows]) for name in names}


def _column(values: list[Any]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else str(value) for value in values])
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return np.array(values, np.int64)
    return np.array([np.nan if value is None else value for value in values], np.float64)
