"""What all interpolators have in common: two frames and a time in, a distribution per pixel out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.restoration.network import SMALLEST_SCALE, Laplace

_BYTES_A_PIXEL = 4000
"""Of a network that says nothing of its own; chosen."""
FIRST_SCALE = -2.25
"""Bias from which `positive` makes a scale of 0.1: from there the way to any real one is short."""


class IntermediateStep(NamedTuple):
    """A step on the way to the frame, which a training may judge by itself.

    Parameters
    ----------
    to_before, to_after
        Where in the two frames a pixel of the missing one lies, n × 2 × rows × columns: how many
        rows and columns away (pixels).
    share
        Of the frame before in the blend of the two, n × 1 × rows × columns, 0 to 1.
    """

    to_before: Tensor
    to_after: Tensor
    share: Tensor


class Staged(NamedTuple):
    """The frame, and the steps that led to it, coarsest first; none where nothing is warped."""

    frame: Laplace
    stages: list[IntermediateStep]


class Interpolator(nn.Module, ABC):
    """A network that rebuilds a frame between two.

    Frames are normalized by percentiles that the two have in common. At t = 0 and t = 1 every
    network gives the measured frame itself, by construction: warps are by multiples of t and
    1 − t, blends weigh with them, and what is added is multiplied by `gate`. So the rebuilt
    frames lead from one measured frame to the next without a jump.

    Attributes
    ----------
    multiple
        Rows and columns that `estimate` gets are multiples of this power of two; `forward` takes
        frames of any size and continues them at their edges.
    limits
        What its cards say of how it differs from the network that it is named after.
    """

    multiple: int = 1
    limits: tuple[str, ...] = ()

    @property
    def bytes_a_pixel(self) -> int:
        """Most memory that `forward` takes in single precision, a pixel of one pair of frames."""
        return _BYTES_A_PIXEL

    @property
    @abstractmethod
    def architecture(self) -> dict[str, Any]:
        """What `networks.build` makes this network from."""

    @abstractmethod
    def estimate(self, before: Tensor, after: Tensor, t: Tensor) -> Staged:
        """The frame at time t (n × 1 × 1 × 1) of frames whose size fits, and its stages."""

    def forward(self, before: Tensor, after: Tensor, t: float | Tensor = 0.5) -> Laplace:
        """The frame between two.

        Parameters
        ----------
        before, after
            n × 1 × rows × columns, normalized.
        t
            When between them, 0 to 1: one number, or one for each of the n.

        Returns
        -------
        Laplace
            Location and scale, each n × 1 × rows × columns.

        Raises
        ------
        ValueError
            For other shapes or times.
        """
        return self.staged(before, after, t).frame

    def staged(self, before: Tensor, after: Tensor, t: float | Tensor = 0.5) -> Staged:
        """As `forward`, with the stages."""
        times = self._checked(before, after, t)
        rows, columns = before.shape[-2:]
        margin = (0, -columns % self.multiple, 0, -rows % self.multiple)
        if any(margin):
            # Reflection would need frames larger than the margin.
            before, after = (
                functional.pad(frame, margin, mode="replicate") for frame in (before, after)
            )
        (location, scale), stages = self.estimate(before, after, times)
        if any(margin):
            location, scale = (part[..., :rows, :columns] for part in (location, scale))
            stages = [
                IntermediateStep(*(part[..., :rows, :columns] for part in stage))
                for stage in stages
            ]
        return Staged(Laplace(location, scale), stages)

    def _checked(self, before: Tensor, after: Tensor, t: float | Tensor) -> Tensor:
        """Times as n × 1 × 1 × 1."""
        if before.ndim != 4 or before.shape[1] != 1 or 0 in before.shape:
            raise ValueError(
                f"before of shape {tuple(before.shape)}; accepted: (n, 1, rows, columns)"
            )
        if after.shape != before.shape:
            raise ValueError(
                f"after of shape {tuple(after.shape)}; accepted: that of before,"
                f" {tuple(before.shape)}"
            )
        times = torch.as_tensor(t, dtype=torch.float32, device=before.device).flatten()
        if len(times) not in (1, len(before)):
            raise ValueError(f"t: found {len(times)} times; accepted: 1 or {len(before)}")
        # Frames on a GPU were checked before: to look would be to wait for it.
        if times.device.type == "cpu" and not bool(((times >= 0) & (times <= 1)).all()):
            raise ValueError(f"t: found {times.tolist()}; accepted: times from 0 to 1")
        return times.expand(len(before)).reshape(-1, 1, 1, 1)


def gate(t: Tensor) -> Tensor:
    """0 at the measured frames and 1 in the middle: how much a network may add.

    Examples
    --------
    >>> gate(torch.tensor([0.0, 0.5, 1.0])).tolist()
    [0.0, 1.0, 0.0]
    """
    return 4 * t * (1 - t)


def share_of_before(logit: Tensor, t: Tensor) -> Tensor:
    """Weight of the frame before in a blend: 1 − t at logit 0, and 1 at t = 0 for any logit.

    Examples
    --------
    >>> share_of_before(torch.zeros(3), torch.tensor([0.0, 0.25, 1.0])).tolist()
    [1.0, 0.75, 0.0]
    """
    visible = torch.sigmoid(logit.float())
    first, second = (1 - t) * visible, t * (1 - visible)
    # At t = 0 or 1 a saturated sigmoid must not make it 0 / 0.
    tiny = torch.finfo(torch.float32).tiny
    return (first + (1 - t) * tiny) / (first + second + tiny)


def positive(raw: Tensor) -> Tensor:
    """A Laplace scale from any number.

    Examples
    --------
    >>> bool(positive(torch.tensor(-50.0)) > 0)
    True
    """
    return functional.softplus(raw.float()) + SMALLEST_SCALE


def sized(**values: Any) -> None:
    """Check that sizes are whole numbers of at least 1.

    Raises
    ------
    ValueError
        One is not; names it.
    """
    for name, value in values.items():
        several = value if isinstance(value, list | tuple) else [value]
        if not several or any(
            not isinstance(one, int) or isinstance(one, bool) or one < 1 for one in several
        ):
            raise ValueError(f"{name}: found {value!r}; accepted: 1 and more")
