"""Config groups of a `.cfg`: what their presets set, and which of them the devices have.

A preset is set one property at a time, as Micro-Manager does it, so that each single call passes
the light gate: `setConfig` as a whole would go on behind the back of a microscope made safe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices.errors import DeviceFault, GateClosed
from devices.light_like import is_light_like, opens_shutter
from devices.values import same, send

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

CORE = "Core"
"""The label of Micro-Manager itself, whose properties are roles."""
SHUTTER = "Shutter"
"""Its property that says which shutter is opened for a frame."""


@dataclass(frozen=True, slots=True)
class Part:
    """One property of a preset, and the value that it has there.

    Parameters
    ----------
    device, prop, value
        As the `.cfg` writes them.
    """

    device: str
    prop: str
    value: str

    @property
    def where(self) -> str:
        """Device and property."""
        return f"{self.device}.{self.prop}"

    def put(self, core: UniMMCore) -> None:
        """Set it.

        Raises
        ------
        Exception
            Any error of the device.
        """
        if (self.device, self.prop) == (CORE, SHUTTER):
            # As a property, it takes none that is written in Python, and after one no other.
            core.setShutterDevice("")
            core.setShutterDevice(self.value)
        else:
            send(core, self.device, self.prop, self.value)

    def get(self, core: UniMMCore) -> str:
        """What the device has.

        Raises
        ------
        Exception
            Any error of the device.
        """
        if (self.device, self.prop) == (CORE, SHUTTER):
            return str(core.getShutterDevice())
        return str(core.getProperty(self.device, self.prop))

    def is_there(self, core: UniMMCore) -> bool:
        """Whether the device has this value."""
        return same(self.get(core), self.value)


def defined(core: UniMMCore, group: str, preset: object) -> bool:
    """Whether there is such a preset."""
    return bool(core.isConfigDefined(group, str(preset)))


def parts(core: UniMMCore, group: str, preset: object) -> tuple[Part, ...]:
    """What a preset sets, in its own order.

    Raises
    ------
    ValueError
        There is no such preset.
    """
    return tuple(Part(*map(str, each)) for each in core.getConfigData(group, str(preset)))


def devices_of(core: UniMMCore, group: str, presets: Iterable[object]) -> frozenset[str]:
    """Devices that these presets set, without Micro-Manager itself."""
    return frozenset(
        part.device
        for preset in presets
        for part in parts(core, group, preset)
        if part.device != CORE
    )


def apply(
    core: UniMMCore, group: str, preset: object, put: Callable[[Part], object] | None = None
) -> None:
    """Set a preset; what a device refuses is tried again after the others, as long as that helps.

    Parameters
    ----------
    core, group, preset
        Which.
    put
        Sets one property; `Part.put` if absent.

    Raises
    ------
    RuntimeError
        Properties were refused: names them. All others are set.
    GateClosed
        Nothing may be set any more.
    """
    _apply(core, parts(core, group, preset), put)


def darken(core: UniMMCore, parts: Iterable[Part]) -> None:
    """Set a preset that is safe, what looks like light before what may take its time.

    Raises
    ------
    RuntimeError
        Properties were refused. All others are set.
    """
    _apply(core, sorted(parts, key=lambda part: not _lights(core, part)), None)


def _lights(core: UniMMCore, part: Part) -> bool:
    what = core, part.device, part.prop
    return part.device != CORE and (is_light_like(*what) or opens_shutter(*what))


def _apply(core: UniMMCore, pending: Iterable[Part], put: Callable[[Part], object] | None) -> None:
    left = list(pending)
    while left:
        refused: dict[Part, Exception] = {}
        for part in left:
            try:
                part.put(core) if put is None else put(part)
            except GateClosed:
                raise
            except Exception as error:
                refused[part] = error
        if len(refused) == len(left):
            raise RuntimeError("; ".join(map(_said, refused, refused.values())))
        left = list(refused)


def _said(part: Part, error: Exception) -> str:
    # A fault names what it could not set.
    if isinstance(error, DeviceFault):
        return str(error)
    return f"{part.where} = {part.value}: {error}"


def lacking(core: UniMMCore, parts: Iterable[Part], preset: object) -> str | None:
    """How the devices differ from what a preset sets; None where all are as it says."""
    for part in parts:
        if not same(has := part.get(core), part.value):
            return f"{part.where} is {has}, not {part.value} as preset {str(preset)!r} says"
    return None


def current(core: UniMMCore, group: str) -> str:
    """The first preset that the devices have; empty where they have none."""
    for preset in core.getAvailableConfigs(group):
        found = parts(core, group, preset)
        if found and all(part.is_there(core) for part in found):
            return str(preset)
    return ""
