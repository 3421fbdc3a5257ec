"""Deformable convolution."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from models.interpolation.warping import grid_of, places


def deform(
    features: Tensor,
    offsets: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """Modulated deformable convolution (Zhu et al., CVPR 2019), by `grid_sample`.

    Each tap of the kernel looks where its offset says, and counts as much as its mask says; outside
    the frame it sees 0.

    Parameters
    ----------
    features
        n × channels × rows × columns.
    offsets
        n × (2 · groups · taps) × rows × columns (pixels): by group, then tap (row by row of the
        kernel), then rows before columns. Channels of one group share their offsets.
    mask
        n × (groups · taps) × rows × columns.
    weight
        out × channels × k × k, k odd.
    bias
        One for each output channel.

    Examples
    --------
    >>> features, offsets = torch.ones(1, 1, 4, 4), torch.zeros(1, 2, 4, 4)
    >>> mask, weight = torch.ones(1, 1, 4, 4), torch.full((1, 1, 1, 1), 3.0)
    >>> deform(features, offsets, mask, weight)[0, 0, 0].tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    count, channels, rows, columns = features.shape
    out, _, side, _ = weight.shape
    taps = side * side
    groups = mask.shape[1] // taps
    reach = torch.arange(side, device=features.device, dtype=torch.float32) - side // 2
    tap = torch.stack(torch.meshgrid(reach, reach, indexing="ij")).flatten(1)
    flow = offsets.float().reshape(count * groups, taps, 2, rows, columns) + tap.T[:, :, None, None]
    place = places(flow.flatten(0, 1)).view(count * groups, taps, 2, rows, columns)
    # Taps one below the other: a single sampling for all of a group.
    place = place.transpose(1, 2).reshape(count * groups, 2, taps * rows, columns)
    inputs = features.float().reshape(count * groups, channels // groups, rows, columns)
    seen = functional.grid_sample(
        inputs, grid_of(place, rows, columns), padding_mode="zeros", align_corners=True
    ).reshape(count, groups, channels // groups, taps, rows * columns)
    # Where the sampling is, in single precision; the product may be of fewer digits.
    seen = seen.to(features.dtype)
    seen = seen * mask.reshape(count, groups, 1, taps, rows * columns).to(features.dtype)
    flat = weight.reshape(out, channels * taps).to(features.dtype)
    result: Tensor = torch.matmul(flat, seen.reshape(count, channels * taps, -1))
    if bias is not None:
        result = result + bias.to(result.dtype)[:, None]
    return result.view(count, out, rows, columns)
