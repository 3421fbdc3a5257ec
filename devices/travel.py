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
    focus = f"; focus {min(zs):.5g} … {max(zs):.5g} µm" if zs else ""
    return (
        f"{length([stood, *at]):.4g} µm through {_named(fields)}{again}; "
        f"up to {far:.4g} µm from where it is, ({x:.5g}, {y:.5g}) µm: "
        f"x {min(xs):.5g} … {max(xs):.5g}, y {min(ys):.5g} … {max(ys):.5g} µm{focus}"
    )


def _named(fields: Sequence[Field]) -> str:
    """How many fields there are, and what the first are called."""
    count, names = len(fields), [field.name for field in fields if field.name]
    if not names:
        return f"{count} field{'s' if count > 1 else ''}"
    more = ", …" if len(names) > _NAMES else ""
    return f"{count} place{'s' if count > 1 else ''} ({', '.join(names[:_NAMES])}{more})"
