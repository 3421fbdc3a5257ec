"""Adaptive warping: each pixel is looked up with a kernel of its own around the flow's end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.interpolation.pyramid import conv, twice
from models.interpolation.warping import backward, places

_SIDE = 4
"""Side of the adaptive kernels (pixels), as in MEMC-Net (Bao et al., 2019) and DAIN."""


class Kernels(nn.Module):
    """A U-Net that says with which 4 × 4 weights each pixel of either frame is taken."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        # Warped and measured frames, motion, time.
        own = 2 + 2 + 4 + 1
        self.down = nn.ModuleList(
            nn.Sequential(conv(before, width, stride=2 if level else 1), conv(width, width))
            for level, (before, width) in enumerate(zip([own, *widths], widths, strict=False))
        )
        self.up = nn.ModuleList(
            conv(coarse + fine, fine) for coarse, fine in zip(widths[1:], widths[:-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], 2 * _SIDE**2 + 1, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(
        self, before: Tensor, after: Tensor, to_before: Tensor, to_after: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Kernels of both frames (2n × 16 × rows × columns), and the visibility's logit."""
        warped = [backward(before, to_before), backward(after, to_after)]
        seen = [*warped, before, after, to_before / 8, to_after / 8, t.expand_as(before)]
        features = torch.cat(seen, 1)
        across = []
        for level in self.down:
            features = level(features)
            across.append(features)
        for finer in reversed(range(len(self.up))):
            features = self.up[finer](torch.cat([twice(features), across[finer]], 1))
        first, second, logit = self.head(features).float().split([_SIDE**2, _SIDE**2, 1], 1)
        return torch.cat([first, second]), logit


def open_kernels(kernels: Tensor, opened: Tensor) -> Tensor:
    """Positive weights of 4 × 4 taps, the inner four not less than 1.

    At a measured frame only the inner four are left, which are then those of a bilinear warp.

    Parameters
    ----------
    kernels
        Any numbers, n × 16 × rows × columns.
    opened
        From 0 (at a measured frame) to 1, n × 1 × 1 × 1.
    """
    inner = torch.zeros(_SIDE, _SIDE, device=kernels.device)
    inner[1:3, 1:3] = 1
    inner = inner.reshape(1, -1, 1, 1)
    # Small at first: the untrained network warps.
    learned = functional.softplus(kernels - 3)
    return inner + opened * learned


def adapted(maps: Tensor, flow: Tensor, kernels: Tensor) -> Tensor:
    """Adaptive warping: 4 × 4 pixels around where the flow points, by learned weights.

    Taps on the near side of the place count by how near it is, and so do those on the far side:
    with equal inner weights alone that is bilinear. Weights are made to add up to 1, so that
    brightness is kept.

    Parameters
    ----------
    maps
        n × channels × rows × columns.
    flow
        n × 2 × rows × columns (pixels).
    kernels
        n × 16 × rows × columns, positive, row by row.
    """
    _, channels, rows, columns = maps.shape
    place = places(flow)
    corner = place.detach().floor()
    part = place - corner
    flat = maps.flatten(2)
    total = maps.new_zeros(maps.shape)
    weights = maps.new_zeros(len(maps), 1, rows, columns)
    for tap in range(_SIDE**2):
        down, right = tap // _SIDE - 1, tap % _SIDE - 1
        near_y = part[:, :1] if down > 0 else 1 - part[:, :1]
        near_x = part[:, 1:] if right > 0 else 1 - part[:, 1:]
        weight = kernels[:, tap : tap + 1] * near_y * near_x
        y = (corner[:, :1] + down).clamp(0, rows - 1)
        x = (corner[:, 1:] + right).clamp(0, columns - 1)
        index = (y * columns + x).long().flatten(2).expand(-1, channels, -1)
        total = total + weight * flat.gather(2, index).view(maps.shape)
        weights = weights + weight
    return total / weights
