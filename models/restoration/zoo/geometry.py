"""Axes, sizes and pixels that a model of the zoo is described with, and what fits them.

Read from plain data of the specification's version 0.5, to which older ones are converted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
PIXEL_FACTOR = 1.25
"""How far pixel sizes may lie apart, as a ratio; chosen."""
_PLANE = ("y", "x")


@dataclass(frozen=True, slots=True)
class PlaneTensor:
    """A tensor that is one plane: all other axes have one element.

    Parameters
    ----------
    name
        Of the tensor.
    axes
        Names of its axes, in their order.
    """

    name: str
    axes: tuple[str, ...]

    def packed(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane (rows × columns) with all axes.

        Examples
        --------
        >>> PlaneTensor("raw", ("batch", "x", "y")).packed(np.zeros((2, 3))).shape
        (1, 3, 2)
        """
        ordered = plane if self.axes.index("y") < self.axes.index("x") else plane.T
        sizes = iter(ordered.shape)
        shape = [next(sizes) if axis in _PLANE else 1 for axis in self.axes]
        return np.ascontiguousarray(ordered).reshape(shape)

    def plane(self, array: NDArray[Any]) -> NDArray[Any]:
        """The plane (rows × columns) of an array with all axes.

        Raises
        ------
        ValueError
            It has more than one, or other axes.

        Examples
        --------
        >>> PlaneTensor("raw", ("batch", "x", "y")).plane(np.zeros((1, 3, 2))).shape
        (2, 3)
        """
        others = [at for at, axis in enumerate(self.axes) if axis not in _PLANE]
        if array.ndim != len(self.axes) or any(array.shape[at] != 1 for at in others):
            axes = ", ".join(self.axes)
            raise ValueError(f"{self.name}: gave an array of shape {array.shape} for axes {axes}")
        plane = np.squeeze(array, axis=tuple(others))
        return plane if self.axes.index("y") < self.axes.index("x") else plane.T


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long an axis may be (pixels): `least`, and `step` more, any number of times.

    Parameters
    ----------
    least
        The shortest.
    step
        0: no other.
    """

    least: int
    step: int

    def fitting(self, length: int) -> int:
        """The shortest that is not shorter than this; `least` where none is.

        Examples
        --------
        >>> Lengths(16, 8).fitting(17), Lengths(16, 8).fitting(3), Lengths(64, 0).fitting(17)
        (24, 16, 64)
        """
        steps = max(0, -(-(length - self.least) // self.step)) if self.step else 0
        return self.least + steps * self.step


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a model takes and gives.

    Parameters
    ----------
    takes, gives
        The tensors.
    rows, columns
        How long they may be.
    halo
        Pixels along each edge of the output that are not to be used.
    padding
        How to continue an image beyond its edges, as in `numpy.pad`.
    fill
        The value for it, where that is constant.
    pixel_nm
        Sides of the pixels that it was made for (nm), rows and columns; None where not described.
    limits
        Smallest and largest value that it takes; None for floats.
    """

    takes: PlaneTensor
    gives: PlaneTensor
    rows: Lengths
    columns: Lengths
    halo: int = 0
    padding: str = "symmetric"
    fill: float = 0.0
    pixel_nm: tuple[float | None, float | None] = (None, None)
    limits: tuple[int, int] | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Geometry:
        """Of a description.

        Raises
        ------
        ValueError
            Its model is not one that makes of a frame another of the same size.
        """
        taken, given = _only(content, "inputs"), _only(content, "outputs")
        takes, gives = _tensor(taken), _tensor(given)
        ours, theirs = _along(taken), _along(given)
        rows, columns = (_lengths(ours, axis) for axis in _PLANE)
        for axis, lengths in zip(_PLANE, (rows, columns), strict=True):
            _check_same(theirs[axis], ours[axis], takes.name, lengths)
        padding = taken.get("pad") or {}
        return cls(
            takes,
            gives,
            rows,
            columns,
            max(int(theirs[axis].get("halo") or 0) for axis in _PLANE),
            str(padding.get("mode") or "symmetric"),
            float(padding.get("value") or 0.0),
            (_nm(ours["y"]), _nm(ours["x"])),
            _limits(taken.get("data")),
        )

    def check_pixels(self, pixel_nm: float | None) -> None:
        """Make sure that pixels are of the size that the model was made for.

        Parameters
        ----------
        pixel_nm
            Their side (nm); None: not known, and not compared.

        Raises
        ------
        ValueError
            They are not.
        """
        for made_for in self.pixel_nm:
            if pixel_nm is None or made_for is None:
                continue
            if max(pixel_nm / made_for, made_for / pixel_nm) > PIXEL_FACTOR:
                raise ValueError(
                    f"is for pixels of {made_for:g} nm, and these are {pixel_nm:g} nm; accepted:"
                    f" {made_for / PIXEL_FACTOR:.3g} to {made_for * PIXEL_FACTOR:.3g} nm"
                )

    def check_values(self, frame: NDArray[Any]) -> None:
        """Make sure that a frame's values are of the type that the model takes.

        Raises
        ------
        ValueError
            Some lie beyond it, and would wrap around.
        """
        if self.limits is None:
            return
        least, most = frame.min(), frame.max()
        if least < self.limits[0] or most > self.limits[1]:
            raise ValueError(
                f"frame with values from {least:g} to {most:g}; accepted by this model:"
                f" {self.limits[0]} to {self.limits[1]}"
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
    if lacking := [axis for axis in _PLANE if axis not in names]:
        raise ValueError(
            f"{named}: has no axis {lacking[0]}; accepted: one channel, and the axes y and x"
        )
    return PlaneTensor(named, names)


def _is_plane(axis: Mapping[str, Any]) -> bool:
    return axis["type"] == "space" and _name(axis) in _PLANE


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
