"""Channels and planes beside the series that decides: each is rebuilt from its own frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.config.time_points import TimePointsConfig
from agent.plan import Frame, Rebuild

Series = tuple[int, int]
"""Channel and plane, by number."""


class SeriesBeside:
    """Those of one field; nothing where a time point has a single frame of it.

    Parameters
    ----------
    config
        Channels and planes of a time point, and which of them decide.
    """

    def __init__(self, config: TimePointsConfig) -> None:
        self._modes = config.modes()
        mode, plane = config.decisive()
        self._decides = self._modes.index(mode), plane or 0
        self._frames: dict[int, dict[Series, int]] = {}
        """Numbers of the frames of the latest time points."""

    def take(self, point: int, frames: Sequence[Frame]) -> None:
        """Take in the frames of a time point, that of the series that decides among them."""
        found = {}
        for frame in frames:
            plane = frame.shot.plane
            series = self._modes.index(frame.shot.mode), plane.index if plane else 0
            if series != self._decides:
                found[series] = frame.index
        kept = sorted(self._frames)[-1:]
        self._frames = {at: self._frames[at] for at in kept} | {point: found}

    def requests(self, decisive: Rebuild) -> Iterator[Rebuild]:
        """Requests for the time points that are rebuilt in the series that decides."""
        (_, start), (_, end) = decisive.before, decisive.after
        if not decisive.points or start not in self._frames or end not in self._frames:
            return
        for series, last in self._frames[end].items():
            if (first := self._frames[start].get(series)) is not None:
                yield replace(
                    decisive,
                    before=(first, start),
                    after=(last, end),
                    audits=(),
                    wait=False,
                    series=series,
                )

    def noted(self, note: Mapping[str, Any]) -> Mapping[str, Any]:
        """A note on the series that decides, with what the frames beside it are."""
        if not self._frames:
            return note
        now = self._frames[note["point"]]
        skipped = [mark["point"] for mark in note["frames"] if mark["frame"] is None]
        beside = [
            {"channel": channel, "plane": plane, "point": point, "kind": kind, "frame": frame}
            for (channel, plane), taken in now.items()
            for point, kind, frame in (
                *((point, "reconstructed", None) for point in skipped),
                (note["point"], "measured", taken),
            )
        ]
        return {**note, "beside": beside}
