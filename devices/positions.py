"""Files that say where to look: Micro-Manager's position lists, and useq sequences.

Micro-Manager 1.4 writes `POSITIONS` with `DEVICES`, each with `AXES`, `X`, `Y`, `Z`; the position
of a stage of one axis is its `X`. Micro-Manager 2 writes a property map with `StagePositions`, each
with `DevicePositions`. Both say for each stage where it is, by its label.

Of a useq sequence its positions and grids are taken, expanded as useq expands them; so is the bare
list of positions that pymmcore-widgets saves.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from devices.refusals import refused, shortened

if TYPE_CHECKING:
    from pydantic import ValidationError
    from useq import MDAEvent, MDASequence

FARTHEST_UM = 1e6
"""No stage goes further from its origin (µm)."""
LONGEST_NAME = 100
"""Characters of a place's name."""
MOST = 1000
"""Places of a list: a config that holds them can still be read."""
MOST_STAGES = 6
"""Stages of one axis of a place, beside the focus."""
_MOST_BYTES = 20_000_000
_KINDS = "a position list of Micro-Manager 1.4 or 2, or a useq sequence"
_VERSIONS = (1, 2, 3)
_MAP_VERSION = 2


class PositionsError(ValueError):
    """A file that says no places; the message names the file, the place and what is accepted."""


class Position(NamedTuple):
    """A place as a file has it.

    Parameters
    ----------
    name
        Its label; empty if it has none.
    x_um, y_um
        Of the XY stage (µm).
    z_um
        Of the focus (µm), where the file does not say of which stage.
    stages
        Of stages of one axis (µm), by label.
    """

    name: str
    x_um: float
    y_um: float
    z_um: float | None = None
    stages: Mapping[str, float] = {}


class Listed(Protocol):
    """A place of a list, wherever that comes from."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def x_um(self) -> float:
        """Of the XY stage (µm)."""
        ...

    @property
    def y_um(self) -> float:
        """Of the XY stage (µm)."""
        ...

    @property
    def z_um(self) -> float | None:
        """Of the focus (µm)."""
        ...

    @property
    def stages(self) -> Mapping[str, float]:
        """Of other stages (µm), by label."""
        ...


class Positions(NamedTuple):
    """What a file says: its places, and the label of the XY stage they are of if it says that."""

    places: list[Position]
    xy_stage: str | None = None


def read_positions(file: Path) -> Positions:
    """The places of a file, in its order.

    Raises
    ------
    PositionsError
        It cannot be read, or is none that says places.
    """
    try:
        found = _read(_text(file))
        if not found.places:
            raise PositionsError("has no positions; accepted: at least one")
        if len(found.places) > MOST:
            raise PositionsError(f"has {len(found.places):,} positions; accepted: {MOST:,} at most")
        if why := problem(found.places):
            raise PositionsError(why)
    except PositionsError as error:
        raise PositionsError(f"{file}: {error}") from None
    return found


def called(number: int, name: str) -> str:
    """A place for a message: by its name, or by its number, from 1."""
    return f"place {shortened(name)}" if name else f"place {number + 1}"


def problem(places: Sequence[Listed]) -> str | None:
    """What is wrong with a list of places as a whole; None if nothing is."""
    first = places[0]
    names: dict[str, int] = {}
    taken: dict[tuple[Any, ...], int] = {}
    for number, place in enumerate(places):
        word = called(number, place.name)
        if place.name and names.setdefault(place.name, number) != number:
            return (
                f"{word} is there twice, as number {names[place.name] + 1} and {number + 1}; "
                "accepted: a name of its own for each"
            )
        where = (place.x_um, place.y_um, place.z_um, *sorted(place.stages.items()))
        if (same := taken.setdefault(where, number)) != number:
            return (
                f"{word} is where {called(same, places[same].name)} is, "
                f"({place.x_um:g}, {place.y_um:g}) µm; accepted: each place once"
            )
        for what in sorted(_axes(place) ^ _axes(first)):
            lacks, has = (number, 0) if what in _axes(first) else (0, number)
            return (
                f"{called(lacks, places[lacks].name)} has no position of {what}, which "
                f"{called(has, places[has].name)} has; accepted: one for all places, or for none"
            )
    return None


def _axes(place: Listed) -> set[str]:
    """Which stages a place is of, beside the XY stage."""
    labels = {f"stage {label!r}" for label in place.stages}
    return labels if place.z_um is None else {"the focus", *labels}


# ---------------------------------------------------------------------- texts


def read_data(file: Path, kinds: str) -> Any:
    """Plain data of a JSON or YAML file.

    Parameters
    ----------
    file
        Where they are.
    kinds
        What is accepted, in words, for errors.

    Raises
    ------
    PositionsError
        It cannot be read as either.
    """
    return _data(_text(file, kinds), kinds)


def _text(file: Path, kinds: str = _KINDS) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise PositionsError(f"no such file; accepted: {kinds}") from None
    except IsADirectoryError:
        raise PositionsError(f"is a folder; accepted: {kinds}") from None
    except (OSError, ValueError) as error:
        raise PositionsError(f"cannot be read: {error}") from None
    if len(raw) > _MOST_BYTES:
        raise PositionsError(f"is larger than {_MOST_BYTES / 1e6:g} MB, as no list of places is")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Micro-Manager 1.4 writes in the encoding of its Windows.
        return raw.decode("latin-1")


def _read(text: str) -> Positions:
    data = _data(text)
    if isinstance(data, list):
        return _useq({"stage_positions": data})
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"says {shortened(data)}"
        raise PositionsError(f"{found}; accepted: {_KINDS}")
    if "POSITIONS" in data or "ID" in data:
        return _micro_manager_1(data)
    if "map" in data or "format" in data:
        return _micro_manager_2(data)
    return _useq(data)


def _data(text: str, kinds: str = _KINDS) -> Any:
    """Plain data of a JSON or YAML text."""
    import yaml

    json_like = text.lstrip()[:1] in ("{", "[")
    try:
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            wrong = f"is no JSON, line {error.lineno}: {error.msg}"
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            said = getattr(error, "problem", None) or str(error).splitlines()[0]
            wrong = wrong if json_like else f"is neither JSON nor YAML{line}: {said}"
    except (RecursionError, ValueError):
        wrong = "cannot be read as JSON or YAML"
    raise PositionsError(f"{wrong}; accepted: {kinds}")


# ---------------------------------------------------------------------- Micro-Manager


class _Stage(NamedTuple):
    """One stage of a place."""

    label: str
    at_um: tuple[float, ...]


def _micro_manager_1(data: dict[str, Any]) -> Positions:
    version = data.get("VERSION")
    if version not in _VERSIONS or isinstance(version, bool):
        accepted = ", ".join(map(str, _VERSIONS))
        raise PositionsError(f"`VERSION`: {refused(version, f'{accepted}, of Micro-Manager 1.4')}")
    found = []
    for number, one in enumerate(_list(data, "POSITIONS", "`POSITIONS`")):
        where = called(number, "")
        if not isinstance(one, dict):
            raise PositionsError(f"{where}: {refused(one, 'LABEL and DEVICES')}")
        name = _name(one.get("LABEL", ""), where, "LABEL")
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
            at = tuple(_number(device.get(key), f"{where}: {label}: `{key}`") for key in keys)
            stages.append(_Stage(label, at))
        found.append((name, stages))
    return _placed(found)


def _micro_manager_2(data: dict[str, Any]) -> Positions:
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
        name = _name(_value(one, "Label", where) if _has(one, "Label") else "", where, "Label")
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
            stages.append(_Stage(label, tuple(_number(value, key) for value in at)))
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


def _name(value: object, where: str, key: str) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        accepted = f"a text of {LONGEST_NAME} characters at most"
        raise PositionsError(f"{where}: `{key}`: {refused(value, accepted)}")
    return value


def _label(value: object, where: str, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise PositionsError(f"{where}: `{key}`: {refused(value, 'the label of a stage')}")
    return value


def _number(value: object, where: str) -> float:
    """A position (µm)."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if number is not None and abs(number) <= FARTHEST_UM:  # which NaN is not
        return float(number)
    accepted = f"a number of µm from {-FARTHEST_UM:g} to {FARTHEST_UM:g}"
    raise PositionsError(f"{where}: {refused(value, accepted)}")


# ---------------------------------------------------------------------- useq


def _useq(data: dict[str, Any]) -> Positions:
    import useq
    from pydantic import ValidationError

    known = set(useq.MDASequence.model_fields)
    if not known & set(data):
        keys = shortened(", ".join(map(str, data)), quoted=False)
        raise PositionsError(f"has {keys or 'nothing in it'}; accepted: {_KINDS}")
    if not data.get("stage_positions") and data.get("grid_plan") is None:
        raise PositionsError("has no stage_positions; accepted: at least one")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sequence = _only_places(useq.MDASequence.model_validate(data))
            _check_grids(sequence)
            events: list[MDAEvent] = list(islice(sequence, MOST + 1))
    except ValidationError as error:
        raise PositionsError(f"is no useq sequence: {first_error(error)}") from None
    except PositionsError:
        raise
    except Exception as error:  # of useq itself, about values that its models let pass
        said = (str(error).splitlines() or [""])[0]
        said = shortened(said, quoted=False, longest=120)
        raise PositionsError(f"useq makes no positions of it: {said}") from None
    return Positions([_of_event(number, event) for number, event in enumerate(events)])


def _only_places(sequence: MDASequence) -> MDASequence:
    """Its positions and grids, with an event for each place."""
    from useq import MDASequence, Position

    positions = [
        Position(x=one.x, y=one.y, z=one.z, name=one.name, sequence=_grid_of(one.sequence))
        for one in sequence.stage_positions
    ]
    return MDASequence(stage_positions=positions, grid_plan=sequence.grid_plan)


def _grid_of(sequence: MDASequence | None) -> MDASequence | None:
    """The grid around a position, if there is one."""
    from useq import MDASequence

    if sequence is None or sequence.grid_plan is None:
        return None
    return MDASequence(grid_plan=sequence.grid_plan)


def _check_grids(sequence: MDASequence) -> None:
    """Check that the fields of grids are where they are, whatever the camera, and not too many."""
    if (plan := sequence.grid_plan) is not None:
        if plan.is_relative and not sequence.stage_positions:
            raise PositionsError(
                "`grid_plan`: is relative, and there are no `stage_positions` that it is relative "
                "to; accepted: some, or an absolute grid"
            )
        _check_grid(plan, "`grid_plan`")
    for number, one in enumerate(sequence.stage_positions):
        if one.sequence is not None:
            where = called(number, one.name or "")
            _check_grid(one.sequence.grid_plan, f"{where}: `sequence.grid_plan`")


def _check_grid(plan: Any, where: str) -> None:
    # Points at random have no overlap, and so need no size.
    if hasattr(plan, "overlap") and not (plan.fov_width and plan.fov_height):
        raise PositionsError(
            f"{where}: has no `fov_width` and `fov_height`; accepted: the size of a field (µm)"
        )
    if (count := plan.num_positions()) > MOST:
        has = shortened(f"{count:,}", quoted=False)
        raise PositionsError(f"{where}: has {has} fields; accepted: {MOST:,} at most")


def _of_event(number: int, event: MDAEvent) -> Position:
    name = event.pos_name or ""
    if (of_grid := event.index.get("g")) is not None:
        name = f"{name or 'grid'}_{of_grid:04d}"
    name = _name(name, called(number, ""), "name")
    where = called(number, name)
    for axis, value in (("x", event.x_pos), ("y", event.y_pos)):
        if value is None:
            raise PositionsError(f"{where}: has no {axis}; accepted: x and y of each position")
    x_um, y_um = _number(event.x_pos, f"{where}: x"), _number(event.y_pos, f"{where}: y")
    z_um = None if event.z_pos is None else _number(event.z_pos, f"{where}: z")
    return Position(name, x_um, y_um, z_um)


def first_error(error: ValidationError) -> str:
    """Where the first thing is that a model refuses, and what it says about it."""
    # One cause fails every branch of a union; the deepest place names it best.
    found = max(error.errors(include_url=False), key=lambda one: len(one["loc"]))
    keys = [str(key) for key in found["loc"] if isinstance(key, int) or str(key).islower()]
    said = shortened(" ".join(found["msg"].split()), quoted=False, longest=120)
    wanted = said.removeprefix("Input should be ")
    if wanted != said:
        return f"`{'.'.join(keys)}`: {refused(found['input'], wanted)}"
    return f"`{'.'.join(keys)}`: {said.removeprefix('Value error, ')}"
