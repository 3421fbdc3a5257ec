"""A time-lapse finds its focus again: sweeps through the focus of each field, and its drift.

The sharpest plane is the vertex of the parabola through the three sharpest of a sweep, as in
autofocus since Subbarao and Tyan, IEEE Trans. Pattern Anal. Mach. Intell. 20 (1998), 864.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np

from agent.config.focus import FocusConfig
from agent.config.rules import LATEST, PUNCTUAL
from agent.plan import FOCUS, AnalysisError, Answer, Frame, Note, Step
from agent.plans.sharpness import Sharpness, is_focus, sharpness
from devices.shot import Field, Shot

_REMEMBERED = 4
"""Sweeps that the drift is estimated from; chosen: it may change in a night."""
_SCORES = 3
"""Frames whose median score is compared; chosen, as searches do."""


def vertex(
    heights: Sequence[float], sharpness: Sequence[float], *, reciprocal: bool = False
) -> float:
    """Where a parabola through the sharpest plane and its neighbours is highest (µm).

    The sharpest plane itself where it is the first or the last one.

    A beam is wider by 1 + (z/z_R)² out of focus, in area, and so much less sharp is the frame. A
    parabola through the reciprocals is unbiased then; one through the values is drawn to the
    sharpest plane, by a fifth of a step.

    Parameters
    ----------
    heights
        Of the planes (µm), ascending and equidistant.
    sharpness
        Of each of them.
    reciprocal
        Of the reciprocals, where all three are above 0.

    Examples
    --------
    >>> vertex([0, 1, 2, 3], [0.0, 3.0, 3.0, 0.0])
    1.5
    >>> round(vertex([0, 1, 2], [1 / (1 + (z - 1.2) ** 2) for z in range(3)], reciprocal=True), 6)
    1.2
    """
    best = int(np.argmax(sharpness))
    if not 0 < best < len(heights) - 1:
        return heights[best]
    low, mid, high = (sharpness[best + step] for step in (-1, 0, 1))
    if reciprocal and min(low, mid, high) > 0:
        low, mid, high = -1 / low, -1 / mid, -1 / high
    bend = low - 2 * mid + high
    shift = 0.5 * (low - high) / bend if bend < 0 else 0.0
    return heights[best] + shift * (heights[best + 1] - heights[best])


@dataclass(slots=True)
class _OfField:
    """What is known of a field's focus."""

    z_um: float
    found: list[tuple[int, float]] = field(default_factory=list)
    last: int | None = None
    """Time point of the last sweep."""
    made: int = 0
    """How many there were."""
    lost: bool = False
    """It found no focus."""
    scores: list[float] = field(default_factory=list)

    def searched(self, point: int, *, lost: bool) -> None:
        """There was a search at a time point."""
        self.last, self.lost, self.scores = point, lost, []
        self.made += 1


class Focusing:
    """The focus of each field of a time-lapse.

    Parameters
    ----------
    config
        When to look, and how.
    mode
        Of a sweep's frames.
    start_um
        Where the focus is at first (µm), of fields that have none of their own.
    limits
        The lowest and the highest position that it may have (µm).
    rules
        See `agent.config.rules`.
    """

    def __init__(
        self,
        config: FocusConfig,
        mode: str,
        start_um: float,
        limits: tuple[float, float] = (-math.inf, math.inf),
        rules: int = LATEST,
    ) -> None:
        self._rules = rules
        self._config, self._mode, self._start_um = config, mode, start_um
        self._limits = limits
        self._fields: dict[int, _OfField] = {}

    @property
    def by_score(self) -> bool:
        """Whether it may be due between two frames of a time point, for their scores."""
        return self._config.when_score_falls_by is not None

    def aimed(self, shot: Shot, point: int) -> Shot:
        """A shot of a field with the focus where it should be at a time point.

        Its purpose says so, if the last sweep found no focus.
        """
        assert shot.field is not None
        known = self._of(shot.field)
        place = replace(shot.field, z_um=round(self._expected(known, point), 3))
        lost = ", focus not found" if known.lost else ""
        return replace(shot, field=place, purpose=f"{shot.purpose}{lost}")

    def due(self, place: Field, point: int) -> bool:
        """Whether a sweep of a field is due at a time point."""
        known, config = self._of(place), self._config
        if known.last is None:
            return True
        every = config.gap(known.made) if self._rules >= PUNCTUAL else config.every
        if every is not None and point - known.last >= every:
            return True
        fall = config.when_score_falls_by
        if fall is None or len(known.scores) < 2 * _SCORES:
            return False
        return median(known.scores[:_SCORES]) - median(known.scores[-_SCORES:]) >= fall

    def see(self, frame: Frame) -> None:
        """Take in a frame of a time point; waits for its score only if that decides."""
        if self._config.when_score_falls_by is None or frame.shot.field is None:
            return
        with suppress(AnalysisError):  # where the run is to stop at that, it has
            self._of(frame.shot.field).scores.append(frame.score)

    def look(
        self, place: Field, point: int, at_s: float | None = None
    ) -> Generator[Step, Answer, list[Frame]]:
        """Look for the focus of a field; returns the frames that this took.

        At a time point, which is due at `at_s`.

        The sweep goes on upwards or downwards for once, where its last plane is the sharpest. Where
        nothing is found the focus stays where it is expected, and the note says why.
        """
        known = self._of(place)
        expected = self._expected(known, point)
        step, half = self._config.step, self._config.planes // 2
        centre = expected - self._config.offset
        frames: dict[int, Frame] = {}
        sharp: dict[int, Sharpness] = {}
        why = ""
        try:
            for further in (False, True):
                for rank in self._further(sharp) if further else range(-half, half + 1):
                    if not self._limits[0] <= centre + rank * step <= self._limits[1]:
                        continue
                    shot = self._shot(place, point, centre + rank * step)
                    if self._rules >= PUNCTUAL:
                        shot = replace(shot, at_s=at_s)
                    frame = yield shot
                    assert isinstance(frame, Frame)
                    frames[rank] = frame
                    sharp[rank] = sharpness(frame, self._config.measure)
        except AnalysisError as error:
            why = str(error)
        if not why:
            ranks = sorted(sharp)
            planes = [sharp[rank] for rank in ranks]
            why = _doubt(planes)
            if not why:
                values = [plane.value for plane in planes]
                # A score is no power of structure.
                by_power = self._rules >= PUNCTUAL and self._config.measure != "score"
                heights = [rank * step for rank in ranks]
                known.z_um = expected + vertex(heights, values, reciprocal=by_power)
        if not why:
            self._remember(known, point)
        known.searched(point, lost=bool(why))
        yield Note(
            FOCUS,
            {
                "field": place.index,
                "point": point,
                "expected_um": round(expected, 3),
                "z_um": round(expected if why else known.z_um, 3),
                "found": not why,
                "why": why,
                "planes_um": [round(centre + rank * step, 3) for rank in sorted(sharp)],
                "sharpness": [sharp[rank].value for rank in sorted(sharp)],
                "planned": len(frames),
            },
        )
        return list(frames.values())

    @staticmethod
    def _remember(known: _OfField, point: int) -> None:
        """Where the focus was found, for its drift."""
        known.found = [*known.found, (point, known.z_um)][-_REMEMBERED:]

    def _further(self, sharp: Mapping[int, Sharpness]) -> range:
        """Planes beyond the sharpest one, where that is at an end of the sweep."""
        if not sharp:
            return range(0)
        best = max(sharp, key=lambda rank: sharp[rank].value)
        more = self._config.planes // 2
        if best == max(sharp):
            return range(best + 1, best + more + 1)
        if best == min(sharp):
            return range(best - 1, best - more - 1, -1)
        return range(0)

    def _shot(self, place: Field, point: int, z_um: float) -> Shot:
        purpose = f"focus, time point {point}"
        return Shot(self._mode, {}, replace(place, z_um=round(z_um, 3)), purpose=purpose)

    def _of(self, place: Field) -> _OfField:
        if place.index not in self._fields:
            start = self._start_um if place.z_um is None else place.z_um
            self._fields[place.index] = _OfField(start)
        return self._fields[place.index]

    def _expected(self, known: _OfField, point: int) -> float:
        """Where the focus should be: what was found last, and the drift since."""
        expected = known.z_um
        if len(known.found) > 1 and self._config.predict:
            points, heights = np.array(known.found, dtype=float).T
            slope, _ = np.polyfit(points, heights, 1)
            expected = float(heights[-1] + slope * (point - points[-1]))
        return min(max(expected, self._limits[0]), self._limits[1])


def _doubt(planes: Sequence[Sharpness]) -> str:
    """Why a sweep found no focus; nothing where it did."""
    if len(planes) < 3:
        return "`stage_limits.z_um` leaves fewer than three planes"
    if not is_focus(planes):
        return "no plane is sharper than the others"
    values = [plane.value for plane in planes]
    if values.index(max(values)) in (0, len(values) - 1):
        return "the sharpest plane is at the end of the sweep"
    return ""
