"""The devices of a microscope, and its config groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pymmcore_plus import DeviceType, PropertyType
from pymmcore_plus.experimental.unicore import UniMMCore

from devices import presets
from devices.config import Value
from devices.presets import Part
from devices.system_presets import GROUP as SYSTEM

Kind = Literal["real", "integer", "text"]
_KINDS: dict[PropertyType, Kind] = {PropertyType.Float: "real", PropertyType.Integer: "integer"}


@dataclass(frozen=True, slots=True)
class PropertyInfo:
    """A device property.

    Parameters
    ----------
    name
        What Micro-Manager calls it.
    kind
        `real`, `integer` or `text`.
    value
        Its present value; None if the device would not tell.
    limits
        Lowest and highest value, where the device has such.
    allowed
        The only values it takes; empty if there is no such list.
    read_only
        It cannot be set.
    before_loading
        It can be set in the .cfg only, before the device is initialized.
    """

    name: str
    kind: Kind
    value: Value | None
    limits: tuple[float, float] | None
    allowed: tuple[str, ...]
    read_only: bool
    before_loading: bool


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device.

    Parameters
    ----------
    label
        Its name on this microscope.
    library, name
        Adapter library (or Python module) and the device in it.
    type
        `Camera`, `Shutter`, `XYStage`, `Stage`, `State`, `Generic` …
    properties
        In the device's own order.
    """

    label: str
    library: str
    name: str
    type: str
    properties: tuple[PropertyInfo, ...]


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A config group.

    Parameters
    ----------
    name
        What Micro-Manager calls it.
    presets
        What each of its presets sets, by its name.
    current
        The preset that the devices have; empty where they have none.
    """

    name: str
    presets: dict[str, tuple[Part, ...]]
    current: str


def groups(core: UniMMCore) -> list[GroupInfo]:
    """Every config group but Micro-Manager's own `System`, in the order of their names."""
    found = []
    for group in map(str, core.getAvailableConfigGroups()):
        if group == SYSTEM:
            continue
        try:
            current = presets.current(core, group)
        except Exception:  # a device that is switched off must not hide the others
            current = ""
        names = map(str, core.getAvailableConfigs(group))
        found.append(
            GroupInfo(group, {name: presets.parts(core, group, name) for name in names}, current)
        )
    return found


def inventory(core: UniMMCore) -> list[DeviceInfo]:
    """Every device but Micro-Manager's core itself, in the order they were loaded."""
    return [
        DeviceInfo(
            label=label,
            library=str(core.getDeviceLibrary(label)),
            name=str(core.getDeviceName(label)),
            type=str(DeviceType(core.getDeviceType(label))),
            properties=tuple(_property(core, label, n) for n in core.getDevicePropertyNames(label)),
        )
        for label in core.getLoadedDevices()
        if core.getDeviceType(label) != DeviceType.CoreDevice
    ]


def _property(core: UniMMCore, label: str, name: str) -> PropertyInfo:
    kind: Kind = _KINDS.get(core.getPropertyType(label, name), "text")
    limits = None
    if core.hasPropertyLimits(label, name):
        limits = (
            float(core.getPropertyLowerLimit(label, name)),
            float(core.getPropertyUpperLimit(label, name)),
        )
    try:
        value = _plain(core.getProperty(label, name), kind)
    except Exception:  # a device that is switched off must not hide the others
        value = None
    return PropertyInfo(
        name=str(name),
        kind=kind,
        value=value,
        limits=limits,
        allowed=tuple(map(str, core.getAllowedPropertyValues(label, name))),
        read_only=bool(core.isPropertyReadOnly(label, name)),
        before_loading=bool(core.isPropertyPreInit(label, name)),
    )


def _plain(value: object, kind: Kind) -> Value:
    """Turn Micro-Manager's text into the number it stands for, where it does."""
    try:
        if kind == "integer":
            return int(float(str(value)))
        if kind == "real":
            return float(str(value))
    except ValueError:
        pass
    return str(value)
