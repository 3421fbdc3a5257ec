"""Planes as tensors of `bioimageio.core`, and what that library says."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from models.restoration.zoo.planes import PlaneTensor

_SHOWN = 200
"""Characters of another library's message; chosen."""


def pack(of: PlaneTensor, plane: NDArray[Any]) -> Any:
    """A plane (rows × columns) as a tensor with all axes."""
    return tensor_of(of, of.pack(plane))


def tensor_of(of: PlaneTensor, array: NDArray[Any]) -> Any:
    """An array with all axes as a tensor."""
    from bioimageio.core import AxisId, Tensor

    return Tensor(array, dims=[AxisId(axis) for axis in of.axes])


def unpack(of: PlaneTensor, tensor: Any) -> NDArray[Any]:
    """The plane (rows × columns) of a tensor."""
    from bioimageio.core import AxisId

    return of.plane(tensor.transpose([AxisId(axis) for axis in of.axes]).to_numpy())


def explain(error: Exception) -> str:
    r"""What went wrong, in one line; TorchScript has the cause in its last one.

    Examples
    --------
    >>> explain(RuntimeError("failed in the TorchScript interpreter\n  at 3\nsizes differ"))
    'sizes differ'
    >>> explain(KeyError())
    'KeyError'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "TorchScript" in lines[0] else " ".join(lines[:2])[:_SHOWN]
