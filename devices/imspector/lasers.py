"""Lasers, and the beam: light falls on the sample while Imspector scans, and at no other time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

from pymmcore_plus.experimental.unicore import ShutterDevice

from devices.imspector.channels import Channels
from devices.imspector.connection import Imspector
from devices.imspector.driven import Driven
from devices.imspector.errors import NotOpen
from devices.imspector.values import number_of, same

_PER_CENT = (0.0, 100.0)
"""Powers that are accepted where Imspector states no limits, in the units of the calibration."""


class Laser(ShutterDevice):
    """A laser as the scan uses it: its power, and whether it is used at all.

    It shines on the sample while Imspector scans, and at no other time. Open means that a channel
    uses it; closing it takes it out of all channels, and a power above 0 puts it in again.

    Parameters
    ----------
    link, driven
        The connection, and what is watched.
    number
        Among Imspector's lasers.
    channels
        Those of the measurement; each that is driven has a power, unless they share theirs.
    emission
        Path of what says whether its head emits; None where there is none.
    """

    def __init__(
        self,
        link: Imspector,
        driven: Driven,
        number: int,
        channels: Channels,
        emission: str | None,
    ) -> None:
        super().__init__()
        self._link, self._driven = link, driven
        self._emission = emission
        at = link.layout.at
        power, used = link.layout.power, link.layout.active
        every = range(len(channels.names))
        self._power = {channel: at(power, channel=channel, laser=number) for channel in every}
        self._used = (
            {channel: at(used, channel=channel, laser=number) for channel in every}
            if used is not None
            else {}
        )
        self._number = number
        self._powers = tuple(dict.fromkeys(self._power.values()))
        for channel in channels.used if len(self._powers) > 1 else channels.used[:1]:
            name = channels.name(channel) if len(self._powers) > 1 else ""
            self.register_property(
                f"Power{name}",
                limits=link.values.limits(self._power[channel]) or _PER_CENT,
                property_type=float,
                getter=self._getter(channel),
                setter=self._setter(channel),
            )
        if emission is not None:
            self.register_property(
                "Emission",
                property_type=int,
                is_read_only=True,
                getter=Laser._get_emission,
            )

    def _get_emission(self) -> int:
        return int(bool(self._emission and self._link.read(self._emission)))

    def _getter(self, channel: int) -> Callable[[Laser], float]:
        def get_power(laser: Laser) -> float:
            try:
                return laser._driven.number(laser._power[channel])
            except NotOpen:  # of a measurement that was closed, nothing can be scanned
                return 0.0

        return get_power

    def _setter(self, channel: int) -> Callable[[Laser, float], None]:
        def set_power(laser: Laser, value: float) -> None:
            try:
                laser._driven.set(laser._power[channel], float(value))
            except NotOpen:
                if value > 0:
                    raise
                return
            if value > 0 and channel in laser._used:
                laser._driven.set(laser._used[channel], True)

        return set_power

    def get_open(self) -> bool:
        """Whether any channel uses it; none does of a measurement that was closed."""
        try:
            if self._used:
                return any(bool(self._link.read(path)) for path in self._used.values())
            return any(map(self._lit, self._powers))
        except NotOpen:
            return False

    def _lit(self, power: str) -> bool:
        return number_of(power, self._link.read(power)) > 0

    def set_open(self, open: bool) -> None:
        """Take it out of all channels; only a power puts it in."""
        if not open:
            with suppress(NotOpen):
                self._close()

    def _close(self) -> None:
        self._link.claim()
        for path in self._paths_of_all():
            value = False if self._used else 0.0
            if not same(self._link.read(path), value):
                self._driven.set(path, value)
            self._driven.keep(path)

    def _paths_of_all(self) -> Iterator[str]:
        """What takes it out of each channel that there is by now."""
        layout = self._link.layout
        if layout.active is None or layout.channels is None:
            yield from self._powers
            return
        for channel in range(len(self._link.read(layout.channels))):
            yield layout.at(layout.active, channel=channel, laser=self._number)

    def check(self) -> None:
        """Before a scan.

        Raises
        ------
        RuntimeError
            A channel uses it, and its head does not emit: the interlock, or its key.
        """
        if self._emission is None or bool(self._link.read(self._emission)):
            return
        if self.get_open() and any(map(self._lit, self._powers)):
            raise RuntimeError(f"{self.get_label()} does not emit ({self._emission} is off)")


class Beam(ShutterDevice):
    """Whether Imspector may scan: light falls on the sample then, and at no other time."""

    def __init__(self, link: Imspector) -> None:
        super().__init__()
        self._link = link
        self.allowed = False

    def get_open(self) -> bool:
        """Whether it may, or does."""
        return self.allowed or self._link.scanning

    def set_open(self, open: bool) -> None:
        """Allow it, or stop it."""
        self.allowed = bool(open)
        if not open:
            self._link.stop()

    def shutdown(self) -> None:
        """Stop it; whether it could be was said when it was made safe."""
        with suppress(RuntimeError):
            self.set_open(False)
