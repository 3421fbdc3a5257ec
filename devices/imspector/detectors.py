"""Detectors: gain and gate of each driven channel, and what ends its light early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from devices.imspector.channels import Channels
from devices.imspector.connection import Imspector
from devices.imspector.driven import Driven, scaled
from devices.imspector.rescue import rescue_properties

_PER_CENT = (0.0, 100.0)
"""Gains that are accepted where Imspector states no limits, in the units of the calibration."""
_GATE_S = (0.0, 2.5e-8)
"""Gate delays and widths likewise (s): the time between two pulses at 40 MHz."""


@dataclass(frozen=True, slots=True)
class Property:
    """A number of the scan engine.

    Parameters
    ----------
    name
        Of the property; that of the channel is behind it where several are driven.
    get, set
        Read it, and change it; None where it is only read.
    limits
        Least and greatest; None where none are known.
    kind
        Its type.
    """

    name: str
    get: Callable[[], float]
    set: Callable[[float], None] | None
    limits: tuple[float, float] | None = None
    kind: type = float


def detector_properties(link: Imspector, driven: Driven, channels: Channels) -> Iterator[Property]:
    """What can be bound of each driven channel's detector, as far as it has it."""
    for channel in channels.used:
        behind = channels.name(channel)
        for one in _of(link, driven, channel):
            yield Property(f"{one.name}{behind}", one.get, one.set, one.limits, one.kind)


def _of(link: Imspector, driven: Driven, channel: int) -> Iterator[Property]:
    layout = link.layout
    if layout.gain is not None and _has_gain(link, channel):
        yield _single(link, driven, "Gain", layout.at(layout.gain, channel=channel), 1, _PER_CENT)
    gate = {"GateDelay_ns": layout.gate_delay, "GateWidth_ns": layout.gate_width}
    for name, template in gate.items():
        if template is not None:
            path = layout.at(template, channel=channel)
            yield _single(link, driven, name, path, 1e9, _GATE_S)
    if layout.gate_active is not None:
        path = layout.at(layout.gate_active, channel=channel)
        yield Property(
            "Gate",
            partial(driven.number, path),
            lambda value: driven.set(path, bool(value)),
            (0, 1),
            int,
        )
    if layout.gate_delays is not None and isinstance(link.find(layout.gate_delays), list):
        every = layout.gate_delays
        yield Property(
            "GateDelay_ns",
            lambda: 1e9 * driven.number_in(every, channel),
            lambda value: driven.set_in(every, channel, value * 1e-9),
            scaled(_GATE_S, 1e9),
        )
    for name, get, put in rescue_properties(link, driven, channel):
        yield Property(name, get, put)


def _has_gain(link: Imspector, channel: int) -> bool:
    """Whether a detector has one; those that count photons have a calibration without a name."""
    at, layout = link.layout.at, link.layout
    if layout.gain_calibration is None:
        return True
    return bool(link.find(at(layout.gain_calibration, channel=channel)) != "")


def _single(
    link: Imspector,
    driven: Driven,
    name: str,
    path: str,
    scale: float,
    limits: tuple[float, float],
) -> Property:
    return Property(
        name,
        lambda: driven.number(path) * scale,
        lambda value: driven.set(path, float(value) / scale),
        scaled(link.values.limits(path) or limits, scale),
    )
