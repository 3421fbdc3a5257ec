"""Sudden events: what a frame shows that the ones before do not lead one to expect."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from agent.lapse.motion import Look

_REMEMBERED = 7
_FASTER = 2.2
_LEAST_CHANGE = 0.12
_DIMMER, _SOFTER, _SURELY = 0.2, 0.5, 4.0
_LOCALLY = 3.0
_LEAST_LOCAL = 0.35


@dataclass(frozen=True, slots=True)
class Change:
    """What happened from one acquired frame of a field to the next.

    Parameters
    ----------
    steps
        Time points from the one to the other.
    likeness
        See `motion.likeness`.
    local
        Largest change of a part of the field; see `motion.local_change`.
    before, after
        What the frames are like.
    """

    steps: int
    likeness: float
    local: float
    before: Look
    after: Look

    @property
    def pace(self) -> float:
        """How fast the structure changes: √(1 − likeness) in a time point, if that grew evenly."""
        return math.sqrt(max(1 - self.likeness, 0.0)) / math.sqrt(self.steps)

    @property
    def dimming(self) -> float:
        """Log of the brightness lost in a time point."""
        if not (self.before.visible and self.after.visible):
            return 0.0
        return math.log(self.before.brightness / self.after.brightness) / self.steps


@dataclass(slots=True)
class Watch:
    """Knows what is usual for a field, and says what is not.

    Events are judged against the median of the last few changes, so that a trend is
    none: a cell that becomes faster step by step is not an event, and steady bleaching is not.
    """

    _paces: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _dimming: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _local: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def see(self, change: Change) -> str | None:
        """Take in a change; what kind of event it is, or None.

        Returns
        -------
        str or None
            `gone`, `brightness`, `focus`, `motion` or `somewhere`: the structure cannot be seen any
            more, is brighter or dimmer, softer or sharper, moves faster, or does so in a part of
            the field.
        """
        found = self._kind(change)
        self._paces.append(change.pace)
        self._dimming.append(change.dimming)
        self._local.append(change.local / math.sqrt(change.steps))
        return found

    def _kind(self, change: Change) -> str | None:
        if change.before.visible and not change.after.visible:
            return "gone"
        if not change.after.visible:
            return None
        if change.before.visible:
            expected = median(self._dimming) if len(self._dimming) > 1 else 0.0
            doubt = math.hypot(change.before.doubt, change.after.doubt)
            usual = median(abs(one - expected) for one in self._dimming) if self._dimming else 0.0
            unusual = max(_DIMMER, _SURELY * doubt, _SURELY * usual)
            if abs(change.dimming - expected) * change.steps > unusual:
                return "brightness"
            sharper = change.after.sharpness / max(change.before.sharpness, 1e-6)
            if abs(math.log(max(sharper, 1e-6))) > _SOFTER:
                return "focus"
        if len(self._paces) < 2:
            return None
        if change.pace > max(_FASTER * median(self._paces), _LEAST_CHANGE):
            return "motion"
        local = change.local / math.sqrt(change.steps)
        if local > max(_LOCALLY * median(self._local), _LEAST_LOCAL):
            return "somewhere"
        return None
