"""Line accumulations: how often each line is scanned, in the steps that a channel is scanned in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from devices.imspector.connection import Imspector
from devices.imspector.driven import Driven


class LineSteps:
    """The line steps of a measurement; a channel is scanned in one of them, or in several.

    Parameters
    ----------
    link, driven
        The connection, and what is watched.
    channels
        How many there are.
    """

    def __init__(self, link: Imspector, driven: Driven, channels: int) -> None:
        self._driven, layout = driven, link.layout
        self._path = layout.lines
        self._on = bool(link.find(layout.lines_on)) and link.find(layout.lines) is not None
        repeated = None if layout.repetitions is None else link.find(layout.repetitions)
        self._times = max(1, int(repeated or 1))
        there = _flags(link.find(layout.steps_active) or [])
        self._steps = [there] * channels
        if layout.line_steps is not None:
            self._steps = [
                there & _flags(link.find(layout.at(layout.line_steps, channel=channel)) or [])
                for channel in range(channels)
            ]
        elif layout.lines_detectors is not None and (on := link.find(layout.lines_detectors)):
            self._steps = [
                there & _flags(flags[channel] for flags in on) for channel in range(channels)
            ]

    def settable(self, channels: Collection[int]) -> bool:
        """Whether there is one number for each of these channels, and it is used once."""
        alone = all(len(self._steps[channel]) == 1 for channel in channels)
        return self._on and self._times == 1 and alone

    def of(self, channel: int, *, ask: bool = False) -> int:
        """How often each line of a channel is scanned.

        Parameters
        ----------
        channel
            Its number.
        ask
            Read it again, instead of what was known last.
        """
        if not self._on:
            return self._times
        lines = self._driven.get(self._path) if ask else self._driven.known(self._path)
        return self._times * sum(int(lines[step]) for step in self._steps[channel])

    def passes(self, dwells_s: Sequence[float]) -> float:
        """How long the beam is on each pixel in a whole scan (s).

        Parameters
        ----------
        dwells_s
            Dwell time of each channel (s); channels of one step are scanned at the same time.
        """
        if not self._on:
            return self._times * max(dwells_s)
        lines = self._driven.known(self._path)
        return self._times * sum(
            int(count) * max(dwells, default=0.0)
            for step, count in enumerate(lines)
            for dwells in [
                [one for one, steps in zip(dwells_s, self._steps, strict=True) if step in steps]
            ]
        )

    def set(self, channels: Collection[int], lines: int) -> None:
        """Set it for some channels: the whole list at once, as public clients do."""
        wanted = list(self._driven.known(self._path))
        for channel in channels:
            for step in self._steps[channel]:
                wanted[step] = lines
        self._driven.set(self._path, wanted)


def _flags(found: Any) -> set[int]:
    """Which of a list are set."""
    return {number for number, one in enumerate(found) if one}
