"""The events that useq makes of a sequence, once it is known that they are not too many."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from devices.position_sequences import first_error

if TYPE_CHECKING:
    from useq import MDAEvent, MDASequence

MOST = 100_000
"""Frames of a sequence, at most; chosen: useq takes 4 kB and 70 µs for each."""
AUTOFOCUS = "hardware_autofocus"
"""What useq calls a search for the focus."""
_MOST_DRAWN = 1000
"""Places drawn at random; chosen: useq compares each with each."""
_TILE = {"fov_width", "fov_height", "overlap"}
"""What says how far a grid's places are apart."""
_MOST_PLANES = 1000
"""Of a stack; chosen, as for `z` of other plans."""


def events_of(data: Mapping[str, Any]) -> tuple[MDAEvent, ...]:
    """What useq makes of a sequence, in its order; of one that is too long, only more than `MOST`.

    Raises
    ------
    ValueError
        It is none, or one that a run cannot have; the message starts with `sequence`.
    """
    from useq import MDASequence

    unknown = set(data) - set(MDASequence.model_fields)
    if unknown:
        raise ValueError(f"`sequence.{min(unknown)}`: is no key of a useq sequence")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sequence = MDASequence.model_validate(data)
            _check_plans(sequence)
            grid = sequence.grid_plan
            if grid is not None and grid.is_relative and not sequence.stage_positions:
                raise _Refused(
                    "`grid_plan` is relative, and there are no `stage_positions` that it is "
                    "relative to; accepted: some, or an absolute grid"
                )
            # An autofocus may come before each frame.
            return tuple(islice(sequence, 2 * MOST + 1))
    except _Refused as error:
        raise ValueError(f"`sequence`: {error}") from None
    except ValidationError as error:
        raise ValueError(f"`sequence`: is no useq sequence: {first_error(error)}") from None
    except Exception as error:  # of useq itself, about values that its models let pass
        said = (str(error).splitlines() or [""])[0]
        raise ValueError(f"`sequence`: useq makes no frames of it: {said}") from None


class _Refused(ValueError):
    """A plan of a sequence is none that a run can have."""


def _check_plans(sequence: MDASequence) -> None:
    """Look at what useq would make lists of before its first event, within positions as well.

    Raises
    ------
    _Refused
        One is too long to be made, or differs from time to time.
    """
    from useq import RandomPoints

    time, z = sequence.time_plan, sequence.z_plan
    grid: Any = sequence.grid_plan
    if time is not None and (count := time.num_timepoints()) > MOST:
        raise _Refused(f"`time_plan` has {count:,} time points; accepted: at most {MOST:,}")
    if z is not None and (count := z.num_positions()) > _MOST_PLANES:
        raise _Refused(f"`z_plan` has {count:,} planes; accepted: at most {_MOST_PLANES:,}")
    if grid is not None:
        drawn = isinstance(grid, RandomPoints)
        if not drawn and not (grid.fov_width and grid.fov_height):
            raise _Refused(
                "`grid_plan` has no `fov_width` and `fov_height`; accepted: the size of a field "
                "(µm)"
            )
        count, most = (grid.num_points, _MOST_DRAWN) if drawn else (_tiles(grid), MOST)
        if count > most:
            raise _Refused(f"`grid_plan` has {count:,} places; accepted: at most {most:,}")
        if drawn and grid.random_seed is None:
            raise _Refused(
                "`grid_plan` draws its places anew each time, so that a run that is resumed would "
                "go elsewhere; accepted: one with a `random_seed`"
            )
    for position in sequence.stage_positions:
        if position.sequence is not None:
            _check_plans(position.sequence)


def _tiles(grid: Any) -> int:
    """Places of a grid; of one within a polygon, those of the rectangle around it."""
    if (corners := getattr(grid, "vertices", None)) is not None:
        from useq import GridFromEdges

        (xs, ys), same = zip(*corners, strict=True), grid.model_dump(include=_TILE)
        grid = GridFromEdges(top=max(ys), left=min(xs), bottom=min(ys), right=max(xs), **same)
    return int(grid.num_positions())
