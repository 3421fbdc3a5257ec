"""A property that has to be written again and again, or the controller switches its light off."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from devices.setting import Model, SettingConfig, Value
from devices.values import send

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


def _several(value: object) -> object:
    return (value,) if isinstance(value, str | int | float) else value


class WatchdogConfig(Model):
    """A watchdog of the hardware, and how it is fed."""

    device: str = Field(description="Micro-Manager device label")
    property: str = Field(description="property of that device")
    values: Annotated[tuple[Value, ...], BeforeValidator(_several)] = Field(
        min_length=1, description="what is written: one value, or several in turn"
    )
    every_s: float = Field(
        gt=0, description="time between two of them (s); a third of what the controller waits for"
    )
    rest: Value | None = Field(
        None, description="written at the end, in the dark; without it the watchdog runs out"
    )

    def where(self) -> str:
        """Device and property, for messages."""
        return f"{self.device}.{self.property}"

    def as_setting(self) -> SettingConfig:
        """A setting of all values that are ever written."""
        rest = () if self.rest is None else (self.rest,)
        return SettingConfig(
            device=self.device,
            property=self.property,
            kind="choice",
            choices=tuple(dict.fromkeys((*self.values, *rest))),
            start=self.values[0],
        )


class Watchdog:
    """The watchdog of an open core.

    It lights and moves nothing, so that it is fed beside a call that takes long.

    Parameters
    ----------
    core, config
        The devices, and which property of theirs.
    """

    def __init__(self, core: UniMMCore, config: WatchdogConfig) -> None:
        self.config = config
        self._core = core
        self._values = cycle(config.values)

    def feed(self) -> None:
        """Write the next value.

        Raises
        ------
        Exception
            Any error of the device.
        """
        self._write(next(self._values))

    def rest(self) -> None:
        """Write the last value, if there is one for it.

        Raises
        ------
        Exception
            Any error of the device.
        """
        if self.config.rest is not None:
            self._write(self.config.rest)

    def _write(self, value: Value) -> None:
        send(self._core, self.config.device, self.config.property, value)
