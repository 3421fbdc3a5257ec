"""Tensors that are one plane, and how long their axes may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PLANE = ("y", "x")
"""Names of the axes of a plane: rows and columns."""


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

    def pack(self, plane: NDArray[Any]) -> NDArray[Any]:
        """A plane (rows × columns) with all axes.

        Examples
        --------
        >>> PlaneTensor("raw", ("batch", "x", "y")).pack(np.zeros((2, 3))).shape
        (1, 3, 2)
        """
        ordered = plane if self.axes.index("y") < self.axes.index("x") else plane.T
        sizes = iter(ordered.shape)
        shape = [next(sizes) if axis in PLANE else 1 for axis in self.axes]
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
        others = [at for at, axis in enumerate(self.axes) if axis not in PLANE]
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
