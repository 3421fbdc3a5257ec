"""Features of a frame at several scales."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.1
"""Of leaky ReLUs below zero; chosen, as usual in optical-flow networks."""


class Pyramid(nn.Module):
    """Features of a frame at several scales.

    Parameters
    ----------
    widths
        Channels of each level, finest first.

    Examples
    --------
    >>> import torch
    >>> [tuple(level.shape) for level in Pyramid((4, 8))(torch.zeros(1, 1, 16, 16))]
    [(1, 4, 16, 16), (1, 8, 8, 8)]
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(conv(before, width, stride=2 if level else 1), conv(width, width))
            for level, (before, width) in enumerate(zip([1, *widths], widths, strict=False))
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Maps of each level, finest first."""
        found = []
        features = frames
        for level in self.levels:
            features = level(features)
            found.append(features)
        return found


def conv(before: int, after: int, stride: int = 1) -> nn.Sequential:
    """A 3 × 3 convolution and a leaky ReLU, from He's normal weights.

    Examples
    --------
    >>> import torch
    >>> tuple(conv(1, 8, stride=2)(torch.zeros(1, 1, 16, 16)).shape)
    (1, 8, 8, 8)
    """
    made = nn.Conv2d(before, after, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(made.weight, a=SLOPE, nonlinearity="leaky_relu")
    assert made.bias is not None
    nn.init.zeros_(made.bias)
    return nn.Sequential(made, nn.LeakyReLU(SLOPE, inplace=True))


def twice(maps: Tensor) -> Tensor:
    """Maps of twice as many rows and columns, between whose values it is linear.

    Examples
    --------
    >>> import torch
    >>> twice(torch.tensor([[[[0.0, 4.0]]]]))[0, 0, 0].tolist()
    [0.0, 1.0, 3.0, 4.0]
    """
    return functional.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)
