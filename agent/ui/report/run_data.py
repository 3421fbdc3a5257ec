"""What the report is drawn from: a run's ledger, its summary and its raw frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.config import RunConfig
from agent.record import text
from agent.record.dose import DoseGate
from agent.record.filtered_frames import FilteredFrames
from agent.record.folder import CONFIG
from agent.record.images import checksum
from agent.record.layout import channel_of
from agent.record.load import read
from agent.record.raw import RawFrames
from agent.record.recording import Recording, Taken, field_from_dict, role_of
from agent.record.summary import MEASURED, RECORDED, summary_of
from agent.record.trials import best_trial, kind_of
from agent.ui.report.measured import Measured, field_of, frames_by_role, measured
from agent.ui.report.projection import maximum

Series = tuple[int | None, str]
"""Number of a field, None where the stage stayed where it was; and a channel: its mode, with its
camera where several give a frame at once."""


@dataclass
class Run:
    """A run, read once; values derived from all of its frames are computed once, too.

    Attributes
    ----------
    trials
        What `plan: optimize` tried, in order.
    retests
        `start` and `best`, measured again on fresh fields.
    damaged
        Numbers of frames that were asked for and are not on disk as the ledger says.
    """

    folder: Path
    config: RunConfig
    recording: Recording
    summary: dict[str, Any]
    trials: Sequence[Measured]
    retests: Mapping[str, Sequence[Measured]]
    damaged: list[int] = field(default_factory=list)
    _images: RawFrames | None = None
    _filtered: FilteredFrames | None = None

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a run folder.

        Raises
        ------
        UserError
            `folder` is no run folder.
        """
        config, recording = read(folder)
        tried, tested = frames_by_role(recording)
        trials = [
            measured(note, tried.get(number, {}), config.optimize)
            for number, note in enumerate(recording.notes_on("trial"), 1)
        ]
        retests: dict[str, list[Measured]] = {"start": [], "best": []}
        for note in recording.notes_on("retest"):
            which = note["which"]
            found = measured(note, tested.get((which, note["field"]), {}), config.optimize)
            retests.setdefault(which, []).append(found)
        summary = summary_of(folder, config, recording)
        return cls(folder, config, recording, summary, trials, retests)

    @property
    def name(self) -> str:
        """The run folder's name."""
        return str(self.summary["run"])

    @property
    def origin(self) -> str:
        """Where the frames come from."""
        origin = self.summary["origin"]
        if origin is None:
            return "No session has begun"
        if origin == MEASURED:
            return "Measured on a microscope"
        if origin == RECORDED:
            return "Played back from a recording; no microscope took part"
        if self.config.microscope.virtual_sted is not None:
            return "Simulated by the virtual STED microscope (pySTED)"
        return "Simulated by a demo camera"

    @property
    def config_text(self) -> str:
        """The config as it stands in the folder."""
        return (self.folder / CONFIG).read_text(encoding="utf-8")

    @property
    def pixel_um(self) -> float:
        """Side of a pixel on the sample (µm)."""
        return self.config.microscope.pixel_size_nm * 1e-3

    def pixel_um_of(self, index: int) -> float:
        """The same of a frame, which may have had another one."""
        return self.recording.taken[index].pixel_um(self.config)

    @cached_property
    def frames(self) -> list[tuple[int, Taken]]:
        """Frames on disk, in order."""
        return sorted(self.recording.taken.items())

    @cached_property
    def watched(self) -> list[tuple[int, Taken]]:
        """Those of time points, where there are any: no searches, no sweeps.

        Of z-stacks it is the middle plane; those of retests are not among them.
        """
        rows = [row for row in self.frames if role_of(row[1].shot).search is None]
        rows = [row for row in rows if row[1].shot.get("point") is not None] or rows
        if self.config.section.searches():
            return [row for row in rows if row[1].shot.get("plane") is None]
        planes = sorted({plane["index"] for _, one in rows if (plane := one.shot.get("plane"))})
        if not planes:
            return rows
        middle = planes[len(planes) // 2]
        return [row for row in rows if (row[1].shot.get("plane") or {}).get("index") == middle]

    @cached_property
    def _stacks(self) -> Mapping[tuple[Any, ...], list[int]]:
        """Numbers of the frames of each z-stack, from its lowest plane."""
        found: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
        for index, taken in self.frames:
            if (plane := taken.shot.get("plane")) is not None:
                found.setdefault(_stack_of(taken), []).append((plane["index"], index))
        return {key: [index for _, index in sorted(planes)] for key, planes in found.items()}

    def projected(self, index: int) -> tuple[NDArray[Any], int] | None:
        """The maximum over the z-stack that a frame is a plane of, and how many planes that are.

        A frame of no stack is itself, as 1 plane; None where it is not on disk.
        """
        planes = self._stacks.get(_stack_of(self.recording.taken[index]), [index])
        found = [pixels for one in planes if (pixels := self.pixels(one)) is not None]
        found = [one for one in found if one.shape == found[0].shape]
        return (maximum(found), len(found)) if found else None

    @cached_property
    def series(self) -> list[Series]:
        """Fields and channels that were watched, in the order of their first frames."""
        return list(dict.fromkeys(series_of(taken) for _, taken in self.watched))

    def called(self, series: Series) -> str:
        """A field by its number and name, if it has one; with its channel, if it has several."""
        first = next(taken for _, taken in self.watched if series_of(taken) == series)
        where = first.shot["field"]
        name = str(field_from_dict(where)) if where else "where the stage was"
        several = len({mode for _, mode in self.series}) > 1
        return f"{name}, {series[1]}" if several else name

    @cached_property
    def gate(self) -> DoseGate:
        """The light that was spent."""
        return DoseGate.of(self.config.dose, self.recording)

    @property
    def limit(self) -> float:
        """Largest share of the dye that a frame may bleach."""
        return self.config.optimize.bleaching_limit

    @cached_property
    def last_sign(self) -> str | None:
        """When the ledger last heard of the run."""
        end, safe = self.recording.end, self.recording.safe_state
        signs = [taken.frame["at"] for taken in self.recording.taken.values()]
        signs += [session["at"] for session in self.recording.sessions[-1:]]
        signs += [entry["at"] for entry in (end, safe) if entry is not None]
        return max(signs, default=None)

    @property
    def lasted_s(self) -> float | None:
        """From the first session's start to the last sign of the run (s)."""
        if not self.recording.sessions or self.last_sign is None:
            return None
        first = datetime.fromisoformat(self.recording.sessions[0]["at"])
        return max(0.0, (datetime.fromisoformat(self.last_sign) - first).total_seconds())

    def within(self, found: Measured) -> bool:
        """Whether a measurement kept to the bleaching limit."""
        return found.bleaching is not None and found.bleaching <= self.limit

    def kind(self, found: Measured) -> str:
        """What a trial counts as: failed, flagged, over the limit, or within it."""
        if found.score is None:
            return kind_of(None, self.limit)
        return kind_of({"bleaching": found.bleaching, "flags": found.flags}, self.limit)

    def mode_names(self) -> tuple[str, str]:
        """The mode that a search tunes, and that of its references, in words."""
        asked = self.config.optimize
        reference = "Confocal" if asked.reference == "confocal" else asked.reference
        return text.mode(asked.mode), reference

    def typical(self, which: str) -> Measured | None:
        """Of a candidate's retests, the one that scored closest to their mean."""
        found = [m for m in self.retests[which] if m.sted is not None and m.score is not None]
        if not found:
            return None
        mean = fmean(m.score for m in found if m.score is not None)
        return min(found, key=lambda m: abs((m.score or 0.0) - mean))

    def best_trial(self) -> Measured | None:
        """The trial that scored highest within the bleaching limit, lucky or not, unflagged."""
        number = best_trial(self.summary["trials"], self.limit)
        return self.trials[number - 1] if number is not None else None

    def pixels(self, index: int | None) -> NDArray[Any] | None:
        """A frame as it was measured; None if it is not on disk as the ledger says."""
        if index is None or index not in self.recording.taken:
            return None
        try:
            if self._images is None:
                self._images = RawFrames(self.folder, pixel_size_um=self.pixel_um)
            pixels: NDArray[Any] = self._images.read(index)
            whole = checksum(pixels) == self.recording.taken[index].frame["crc32"]
        except Exception:  # a damaged image must not cost the report of all the rest
            whole = False
        if not whole:
            if index not in self.damaged:
                self.damaged.append(index)
            return None
        finite: NDArray[Any] = np.nan_to_num(pixels)
        return finite

    def filtered_pixels(self, index: int) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """What the filter made of a frame, and its deviation; None if it is not on disk."""
        try:
            if self._filtered is None:
                self._filtered = FilteredFrames(self.folder, pixel_size_um=self.pixel_um)
            image, sd = self._filtered.read(index)
        except Exception:  # a damaged image must not cost the report of all the rest
            return None
        return None if np.isnan(image).all() else (np.nan_to_num(image), np.nan_to_num(sd))


def series_of(taken: Taken) -> Series:
    """Field and channel of a frame."""
    return field_of(taken), channel_of(taken.shot)


def _stack_of(taken: Taken) -> tuple[Any, ...]:
    """What tells a frame's z-stack from others."""
    return taken.shot.get("point"), *series_of(taken)
