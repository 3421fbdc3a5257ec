"""Light that depends on the sample: RESCue and DyMIN."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from devices.imspector.channels import Channels
from devices.imspector.connection import Imspector
from devices.imspector.driven import Driven

SETTINGS = {"RescueLevel": "signal_level", "RescueStrength": "strength"}
"""Properties of the scan engine, and the values that they are."""


@dataclass(frozen=True, slots=True)
class Adaptive:
    """How the light of a channel depends on the sample.

    Parameters
    ----------
    path
        Of what says so.
    said
        What it says.
    probe
        Number of the channel whose signal decides; None for its own.
    """

    path: str
    said: str
    probe: int | None = None


def adaptive(link: Imspector, channel: int) -> Adaptive | None:
    """How the light of a channel depends on the sample; None where it does not.

    From 16.3 on, a channel has a mode, which is 0 where it decides nothing itself, and may have
    another channel by whose signal it is decided: so DyMIN works. Before, it is on or off.
    """
    path = link.layout.at(link.layout.rescue, channel=channel)
    found = link.find(path)
    if not isinstance(found, dict):
        return None
    if "on" in found:
        return Adaptive(f"{path}/on", "is on") if found["on"] else None
    if not found.get("rescue_allowed", True):
        return None
    if probe := str(found.get("probe_channel") or ""):
        return Adaptive(f"{path}/probe_channel", f"is {probe!r}", _numbered(link, probe))
    mode = found.get("rescue_mode", 0)
    return Adaptive(f"{path}/rescue_mode", f"is {mode}") if mode else None


def _numbered(link: Imspector, identity: str) -> int | None:
    """Number of the channel that has an identity."""
    every = link.find(link.layout.channels) if link.layout.channels is not None else None
    known = [str(entry.get("id", "")) for entry in every or ()]
    return known.index(identity) if identity in known else None


def check_rescue(link: Imspector, channels: Channels, *, accepted: bool) -> None:
    """Before any light: unless the light of a driven channel is all that its settings say.

    Parameters
    ----------
    link, channels
        The connection, and the channels.
    accepted
        It may end early, so that doses are upper bounds.

    Raises
    ------
    ValueError
        It may end early, or does so by the signal of a channel that is scanned without any laser.
    """
    for channel in channels.used:
        if (found := adaptive(link, channel)) is None:
            continue
        name = channels.names[channel]
        if not accepted:
            raise ValueError(
                f"RESCue or DyMIN ends the light of channel {name!r} early ({found.path}"
                f" {found.said}); accepted: none, switched off in Imspector, or `rescue: true`,"
                " with which doses are counted as if it did not: upper bounds"
            )
        if found.probe is not None and found.probe not in channels.used:
            other = channels.names[found.probe]
            raise ValueError(
                f"channel {name!r} is lit where {other!r} has signal ({found.path}), which is not"
                " driven and therefore has no laser; accepted: both in `channels`"
            )


def rescue_properties(
    link: Imspector, driven: Driven, channel: int
) -> Iterator[tuple[str, Callable[[], float], Callable[[float], None] | None]]:
    """Name, getter and setter of each value of a channel that can be bound."""
    path = link.layout.at(link.layout.rescue, channel=channel)
    found: Any = link.find(path)
    if not isinstance(found, dict):
        return
    for name, key in SETTINGS.items():
        if key in found:
            at = f"{path}/{key}"
            yield name, _getter(driven, at), _setter(driven, at)
    for key in ("rescue_mode", "on"):
        if key in found:
            yield "RescueMode", _getter(driven, f"{path}/{key}"), None


def _getter(driven: Driven, path: str) -> Callable[[], float]:
    return lambda: driven.number(path)


def _setter(driven: Driven, path: str) -> Callable[[float], None]:
    return lambda value: driven.set(path, float(value))
