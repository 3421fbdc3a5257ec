"""Shots that are announced: their light is counted before it falls, and put right by what did."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from agent.record.layout import RAW, Stored
from agent.record.recording import LIGHT, shot_as_dict
from agent.run.parts import RunParts
from devices.microscope import Microscope
from devices.shot import Shot


@dataclass(slots=True)
class Pending:
    """A shot that is being taken.

    Attributes
    ----------
    index
        Number of its frame; of the first one, where the camera gives several at once.
    stored
        Place of each of them.
    images
        Those that the camera gave so far.
    dose
        What it was announced with (J), by laser.
    exposing
        Its light may have been on.
    sequence
        Of the hardware sequence that it is part of: number of its first frame, and how many.
    """

    shot: Shot
    index: int
    settings: dict[str, Any]
    stored: Sequence[Stored]
    images: list[NDArray[Any]] = field(default_factory=list)
    dose: dict[str, float] = field(default_factory=dict)
    exposing: bool = False
    sequence: dict[str, int] | None = None

    @property
    def place(self) -> int | None:
        """Number of its field."""
        return self.shot.field.index if self.shot.field else None


class Announced:
    """Those whose frames are to come, in their order.

    Parameters
    ----------
    microscope, parts
        Of the session.
    """

    def __init__(self, microscope: Microscope, parts: RunParts) -> None:
        self._microscope = microscope
        self._journal, self._images, self._gate = parts.journal, parts.images, parts.gate
        faults = parts.recording.faults
        self._told_of_light = any(fault.get("part") == LIGHT for fault in faults)
        self._waiting: deque[Pending] = deque()

    @property
    def first(self) -> Pending | None:
        """Whose frame comes next."""
        return self._waiting[0] if self._waiting else None

    def add(self, shots: Sequence[Pending]) -> None:
        """Announce shots of one field that are taken at once; all of them or none.

        Raises
        ------
        BudgetReached
            Their light would be too much.
        """
        if self._images.anchor is not None:
            self._images.anchor.check()
        sums: dict[str, float] = {}
        for pending in shots:
            scope, settings = self._microscope, pending.settings
            pending.dose = self._gate.likely(scope.dose_j(settings), scope.exposure_s(settings))
            for laser, joules in pending.dose.items():
                sums[laser] = sums.get(laser, 0.0) + joules
        self._gate.admit(sums, shots[0].place)
        self._journal.add_all("shot", [row for pending in shots for row in self._rows(pending)])
        for pending in shots:
            self._gate.count(pending.dose, pending.place)
            pending.images.clear()
            pending.exposing = False
            self._waiting.append(pending)

    def _rows(self, pending: Pending) -> list[tuple[int, dict[str, Any]]]:
        """Rows of a shot, one for each frame; its light is in the first one, and counts once."""
        shot = pending.shot
        entry = {**shot_as_dict(shot), "settings": pending.settings, "dose_J": pending.dose}
        if shot.plane is not None:
            entry["focus_um"] = self._microscope.focus_um(shot)
        scope, rows = self._microscope.config, []
        for number, stored in enumerate(pending.stored):
            index = pending.index + number
            row = {**entry, "dose_J": {}} if number else entry
            if scope.camera_channels:
                row = row | {
                    "camera": {
                        "index": number,
                        "name": scope.camera_channels[number],
                        "of": len(pending.stored),
                        "seen": number == scope.seen_channel,
                    }
                }
            if stored != Stored(RAW, (index,)) or not self._images.layout.plain:
                row = row | {"stored": stored.as_dict()}
            rows.append((index, row))
        return rows

    def begin(self) -> None:
        """Light may be on from now on."""
        for pending in self._waiting:
            pending.exposing = True

    def settle(self, row: dict[str, Any]) -> None:
        """Count the light that the first one's frame took, instead of the announced light."""
        pending = self._waiting.popleft()
        self._gate.count(pending.dose, pending.place, sign=-1)
        self._gate.count(row["dose_J"], pending.place)
        self._gate.learn(row)
        if not self._told_of_light and (what := self._gate.mismatch()) is not None:
            self._told_of_light = True
            self._journal.fault(what, "go on", pending.index, part=LIGHT)

    def give_up(self) -> None:
        """Of those that left no frame, count the light that fell, if any did.

        What was on since the last frame of a sequence fell on the first of them.
        """
        lit = True
        while self._waiting:
            pending = self._waiting.popleft()
            row: dict[str, Any] = {}
            self._gate.count(pending.dose, pending.place, sign=-1)
            if lit and pending.exposing:
                got = self._microscope.received(pending.settings)
                if got.lit_s > 0:
                    row = got.as_dict()
                    self._gate.count(got.dose_J, pending.place)
                    self._gate.learn(row)
            lit = False
            others = range(pending.index + 1, pending.index + len(pending.stored))
            self._journal.add_all("void", [(pending.index, row), *((one, {}) for one in others)])
