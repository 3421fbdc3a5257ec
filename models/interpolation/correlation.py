"""How alike the features of two frames are, moved against each other."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def correlation(first: Tensor, second: Tensor, reach: int, *, both: bool) -> Tensor:
    """How alike two maps are around each pixel when moved against each other.

    The cosine of the angle between features, which does not depend on brightness: bleaching does
    not matter.

    Parameters
    ----------
    first, second
        n × channels × rows × columns.
    reach
        Shifts of −reach to reach pixels along each axis.
    both
        Move the first one, too, by the opposite shift: motion through a pixel of a frame between
        the two.

    Returns
    -------
    Tensor
        n × (2 · reach + 1)² × rows × columns.

    Examples
    --------
    >>> maps = torch.rand(1, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    >>> found = correlation(maps, maps, 1, both=False)
    >>> tuple(found.shape), bool(torch.allclose(found[:, 4], torch.ones(1)))
    ((1, 9, 6, 6), True)
    """
    rows, columns = first.shape[-2:]
    first, second = (functional.normalize(maps, dim=1, eps=1e-3) for maps in (first, second))
    margin = (reach,) * 4
    moved = functional.pad(second, margin, mode="replicate")
    anchor = functional.pad(first, margin, mode="replicate") if both else first
    found = []
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            there = moved[..., reach + y :, reach + x :][..., :rows, :columns]
            here = anchor
            if both:
                here = anchor[..., reach - y :, reach - x :][..., :rows, :columns]
            found.append((here * there).sum(1))
    return torch.stack(found, 1)
