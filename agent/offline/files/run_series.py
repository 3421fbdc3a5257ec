"""Which frames of a run go together in an exported file, and in which order."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agent.record.layout import Layout, channel_of, stored
from agent.record.recording import Taken, even_s, field_from_dict


@dataclass(slots=True)
class FieldSeries:
    """Frames of a field, of one size, in the order of their time points, channels and planes."""

    field: int | None
    channels: tuple[str, ...]
    planes: int = 1
    step_um: float | None = None
    note: str = ""
    indices: list[int] = dataclasses.field(default_factory=list)
    taken: list[Taken] = dataclasses.field(default_factory=list)

    def add(self, index: int, taken: Taken) -> None:
        """Add the next frame."""
        self.indices.append(index)
        self.taken.append(taken)

    def titles(self) -> list[str]:
        """Field, channel and what else tells it from other series, in words."""
        where = self.taken[0].shot["field"]
        titles = [str(field_from_dict(where))] if where else []
        modes = list(dict.fromkeys(taken.shot["mode"] for taken in self.taken))
        if len(self.channels) == 1:
            titles += self.channels
        elif len(modes) == 1:
            titles += modes
        return titles + ([self.note] if self.note else [])

    @property
    def interval_s(self) -> float:
        """From one time point to the next (s), where that is always the same; else 0."""
        each = len(self.channels) * self.planes
        return even_s([taken.frame["time_s"] for taken in self.taken[::each]])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Time points, channels and planes."""
        each = len(self.channels) * self.planes
        return len(self.indices) // each, len(self.channels), self.planes


def series_of(taken_by: Mapping[int, Taken], layout: Layout, channels: int) -> list[FieldSeries]:
    """Series of some frames of a run.

    Frames of a time point that was left halfway are series of their own.

    Parameters
    ----------
    taken_by
        The frames by their number.
    layout
        Of the run's frames.
    channels
        How many channels of a time point are among them.
    """
    each = channels * len(layout.planes)
    frames: dict[tuple[str, int], dict[tuple[int, ...], int]] = defaultdict(dict)
    for index, taken in taken_by.items():
        place = stored(index, taken.shot)
        if len(place.at) > 1 and each > 1:
            frames[place.image, place.at[0]][place.at] = index
    found: dict[tuple[Any, ...], FieldSeries] = {}
    whole = set()
    # Of two names of images the longer one has the larger number.
    for image, number in sorted(frames, key=lambda key: (len(key[0]), key)):
        at = frames[image, number]
        if len(at) < each:
            continue  # left halfway
        together: dict[tuple[Any, ...], list[tuple[int, Taken]]] = defaultdict(list)
        for _, index in sorted(at.items()):
            taken = taken_by[index]
            together[_size(taken)].append((index, taken))
            whole.add(index)
        for size, frames_of_it in together.items():
            names = tuple(dict.fromkeys(channel_of(taken.shot) for _, taken in frames_of_it))
            field, note = _field(frames_of_it[0][1]), _note(frames_of_it[0][1])
            key = (image, size, field, names, note)
            for index, taken in frames_of_it:
                if key not in found:
                    planes, step_um = len(layout.planes), layout.step_um
                    found[key] = FieldSeries(field, names, planes, step_um, note)
                found[key].add(index, taken)
    for index, taken in sorted(taken_by.items()):
        if index not in whole:
            channel, point = channel_of(taken.shot), taken.shot.get("point")
            note = f"time point {point}" if each > 1 and point is not None else _note(taken)
            new = FieldSeries(_field(taken), (channel,), note=note)
            found.setdefault((_field(taken), channel, note, _size(taken)), new).add(index, taken)
    return list(found.values())


def _note(taken: Taken) -> str:
    """What a frame is in words where it is of no time point: a plane of a stack has a focus."""
    apart = taken.shot.get("plane") is not None and taken.shot.get("point") is None
    return "stack" if apart else ""


def _size(taken: Taken) -> tuple[Any, ...]:
    """What a series says of all its frames: rows, columns, and side of a pixel."""
    return taken.shape, taken.frame.get("pixel_size_nm")


def _field(taken: Taken) -> int | None:
    where = taken.shot["field"]
    return where["index"] if where else None
