"""Errors of the devices room, each naming what was found and what would be accepted."""

from __future__ import annotations

from collections.abc import Sequence


class BindingError(ValueError):
    """The config asks for something this microscope does not have.

    Parameters
    ----------
    path
        Key path within the `microscope` section, outermost first.
    message
        What was found and what would be accepted, in one line.
    """

    def __init__(self, path: Sequence[str | int], message: str) -> None:
        super().__init__(message)
        self.path = tuple(path)


class LimitError(ValueError):
    """A shot asks for a setting outside its configured range; no device was touched."""


class DeviceFault(RuntimeError):
    """A device did not do what it was told, or delivered nothing."""


class StaysLit(DeviceFault):
    """Light could not be switched off after a frame; nothing is tried again before it is dark."""


class Hangs(DeviceFault):
    """A device did not answer within the time that it has."""


class GateClosed(DeviceFault):
    """Nothing may be moved or lit now; the device was not touched."""


class Interrupted(Exception):
    """It is to end before the microscope was open; the microscope is made safe and let go."""
