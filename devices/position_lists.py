"""Position lists of Micro-Manager.

Micro-Manager 1.4 writes `POSITIONS` with `DEVICES`, each with `AXES`, `X`, `Y`, `Z`; the position
of a stage of one axis is its `X`. Micro-Manager 2 writes a property map with `StagePositions`, each
with `DevicePositions`. Both say for each stage where it is, by its label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from devices.position import (
    MOST_STAGES,
    Position,
    Positions,
    PositionsError,
    called,
    name_of,
    number_of,
)
from devices.refusals import refused, shortened

_VERSIONS = (1, 2, 3)
"""Of position lists of Micro-Manager 1; the three that it wrote."""


_MAP_VERSION = 2
"""Major version of the property maps in which Micro-Manager 2 writes them."""


class _Stage(NamedTuple):
    """One stage of a place."""

    label: str
    at_um: tuple[float, ...]


def micro_manager_1(data: dict[str, Any]) -> Positions:
    """The places of a list of version 1.4; `PositionsError` where it says none."""
    version = data.get("VERSION")
    if version not in _VERSIONS or isinstance(version, bool):
        accepted = ", ".join(map(str, _VERSIONS))
        raise PositionsError(f"`VERSION`: {refused(version, f'{accepted}, of Micro-Manager 1.4')}")
    found = []
    for number, one in enumerate(_list(data, "POSITIONS", "`POSITIONS`")):
        where = called(number, "")
        if not isinstance(one, dict):
            raise PositionsError(f"{where}: {refused(one, 'LABEL and DEVICES')}")
        name = name_of(one.get("LABEL", ""), where, "LABEL")
        where = called(number, name)
        stages = []
        for device in _list(one, "DEVICES", f"{where}: `DEVICES`"):
            if not isinstance(device, dict):
                raise PositionsError(f"{where}: {refused(device, 'DEVICE, AXES, X, Y, Z')}")
            label = _label(device.get("DEVICE"), where, "DEVICE")
            axes = device.get("AXES")
            if axes not in (1, 2) or isinstance(axes, bool):
                raise PositionsError(
                    f"{where}: {label}: `AXES`: {refused(axes, '1, or 2 of an XY stage')}"
                )
            keys = ("X", "Y")[: int(axes)]
            at = tuple(number_of(device.get(key), f"{where}: {label}: `{key}`") for key in keys)
            stages.append(_Stage(label, at))
        found.append((name, stages))
    return _placed(found)


def micro_manager_2(data: dict[str, Any]) -> Positions:
    """The places of a list of version 2; `PositionsError` where it says none."""
    kind = data.get("format", "Micro-Manager Property Map")
    if kind != "Micro-Manager Property Map":
        raise PositionsError(f"`format`: {refused(kind, 'Micro-Manager Property Map')}")
    version = data.get("major_version", _MAP_VERSION)
    if version != _MAP_VERSION:
        raise PositionsError(f"`major_version`: {refused(version, str(_MAP_VERSION))}")
    properties = data.get("map")
    if not isinstance(properties, dict):
        raise PositionsError(f"`map`: {refused(properties, 'StagePositions')}")
    if "StagePositions" not in properties:
        has = ", ".join(map(str, properties)) or "nothing"
        raise PositionsError(f"`map`: has {shortened(has, quoted=False)}; accepted: StagePositions")
    found = []
    for number, one in enumerate(_values(properties, "StagePositions", "`map`")):
        where = called(number, "")
        name = name_of(_value(one, "Label", where) if _has(one, "Label") else "", where, "Label")
        where = called(number, name)
        stages = []
        for device in _values(one, "DevicePositions", where):
            label = _label(_value(device, "Device", where), where, "Device")
            at = _values(device, "Position_um", f"{where}: {label}")
            if len(at) not in (1, 2):
                raise PositionsError(
                    f"{where}: {label}: `Position_um`: "
                    f"{refused(at, 'one number, or two of an XY stage')}"
                )
            key = f"{where}: {label}: `Position_um`"
            stages.append(_Stage(label, tuple(number_of(value, key) for value in at)))
        found.append((name, stages))
    return _placed(found)


def _placed(found: list[tuple[str, list[_Stage]]]) -> Positions:
    """Places from what a list says of each stage."""
    places: list[Position] = []
    xy_stage: str | None = None
    for number, (name, stages) in enumerate(found):
        where = called(number, name)
        labels = [stage.label for stage in stages]
        for label in labels:
            if labels.count(label) > 1:
                raise PositionsError(f"{where}: {label} is there twice; accepted: each stage once")
        planes = [stage for stage in stages if len(stage.at_um) == 2]
        if len(planes) != 1:
            has = " and ".join(stage.label for stage in planes) or "no XY stage"
            alone = f" ({', '.join(labels)} alone)" if labels and not planes else ""
            raise PositionsError(f"{where}: has {has}{alone}; accepted: one stage of two axes")
        label, (x_um, y_um) = planes[0].label, planes[0].at_um
        if xy_stage is not None and label != xy_stage:
            raise PositionsError(
                f"{where}: is of XY stage {label!r}, those before of {xy_stage!r}; accepted: one"
            )
        xy_stage = label
        others = {stage.label: stage.at_um[0] for stage in stages if len(stage.at_um) == 1}
        if len(others) > MOST_STAGES:
            raise PositionsError(
                f"{where}: has {len(others)} stages of one axis; accepted: {MOST_STAGES}"
            )
        places.append(Position(name, x_um, y_um, None, others))
    return Positions(places, xy_stage)


def _list(data: Mapping[str, Any], key: str, where: str) -> list[Any]:
    value = data.get(key)
    if not isinstance(value, list):
        raise PositionsError(f"{where}: {refused(value, 'a list')}")
    return value


def _has(properties: object, key: str) -> bool:
    return isinstance(properties, dict) and key in properties


def _property(properties: object, key: str, where: str) -> dict[str, Any]:
    found = properties.get(key) if isinstance(properties, dict) else None
    if not isinstance(found, dict):
        raise PositionsError(f"{where}: `{key}`: {refused(found, 'a property with its type')}")
    return found


def _value(properties: object, key: str, where: str) -> Any:
    """A property's one value."""
    return _property(properties, key, where).get("scalar")


def _values(properties: object, key: str, where: str) -> list[Any]:
    """A property's values."""
    return _list(_property(properties, key, where), "array", f"{where}: `{key}`")


def _label(value: object, where: str, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise PositionsError(f"{where}: `{key}`: {refused(value, 'the label of a stage')}")
    return value
