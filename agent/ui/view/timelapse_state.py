"""What became of the time points of a time-lapse that skips, learned entry by entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.config.plans import TimelapseConfig
from agent.ui.view.thinned_curve import RECENT, ThinnedCurve

MEASURED, AUDITED = "measured", "audited"
RECONSTRUCTED, MISSING = "reconstructed", "missing"
SKIPPED = "skipped"
"""Not taken, and not rebuilt yet."""


@dataclass(slots=True)
class TimePoint:
    """A time point of a field.

    Attributes
    ----------
    number
        Of its frame in the movie: all fields of a time point, then those of the next one.
    kind
        `measured`, `audited`, `reconstructed`, `missing` or `skipped`.
    mark
        What the time-lapse said of it; see `agent.plans.adaptive.schedule`.
    """

    number: int
    field: int
    kind: str
    mark: Mapping[str, Any]


class TimelapseState:
    """Time points of a time-lapse that skips; the latest one by one, all of them counted.

    Parameters
    ----------
    asked
        The config's time-lapse.

    Attributes
    ----------
    counts
        Time points so far, by kind.
    notes
        What the time-lapse said and decided, by field, thinned where it is much.
    latest
        What it said last.
    newest
        The time point that was rebuilt last.
    """

    def __init__(self, asked: TimelapseConfig) -> None:
        self.asked = asked
        self.counts: Counter[str] = Counter()
        self.notes: dict[int, ThinnedCurve] = {}
        self.latest: dict[str, Any] | None = None
        self.error: tuple[float, float] | None = None
        """Running error of rebuilt frames with its deviation; None where nothing was compared."""
        self.newest: TimePoint | None = None
        self._points: dict[int, TimePoint] = {}
        self._early: dict[int, str] = {}
        """Kinds of frames that were rebuilt before the time-lapse said that it skipped them."""

    @property
    def fields(self) -> list[int]:
        """Numbers of the fields, in the order of the movie's channels."""
        # Each is taken at the first time point, in this order.
        return list(self.notes)

    @property
    def skipped(self) -> int:
        """Frames that were deliberately not taken."""
        points = self.counts[RECONSTRUCTED] + self.counts[MISSING] + self.counts[SKIPPED]
        return points * self.asked.frames_of_a_field()

    def learn(self, note: dict[str, Any]) -> None:
        """Take in what the time-lapse says."""
        field = note["field"]
        self.notes.setdefault(field, ThinnedCurve()).add(note)
        self.latest = note
        if note.get("running_error") is not None:
            self.error = tuple(note["running_error"])
        for mark in note["frames"]:
            number = self._number(field, mark["point"])
            kind = mark["kind"]
            if mark["frame"] is None:
                kind = self._early.pop(number, SKIPPED)
            if (before := self._points.get(number)) is not None:
                self.counts[before.kind] -= 1
            self._points[number] = TimePoint(number, field, kind, mark)
            self._count(self._points[number])
        while len(self._points) > RECENT:
            del self._points[next(iter(self._points))]

    def rebuilt(self, row: dict[str, Any]) -> None:
        """Take in what came of a request to rebuild frames."""
        if row.get("series") is not None:
            return  # time points are shown by the series that decides
        kind = RECONSTRUCTED if row["failed"] is None else MISSING
        for point in row["points"]:
            number = self._number(row["field"], point)
            if (found := self._points.get(number)) is None:
                self._early[number] = kind
            else:
                self.counts[found.kind] -= 1
                found.kind = kind
                self._count(found)

    def point(self, number: int) -> TimePoint | None:
        """A time point by its number in the movie, if it is remembered."""
        return self._points.get(number)

    def points(self) -> Iterator[TimePoint]:
        """Those that are remembered, in the order of the movie."""
        yield from (self._points[number] for number in sorted(self._points))

    def _number(self, field: int, point: int) -> int:
        return int(point) * self.asked.fields + self.fields.index(field)

    def _count(self, point: TimePoint) -> None:
        self.counts[point.kind] += 1
        if point.kind == RECONSTRUCTED:
            self.newest = point
