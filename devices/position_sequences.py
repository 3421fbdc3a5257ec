"""Positions and grids of a useq sequence, expanded as useq expands them."""

from __future__ import annotations

import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any

from devices.position import (
    KINDS,
    MOST,
    Position,
    Positions,
    PositionsError,
    called,
    name_of,
    number_of,
)
from devices.refusals import refused, shortened

if TYPE_CHECKING:
    from pydantic import ValidationError
    from useq import MDAEvent, MDASequence


def places_of(data: dict[str, Any]) -> Positions:
    """The places of a sequence; `PositionsError` where it says none."""
    import useq
    from pydantic import ValidationError

    known = set(useq.MDASequence.model_fields)
    if not known & set(data):
        keys = shortened(", ".join(map(str, data)), quoted=False)
        raise PositionsError(f"has {keys or 'nothing in it'}; accepted: {KINDS}")
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
    name = name_of(name, called(number, ""), "name")
    where = called(number, name)
    for axis, value in (("x", event.x_pos), ("y", event.y_pos)):
        if value is None:
            raise PositionsError(f"{where}: has no {axis}; accepted: x and y of each position")
    x_um, y_um = number_of(event.x_pos, f"{where}: x"), number_of(event.y_pos, f"{where}: y")
    z_um = None if event.z_pos is None else number_of(event.z_pos, f"{where}: z")
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
