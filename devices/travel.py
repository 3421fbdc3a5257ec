"""How far the stage goes in a run, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from devices.route import Point, length
from devices.shot import Field

_NAMES = 8
"""Names of places that are said."""


def travel(fields: Sequence[Field], stood: Point, *, revisited: int = 0) -> str:
    """How far it is through all fields, and how far away they are.

    Parameters
    ----------
    fields
        In the order of visit.
    stood
        Where the stage is (µm).
    revisited
        How many of the first fields it goes round again and again.

    Examples
    --------
    >>> travel([Field(0, 3.0, 4.0)], (0.0, 0.0))
    '5 µm through 1 field; up to 5 µm from where it is, (0, 0) µm: x 3 … 3, y 4 … 4 µm'
    """
    x, y = stood
    at = [(field.x_um, field.y_um) for field in fields]
    (xs, ys), far = zip(*at, strict=True), max(math.hypot(u - x, v - y) for u, v in at)
    zs = [field.z_um for field in fields if field.z_um is not None]
    rounds = at[:revisited]
    again = f", {length([*rounds, rounds[0]]):.4g} µm each time round" if rounds[1:] else ""
    focus = f"; focus {_um(min(zs))} … {_um(max(zs))} µm" if zs else ""
    return (
        f"{length([stood, *at]):.4g} µm through {_named(fields)}{again}; "
        f"up to {far:.4g} µm from where it is, ({_um(x)}, {_um(y)}) µm: "
        f"x {_um(min(xs))} … {_um(max(xs))}, y {_um(min(ys))} … {_um(max(ys))} µm{focus}"
    )


def _um(place: float) -> str:
    """A place to a nanometre.

    Examples
    --------
    >>> _um(-1e-12), _um(1234.5)
    ('0', '1234.5')
    """
    # Adding 0 turns -0.0 into 0.0.
    return f"{round(place, 3) + 0.0:.5g}"


def _named(fields: Sequence[Field]) -> str:
    """How many fields there are, and what the first are called."""
    count, names = len(fields), [field.name for field in fields if field.name]
    if not names:
        return f"{count} field{'s' if count > 1 else ''}"
    more = ", …" if len(names) > _NAMES else ""
    return f"{count} place{'s' if count > 1 else ''} ({', '.join(names[:_NAMES])}{more})"
