"""Reads the geometry of a zoo's model from its described axes.

They are plain data of the specification's version 0.5, to which older ones are converted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.planes import PLANE, Lengths, PlaneTensor

_NM = {
    "picometer": 1e-3,
    "angstrom": 0.1,
    "nanometer": 1.0,
    "micrometer": 1e3,
    "millimeter": 1e6,
    "centimeter": 1e7,
    "meter": 1e9,
}
"""Units of length (nm); sizes in any other are not compared."""


def geometry_of(content: Mapping[str, Any]) -> Geometry:
    """What a model takes and gives.

    Parameters
    ----------
    content
        Its description; `inputs` and `outputs` are read.

    Raises
    ------
    ValueError
        It is not one that makes of a frame another of the same size.
    """
    taken, given = _only(content, "inputs"), _only(content, "outputs")
    takes, gives = _tensor(taken), _tensor(given)
    ours, theirs = _along(taken), _along(given)
    rows, columns = (_lengths(ours, axis) for axis in PLANE)
    for axis, lengths in zip(PLANE, (rows, columns), strict=True):
        _check_same(theirs[axis], ours[axis], takes.name, lengths)
    padding = taken.get("pad") or {}
    return Geometry(
        takes,
        gives,
        rows,
        columns,
        max(int(theirs[axis].get("halo") or 0) for axis in PLANE),
        str(padding.get("mode") or "symmetric"),
        float(padding.get("value") or 0.0),
        (_nm(ours["y"]), _nm(ours["x"])),
        _limits(taken.get("data")),
    )


def _only(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    tensors: Sequence[Mapping[str, Any]] = content[key]
    if len(tensors) != 1:
        raise ValueError(f"has {len(tensors)} {key}; accepted: models of one input and one output")
    return tensors[0]


def _name(axis: Mapping[str, Any]) -> str:
    return str(axis.get("id") or axis["type"])


def _tensor(about: Mapping[str, Any]) -> PlaneTensor:
    named = str(about.get("id") or "input")
    for axis in about["axes"]:
        size = len(axis["channel_names"]) if axis["type"] == "channel" else axis.get("size")
        if _is_plane(axis) or axis["type"] == "batch" or size == 1:
            continue
        what = {"channel": f"{size} channels"}.get(axis["type"], f"an axis {_name(axis)}")
        raise ValueError(f"{named}: has {what}; accepted: one channel, and the axes y and x")
    names = tuple(_name(axis) for axis in about["axes"])
    if lacking := [axis for axis in PLANE if axis not in names]:
        raise ValueError(
            f"{named}: has no axis {lacking[0]}; accepted: one channel, and the axes y and x"
        )
    return PlaneTensor(named, names)


def _is_plane(axis: Mapping[str, Any]) -> bool:
    return axis["type"] == "space" and _name(axis) in PLANE


def _along(about: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {_name(axis): axis for axis in about["axes"] if _is_plane(axis)}


def _lengths(axes: Mapping[str, Mapping[str, Any]], name: str) -> Lengths:
    size = axes[name]["size"]
    if isinstance(size, Mapping) and "axis_id" in size:
        other = axes.get(size["axis_id"], {})
        if not isinstance(other.get("size"), int):
            raise ValueError(
                f"axis {name}: its length follows that of {size['axis_id']}; accepted: lengths of"
                " their own"
            )
        size = int(other["size"] * _scale(other) / _scale(axes[name])) + size.get("offset", 0)
    if isinstance(size, Mapping):
        return Lengths(int(size["min"]), int(size["step"]))
    return Lengths(int(size), 0)


def _check_same(
    given: Mapping[str, Any], taken: Mapping[str, Any], of: str, lengths: Lengths
) -> None:
    """Make sure that an axis comes out as long as it went in."""
    size, name = given["size"], _name(given)
    if isinstance(size, Mapping):
        refers = (size.get("tensor_id"), size.get("axis_id")) == (of, name)
        same = refers and not size.get("offset") and math.isclose(_scale(given), _scale(taken))
    else:
        same = lengths.step == 0 and size == lengths.least
    if not same:
        raise ValueError(f"axis {name}: comes out longer or shorter; accepted: frames as they were")


def _scale(axis: Mapping[str, Any]) -> float:
    return float(axis.get("scale") or 1.0)


def _nm(axis: Mapping[str, Any]) -> float | None:
    unit = _NM.get(str(axis.get("unit")))
    return None if unit is None else unit * _scale(axis)


def _limits(data: Any) -> tuple[int, int] | None:
    first = data[0] if isinstance(data, list) and data else data
    kind = str(first.get("type") or "float32") if isinstance(first, Mapping) else "float32"
    if not kind.startswith(("int", "uint")):
        return None
    known = np.iinfo(np.dtype(kind))
    return int(known.min), int(known.max)
