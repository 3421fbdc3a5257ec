"""Sudden events: what a frame shows that the ones before do not lead one to expect."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from agent.plans.adaptive.motion import Look

_REMEMBERED = 7
"""Changes of which the median is what is usual."""
_FASTER = 2.2
"""Pace, as a multiple of the usual one, that is an event."""
_LEAST_CHANGE = 0.12
"""Pace below which there is no event, whatever is usual."""
_DIMMER, _SOFTER, _SURELY = 0.3, 0.5, 4.0
_LEAST = 1e-6
"""Sharpness below which it counts as this, so that its logarithm is finite."""
_LOCALLY = 3.0
"""Local change, as a multiple of the usual one, that is an event."""
_LEAST_LOCAL = 0.35
"""Local change below which there is no event, whatever is usual."""


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

    Examples
    --------
    >>> same = Look(brightness=5.0, sharpness=0.3, doubt=0.01, fine_doubt=0.01, visible=True)
    >>> change = Change(steps=2, likeness=0.96, local=0.1, before=same, after=same)
    >>> round(change.pace, 2), change.dimming
    (0.14, 0.0)
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

    def missed(self, t: float) -> float:
        """Relative error of a frame at t between the two, if the change came at once between them.

        Whenever that was, all times being alike, a rebuilt frame that leads from the one to the
        other is wrong by √(t (1 − t)) of their difference, in the root of the mean square.
        """
        if not (self.before.visible and self.after.visible):
            return 1.0
        gain = self.after.brightness / self.before.brightness
        both = 1 + gain**2
        return math.sqrt(max(2 * (both - 2 * gain * self.likeness) / both * t * (1 - t), 0.0))

    @property
    def dimming(self) -> float:
        """Log of the brightness lost in a time point."""
        if not (self.before.visible and self.after.visible):
            return 0.0
        return math.log(self.before.brightness / self.after.brightness) / self.steps


@dataclass(slots=True)
class Watch:
    """Learns a field's usual changes, and reports unusual ones.

    Events are judged against the median of the last few changes, so that a trend is
    none: a cell that becomes faster step by step is not an event, and steady bleaching is not.

    Examples
    --------
    >>> same = Look(brightness=5.0, sharpness=0.3, doubt=0.01, fine_doubt=0.01, visible=True)
    >>> steady, sudden = (Change(1, likeness, 0.1, same, same) for likeness in (0.99, 0.2))
    >>> watch = Watch()
    >>> [watch.see(steady) for _ in range(4)], watch.see(sudden)
    ([None, None, None, None], 'motion')
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
        before, after, steps = change.before, change.after, change.steps
        if not after.visible:
            return "gone" if before.visible else None
        if not before.visible:
            return None
        doubt = math.hypot(before.doubt, after.doubt)
        expected = median(self._dimming) if len(self._dimming) > 1 else 0.0
        usual = median(abs(one - expected) for one in self._dimming) if self._dimming else 0.0
        unusual = max(_DIMMER, _SURELY * doubt, _SURELY * usual)
        if abs(change.dimming - expected) * steps > unusual:
            return "brightness"
        softer = abs(math.log(max(before.sharpness, _LEAST) / max(after.sharpness, _LEAST)))
        if softer > max(_SOFTER, _SURELY * math.hypot(before.fine_doubt, after.fine_doubt)):
            return "focus"
        if len(self._paces) < 2:
            return None
        # What noise may add to a likeness, in the units of a pace.
        noise = math.sqrt(_SURELY * doubt / steps)
        if change.pace > max(math.hypot(_FASTER * median(self._paces), noise), _LEAST_CHANGE):
            return "motion"
        local = change.local / math.sqrt(steps)
        if local > max(math.hypot(_LOCALLY * median(self._local), noise), _LEAST_LOCAL):
            return "somewhere"
        return None
