"""How long the beam is on a pixel, each time that it passes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from devices.imspector.connection import Imspector
from devices.imspector.driven import Driven
from devices.imspector.lines import LineSteps
from devices.imspector.values import number_of, same

_LOOKS = 12
"""At what follows from a value that was set."""
_POLL_S = 0.02
"""Between two of them (s)."""


class PixelTimes:
    """The time of each pass over a pixel, in each channel.

    From 16.3 on it is that of a pixel step, and what a channel has as its dwell time follows from
    it: in a measurement of a real system, one of 10 µs is 10, 20 and 30 µs in channels whose lines
    are scanned once, twice and three times. Where a channel has one that does not follow, it is its
    own. Before 16.3 there is one for all.

    Parameters
    ----------
    link, driven, lines
        The connection, what is watched, and how often lines are scanned.
    channels
        How many there are.

    Raises
    ------
    ValueError
        Several pixel steps are scanned.
    """

    def __init__(self, link: Imspector, driven: Driven, lines: LineSteps, channels: int) -> None:
        layout = link.layout
        self._driven, self._lines = driven, lines
        self._own = [layout.at(layout.dwell, channel=channel) for channel in range(channels)]
        self._steps, self._step = layout.pixel_times, 0
        if layout.pixel_times is None or not isinstance(link.find(layout.pixel_times), list):
            self._steps = None
            return
        active = [number for number, one in enumerate(_found(link, layout.pixel_steps)) if one]
        if _found(link, layout.pixel_steps_on) and len(active) > 1:
            raise ValueError(
                f"{len(active)} pixel steps are scanned ({layout.pixel_steps}); accepted: one"
            )
        self._step = next(iter(active), 0)
        driven.follow(self._own)

    @property
    def path(self) -> str:
        """Of what is set."""
        return self._steps or self._own[0]

    def of(self, channel: int, *, ask: bool = False) -> float:
        """Time of a pass in a channel (s).

        Parameters
        ----------
        channel
            Its number.
        ask
            Read it again, instead of what was known last.
        """
        read = self._driven.get if ask else self._driven.known
        own = self._own[channel]
        if self._steps is None:
            return number_of(own, read(own))
        step = number_of(self._steps, read(self._steps)[self._step])
        found = number_of(own, self._driven.known(own))
        return step if self._follows(channel, found, step) else found

    def set(self, channels: Iterable[int], seconds: float) -> None:
        """Set it for some channels."""
        if self._steps is None:
            for path in dict.fromkeys(self._own[channel] for channel in channels):
                self._driven.set(path, seconds)
            return
        self._driven.set_in(self._steps, self._step, seconds)
        self.forget()
        for channel in channels:
            if not self._soon_follows(channel, seconds):
                self._driven.set(self._own[channel], seconds)

    def _soon_follows(self, channel: int, step: float) -> bool:
        """Whether a channel's dwell time follows; it may do so a little later."""
        own = self._own[channel]
        for _ in range(_LOOKS):
            self._driven.forget([own])
            if self._follows(channel, number_of(own, self._driven.get(own)), step):
                return True
            time.sleep(_POLL_S)
        return False

    def forget(self) -> None:
        """What channels have follows from what was set."""
        if self._steps is not None:
            self._driven.forget(self._own)

    def _follows(self, channel: int, own: float, step: float) -> bool:
        return same(own, step) or same(own, step * self._lines.of(channel))


def _found(link: Imspector, path: str | None) -> Sequence[Any] | Any:
    return (link.find(path) if path is not None else None) or ()
