"""When a time-lapse looks for better settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean, median

_FRAMES = 3
"""Of a field whose median is its score: one bad frame is no fall."""


@dataclass(slots=True)
class SearchTrigger:
    """Says when a search is due.

    Parameters
    ----------
    points
        Time points in all.
    least
        Time points that are to be left: for fewer, nothing is searched.
    searches
        How many there are at most.
    every
        Time points from one search to the next; None: any number.
    fall
        Score lost since the last search; None: any.

    Examples
    --------
    >>> when = SearchTrigger(points=100, least=10, searches=3, fall=0.2)
    >>> for score in (0.8, 0.8, 0.8, 0.5, 0.5, 0.5):
    ...     when.see(0, score)
    >>> when.due(5)
    'score'
    """

    points: int
    least: int
    searches: int
    every: int | None = None
    fall: float | None = None
    done: int = 0
    """Searches so far."""
    _since: int = 0
    _scores: dict[int, list[float]] = field(default_factory=dict)

    def see(self, where: int, score: float) -> None:
        """Take in the score of a frame of a field."""
        self._scores.setdefault(where, []).append(score)

    @property
    def fallen(self) -> float:
        """Score lost since the last search, on average over the fields."""
        known = [scores for scores in self._scores.values() if len(scores) > _FRAMES]
        lost = [median(scores[:_FRAMES]) - median(scores[-_FRAMES:]) for scores in known]
        return fmean(lost) if lost else 0.0

    def due(self, point: int) -> str | None:
        """Why a search is due after a time point: `every` or `score`; None if none is."""
        if self.done >= self.searches or self.points - 1 - point < self.least:
            return None
        if self.every is not None and point + 1 - self._since >= self.every:
            return "every"
        if self.fall is not None and self.fallen >= self.fall:
            return "score"
        return None

    def searched(self, point: int) -> None:
        """There was a search after a time point; scores are compared with those that follow."""
        self.done += 1
        self._since = point + 1
        self._scores.clear()
