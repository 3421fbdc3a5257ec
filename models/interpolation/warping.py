"""Moving pixels: backward warping, forward splatting, deformable convolution, correlation.

Flows are n × 2 × rows × columns: how many rows (first) and columns (second) away, in pixels.
Coordinates are always in single precision, also for images in bfloat16, which counts to 256 only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def places(flow: Tensor) -> Tensor:
    """Row and column that each pixel's flow points to, n × 2 × rows × columns (pixels).

    Examples
    --------
    >>> places(torch.zeros(1, 2, 2, 2)).tolist()
    [[[[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]]
    """
    rows, columns = flow.shape[-2:]
    y = torch.arange(rows, device=flow.device, dtype=torch.float32)[:, None]
    x = torch.arange(columns, device=flow.device, dtype=torch.float32)
    own = torch.stack([y.expand(rows, columns), x.expand(rows, columns)])
    return flow.float() + own


def grid_of(place: Tensor, rows: int, columns: int) -> Tensor:
    """Rows and columns (n × 2 × …) as `grid_sample` wants them: n × … × 2, x first, −1 to 1."""
    y, x = place[:, 0], place[:, 1]
    return torch.stack([x * (2 / max(columns - 1, 1)) - 1, y * (2 / max(rows - 1, 1)) - 1], dim=-1)


def backward(images: Tensor, flow: Tensor) -> Tensor:
    """Images as they look from where the flow starts: out(x) = image(x + flow(x)), bilinear.

    Beyond the edges they continue with the value at the edge.

    Parameters
    ----------
    images
        n × channels × rows × columns.
    flow
        n × 2 × rows × columns (pixels).

    Examples
    --------
    >>> image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> flow = torch.tensor([[[[0.0] * 3], [[1.0] * 3]]])
    >>> backward(image, flow).tolist()
    [[[[2.0, 3.0, 3.0]]]]
    """
    grid = grid_of(places(flow), *images.shape[-2:])
    warped = functional.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return warped.to(images.dtype)


def splat(values: Tensor, flow: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Forward warping: every pixel's value goes where its flow points, shared among four pixels.

    Their quotient is the weighted mean of what arrives at a pixel (softmax splatting, Niklaus and
    Liu, CVPR 2020, if the weights are exponentials). What leaves the frame is lost.

    Parameters
    ----------
    values
        n × channels × rows × columns.
    flow
        n × 2 × rows × columns (pixels).
    weight
        n × 1 × rows × columns, not negative.

    Returns
    -------
    sums
        Of weight × value, n × channels × rows × columns, single precision.
    weights
        That arrived, n × 1 × rows × columns; 0 where nothing did.

    Examples
    --------
    >>> image = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> flow = torch.tensor([[[[0.0] * 3], [[1.0] * 3]]])
    >>> sums, weights = splat(image, flow, torch.ones_like(image))
    >>> sums.tolist(), weights.tolist()
    ([[[[0.0, 1.0, 2.0]]]], [[[[0.0, 1.0, 1.0]]]])
    """
    count, channels, rows, columns = values.shape
    weight = weight.float()
    loads = torch.cat([values.float() * weight, weight], 1).flatten(2)
    place = places(flow)
    corner = place.detach().floor()
    part = place - corner
    sums = loads.new_zeros(count, channels + 1, rows * columns)
    for down in (0, 1):
        for right in (0, 1):
            y, x = corner[:, 0] + down, corner[:, 1] + right
            inside = (y >= 0) & (y < rows) & (x >= 0) & (x < columns)
            near_y = part[:, 0] if down else 1 - part[:, 0]
            near_x = part[:, 1] if right else 1 - part[:, 1]
            near = (near_y * near_x * inside).flatten(1)[:, None]
            index = y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)
            flat = index.long().flatten(1)[:, None].expand(-1, channels + 1, -1)
            sums = sums.scatter_add(2, flat, loads * near)
    sums = sums.view(count, channels + 1, rows, columns)
    return sums[:, :-1], sums[:, -1:]


def resized(flow: Tensor, factor: float) -> Tensor:
    """A flow for frames of another size: the map resized, its numbers too.

    Examples
    --------
    >>> resized(torch.ones(1, 2, 4, 4), 2.0)[0, :, 0, 0].tolist()
    [2.0, 2.0]
    """
    enlarged = functional.interpolate(
        flow, scale_factor=factor, mode="bilinear", align_corners=False
    )
    return enlarged * factor
