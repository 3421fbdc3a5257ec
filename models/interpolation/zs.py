"""Zooming SlowMo: features of the missing frame from deformable alignment, no flow.

Xiang et al., "Zooming Slow-Mo: fast and accurate one-stage space-time video super-resolution", CVPR
2020, written from its description, ×1 in space as in content-aware frame interpolation (CAFI,
Priessner et al., Nat. Methods 2024); pyramid, cascading and deformable alignment (PCD) after EDVR
(Wang et al., CVPR Workshops 2019).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.interpolation.deformable import deform
from models.interpolation.interface import (
    FIRST_SCALE,
    Interpolator,
    Staged,
    gate,
    positive,
    sized,
)
from models.interpolation.pyramid import twice
from models.restoration.network import Laplace

_SLOPE = 0.1
"""Of leaky ReLUs below zero, as published."""
_LEVELS = 3
"""Scales of the alignment, as published."""


class ZoomingSlowMo(Interpolator):
    """Deformable feature interpolation, a deformable ConvLSTM both ways, residual blocks.

    The default is the published configuration: 64 channels, 5 and 40 residual blocks, 8 groups. It
    has 10.8 million parameters; the published 11.1 million include two convolutions that make
    frames four times as large by pixel shuffle, and are of no use here.

    What differs from the publication: frames are grey; the missing frame may be at any time, as the
    features of either neighbour are weighed by how near it is (at t = 0.5 by 1, as published);
    what the network says is added to the linear blend, so that the intensities are those of the
    measured frames from the beginning; a second output is the scale. The states of the ConvLSTM
    are not aligned before there are any. Only the missing frame is reconstructed.

    Parameters
    ----------
    channels
        Of all features.
    groups
        Of the deformable convolutions; a divisor of `channels`.
    front, back
        Residual blocks before the alignment, and in the reconstruction.

    Examples
    --------
    >>> network = ZoomingSlowMo(channels=8, groups=2, front=1, back=1).eval()
    >>> before, after = torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16)
    >>> torch.equal(network(before, after, 0.0).location, before)
    True
    """

    multiple = 1 << (_LEVELS - 1)
    limits = (
        "In the manner of Zooming SlowMo, and not that network: two frames go in and one comes out,"
        " where four went in and seven came out, so that its memory has one step each way."
        " As published it has 64 channels and 45 residual blocks, and was trained for 600,000 steps"
        " of 16 crops; see `architecture` and `recipe` for how much less this is. Its figures say"
        " nothing of the publication's.",
    )

    def __init__(self, channels: int = 64, groups: int = 8, front: int = 5, back: int = 40) -> None:
        super().__init__()
        sized(channels=channels, groups=groups, front=front, back=back)
        if channels % groups:
            raise ValueError(
                f"groups: found {groups}; accepted: divisors of the channels, {channels}"
            )
        self.channels, self.groups, self.front, self.back = channels, groups, front, back
        self.first = nn.Sequential(_conv(1, channels), nn.LeakyReLU(_SLOPE, inplace=True))
        self.extract = nn.Sequential(*(_Residual(channels) for _ in range(front)))
        self.between = _Alignment(channels, groups)
        self.memory = _DeformableLSTM(channels, groups)
        self.directions = nn.Conv2d(2 * channels, channels, 1)
        self.reconstruct = nn.Sequential(*(_Residual(channels) for _ in range(back)))
        self.last = nn.Sequential(
            _conv(channels, channels), nn.LeakyReLU(_SLOPE, inplace=True), _conv(channels, 2)
        )
        head = self.last[-1]
        assert isinstance(head, nn.Conv2d)
        nn.init.normal_(head.weight, std=1e-3)
        assert head.bias is not None
        nn.init.constant_(head.bias[1:], FIRST_SCALE)

    @property
    def bytes_a_pixel(self) -> int:
        """Measured with the shipped sizes and twice the channels; between them it is linear."""
        return 3200 + 360 * self.channels

    @property
    def architecture(self) -> dict[str, Any]:
        """What `networks.build` makes this network from."""
        names = ("channels", "groups", "front", "back")
        return {"network": "zs", **{name: getattr(self, name) for name in names}}

    def estimate(self, before: Tensor, after: Tensor, t: Tensor) -> Staged:
        """The frame at time t; there are no stages."""
        features = self.extract(self.first(torch.cat([before, after])))
        first, second = features.chunk(2)
        missing = self.between(first, second, t)
        # The two directions share their weights, and so one batch.
        nothing = torch.zeros_like(features)
        start = self.memory(features, nothing, nothing, aligned=True)
        seen, _ = self.memory(missing.repeat(2, 1, 1, 1), *start)
        missing = self.directions(torch.cat(seen.chunk(2), 1))
        missing = missing + self.reconstruct(missing)
        added, scale = self.last(missing).float().split(1, 1)
        location = (1 - t) * before + t * after + gate(t) * added
        return Staged(Laplace(location, positive(scale)), [])


class _Residual(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels), nn.ReLU(inplace=True), _conv(channels, channels)
        )
        # So that forty of them, one after the other, begin near the identity.
        for part in self.body:
            if isinstance(part, nn.Conv2d):
                part.weight.data.mul_(0.1)

    def forward(self, features: Tensor) -> Tensor:
        """Maps of the same size."""
        changed: Tensor = features + self.body(features)
        return changed


class _Alignment(nn.Module):
    """Map between two maps: each aligned to the other over a pyramid, then the two fused."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.smaller = nn.ModuleList(
            nn.Sequential(
                _conv(channels, channels, stride=2),
                nn.LeakyReLU(_SLOPE, inplace=True),
                _conv(channels, channels),
                nn.LeakyReLU(_SLOPE, inplace=True),
            )
            for _ in range(_LEVELS - 1)
        )
        self.forwards = _Cascade(channels, groups)
        self.backwards = _Cascade(channels, groups)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, first: Tensor, second: Tensor, t: Tensor | float = 0.5) -> Tensor:
        """Maps of the same size, for a time t between the two."""
        pyramid = [torch.cat([first, second])]
        for smaller in self.smaller:
            pyramid.append(smaller(pyramid[-1]))
        firsts = [level[: len(first)] for level in pyramid]
        seconds = [level[len(first) :] for level in pyramid]
        ahead = self.forwards(firsts, seconds)
        back = self.backwards(seconds, firsts)
        found: Tensor = self.fuse(torch.cat([2 * (1 - t) * ahead, 2 * t * back], 1))
        return found


class _Cascade(nn.Module):
    """Pyramid, cascading and deformable alignment of one map to another, coarse to fine."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        coarsest = _LEVELS - 1
        self.compare = nn.ModuleList(_conv(2 * channels, channels) for _ in range(_LEVELS))
        # With the offsets of the coarser level, where there is one.
        self.join = nn.ModuleList(_conv(2 * channels, channels) for _ in range(coarsest))
        self.settle = nn.ModuleList(_conv(channels, channels) for _ in range(_LEVELS))
        self.sample = nn.ModuleList(_Deformable(channels, groups) for _ in range(_LEVELS))
        self.merge = nn.ModuleList(_conv(2 * channels, channels) for _ in range(coarsest))

    def forward(self, moving: list[Tensor], fixed: list[Tensor]) -> Tensor:
        """Finest of the moving maps, aligned; maps are finest first."""
        offsets: Tensor | None = None
        aligned: Tensor | None = None
        for level in reversed(range(_LEVELS)):
            apart = _leaky(self.compare[level](torch.cat([moving[level], fixed[level]], 1)))
            if offsets is not None:
                # A shift is twice as many pixels at twice the size.
                apart = _leaky(self.join[level](torch.cat([apart, 2 * twice(offsets)], 1)))
            offsets = _leaky(self.settle[level](apart))
            found = self.sample[level](moving[level], offsets)
            if aligned is not None:
                found = self.merge[level](torch.cat([found, twice(aligned)], 1))
            aligned = _leaky(found) if level else found
        assert aligned is not None
        return aligned


class _Deformable(nn.Module):
    """A modulated deformable 3 × 3 convolution whose offsets and masks come from other maps."""

    def __init__(self, channels: int, groups: int, side: int = 3) -> None:
        super().__init__()
        self.taps = groups * side * side
        self.kernel = _conv(channels, channels)
        self.where = nn.Conv2d(channels, 3 * self.taps, 3, padding=1)
        # It begins as a plain convolution at half its strength.
        nn.init.zeros_(self.where.weight)
        assert self.where.bias is not None
        nn.init.zeros_(self.where.bias)

    def forward(self, features: Tensor, offsets: Tensor) -> Tensor:
        """Maps of the same size."""
        shift, mask = self.where(offsets).split([2 * self.taps, self.taps], 1)
        kernel = self.kernel
        return deform(features, shift, torch.sigmoid(mask.float()), kernel.weight, kernel.bias)


class _DeformableLSTM(nn.Module):
    """A convolutional LSTM whose states are aligned to each input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.align_hidden = _Alignment(channels, groups)
        self.align_cell = _Alignment(channels, groups)
        self.gates = _conv(2 * channels, 4 * channels)

    def forward(
        self, features: Tensor, hidden: Tensor, cell: Tensor, *, aligned: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The next hidden and cell state."""
        if not aligned:
            hidden = self.align_hidden(hidden, features)
            cell = self.align_cell(cell, features)
        into, forget, out, new = self.gates(torch.cat([features, hidden], 1)).chunk(4, 1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
        return torch.sigmoid(out) * torch.tanh(cell), cell


def _conv(before: int, after: int, stride: int = 1) -> nn.Conv2d:
    made = nn.Conv2d(before, after, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(made.weight, a=_SLOPE, nonlinearity="leaky_relu")
    assert made.bias is not None
    nn.init.zeros_(made.bias)
    return made


def _leaky(maps: Tensor) -> Tensor:
    return functional.leaky_relu(maps, _SLOPE)
