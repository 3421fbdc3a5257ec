"""The channels of a measurement, and those of them that are driven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from devices.imspector.connection import Imspector
from devices.imspector.labels import ALL


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels of a measurement.

    Parameters
    ----------
    names
        Of all, by their numbers.
    scanned
        Numbers of those that a scan gives a frame of.
    used
        Numbers of those that are driven, in the order in which they were asked for.
    """

    names: tuple[str, ...]
    scanned: tuple[int, ...]
    used: tuple[int, ...]

    @classmethod
    def found(cls, link: Imspector, wanted: Sequence[str]) -> Channels:
        """Read them; all are driven if none is wanted.

        Raises
        ------
        ValueError
            One that is wanted is not there, or two have the name of one that is driven.
        """
        names, scanned = _read(link)
        there = [names[number] for number in scanned]
        for name in wanted:
            if name not in there:
                raise ValueError(
                    f"`channels`: found {name!r}; accepted: {', '.join(map(repr, there))}"
                )
        used = tuple(names.index(name) for name in wanted) or scanned
        for name in (names[number] for number in used):
            if (many := there.count(name)) > 1:
                raise ValueError(
                    f"{many} channels of the measurement are called {name!r}; accepted: names that"
                    " differ, by which their stacks are found"
                )
        return cls(names, scanned, used)

    def name(self, channel: int) -> str:
        """Of a driven channel, as its properties have it behind them; empty if there is one."""
        return f" {self.names[channel]}" if len(self.used) > 1 else ""

    @property
    def driven(self) -> tuple[str, ...]:
        """Names of those that are driven."""
        return tuple(self.names[channel] for channel in self.used)

    @property
    def of_a_scan(self) -> tuple[str, ...]:
        """Names of those that a scan gives a frame of."""
        return tuple(self.names[channel] for channel in self.scanned)


def _read(link: Imspector) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names, and numbers of those that are scanned."""
    layout = link.layout
    if layout.channels is not None:
        entries: list[Any] = link.read(layout.channels)
        names = tuple(
            str(entry.get("name") or f"channel {number}") for number, entry in enumerate(entries)
        )
        return names, tuple(range(len(names)))
    recorded = None if layout.recorded is None else link.find(layout.recorded)
    if not isinstance(recorded, list) or not any(recorded):
        return (ALL,), (0,)
    # Their stacks are called so.
    return (
        tuple(f"Ch{1 + number}" for number in range(len(recorded))),
        tuple(number for number, one in enumerate(recorded) if one),
    )
