"""The restoration network rewritten so that it computes the same with less work.

Three steps, none of which changes the result beyond rounding (about 1e-6 of the range):

- Nearest-neighbour enlargement and the convolution after it become one convolution of the small
  maps. Among the k × k pixels that a kernel sees of an enlarged map are only (k + 1) / 2 along each
  axis that differ; which ones depends on whether the output pixel is even or odd. So the
  weights that meet the same pixel are added, once for each of the four kinds of output pixel,
  and the four results are put side by side. For k = 5 that is 9 products instead of 25, for k = 3
  it is 4 instead of 9.
- A convolution of concatenated maps is the sum of convolutions of each: nothing is concatenated.
- Channels lie last in memory, which is how the convolutions of oneDNN and cuDNN want them; the
  1 × 1 convolution at the end is a product of matrices, in single precision always.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layout import placed
from models.restoration.network import SMALLEST_SCALE, Laplace, RestorationNet


class Folded(nn.Module):
    """A trained `RestorationNet`, for inference only.

    Parameters
    ----------
    network
        The trained one; its weights are copied.

    Examples
    --------
    >>> network = RestorationNet(first=4).eval()
    >>> frame = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> folded = Folded(network)(frame)
    >>> torch.allclose(folded.location, network(frame).location, atol=1e-4)
    True
    """

    def __init__(self, network: RestorationNet) -> None:
        super().__init__()
        self.residual = network.residual
        self.channels_in, self.multiple = network.channels_in, network.multiple
        self.down = nn.ModuleList(_Pair(pair[0], pair[2]) for pair in _pairs(network.down))
        self.bottom = _Pair(network.bottom[0], network.bottom[2])
        self.up = nn.ModuleList(_Up(pair[0], pair[2]) for pair in _pairs(network.up))
        self.register_buffer("weight", network.head.weight.detach()[:, :, 0, 0].clone())
        bias = network.head.bias
        assert bias is not None
        self.register_buffer("bias", bias.detach()[:, None].clone())
        placed(self)

    weight: Tensor
    bias: Tensor

    def narrowed(self, dtype: torch.dtype) -> Folded:
        """Convolve in numbers of fewer digits; the head and all after it stay as they are."""
        for part in (*self.down, self.bottom, *self.up):
            part.to(dtype)
        return self

    def forward(self, frames: Tensor) -> Laplace:
        """Location and scale, as `RestorationNet.forward` gives them."""
        # The convolutions may be of fewer digits than the frame, which is added to their result.
        features = frames.to(self.bottom.dtype, memory_format=torch.channels_last)
        across = []
        for level in self.down:
            features = level(features)
            across.append(features)
            features = functional.max_pool2d(features, 2)
        features = self.bottom(features)
        for level in self.up:
            features = level(features, across.pop())
        # channels × pixels: a view, as channels lie last.
        n, channels, rows, columns = features.shape
        flat = features.permute(0, 2, 3, 1).reshape(n, rows * columns, channels).mT
        planes = torch.matmul(self.weight, flat.to(self.weight.dtype)).add_(self.bias)
        planes = planes.view(n, 2, rows, columns)
        location, scale = planes[:, :1], planes[:, 1:]
        if self.residual:
            location = location + frames[:, :1]
        return Laplace(location, functional.softplus(scale) + SMALLEST_SCALE)


class _Pair(nn.Module):
    """Two convolutions with ReLU, as they are in the network."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = _copy(first), _copy(second)

    @property
    def dtype(self) -> torch.dtype:
        """Number type of its convolutions."""
        return self.first.weight.dtype

    def forward(self, features: Tensor) -> Tensor:
        """Maps of the same size."""
        return _relu(self.second(_relu(self.first(features))))


class _Up(nn.Module):
    """Enlargement, concatenation and two convolutions with ReLU.

    Parameters
    ----------
    first
        Sees the enlarged maps and, after them, as many from across.
    second
        The other convolution.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        assert isinstance(first, nn.Conv2d)
        wide = first.in_channels // 2
        weight = first.weight.detach()
        self.beside = _copy(first, weight[:, wide:])
        self.small, self.odd = fold(weight[:, :wide])
        self.second = _copy(second)

    def forward(self, small: Tensor, beside: Tensor) -> Tensor:
        """Maps of the size of `beside`, which has twice the rows and columns of `small`."""
        sum_ = self.beside(beside)
        four = self.small(small)
        rows, columns = small.shape[-2:]
        for y in (0, 1):
            for x in (0, 1):
                # Output pixels (2i + y, 2j + x) come from the results of kind (y, x).
                kind = four.unflatten(1, (4, -1))[:, 2 * y + x]
                top, left = y * self.odd, x * self.odd
                sum_[:, :, y::2, x::2] += kind[..., top : top + rows, left : left + columns]
        return _relu(self.second(_relu(sum_)))


def fold(weight: Tensor) -> tuple[nn.Conv2d, int]:
    """A convolution of small maps, in place of one of the maps enlarged by two.

    Parameters
    ----------
    weight
        Of the convolution of the enlarged maps, out × in × k × k, k odd, padded by k // 2.

    Returns
    -------
    convolution
        Gives 4 × out channels: those of output pixels (even, even), (even, odd), (odd, even)
        and (odd, odd), row before column.
    odd
        By how many small pixels the results for odd output pixels are ahead: 1 where k // 2 is odd.
        Then the convolution gives a row and a column more than it gets.

    Examples
    --------
    >>> convolution, odd = fold(torch.rand(2, 3, 5, 5))
    >>> convolution.out_channels, odd
    (8, 0)
    """
    out, channels, side, _ = weight.shape
    pad = side // 2
    odd = pad % 2
    taps = pad + 1
    # Pixel 2i + parity + d of the enlarged map is pixel i + (parity + d) // 2 of the small one.
    meets = torch.zeros(2, taps, side, dtype=torch.float64)
    for parity in (0, 1):
        lowest = (parity - pad) // 2
        for tap in range(side):
            meets[parity, (parity + tap - pad) // 2 - lowest, tap] = 1
    folded = torch.einsum("yrk,xcl,oikl->yxoirc", meets, meets, weight.double().cpu())
    convolution = nn.Conv2d(
        channels, 4 * out, taps, padding=(pad + 1) // 2, bias=False, device=weight.device
    )
    convolution.weight.data.copy_(folded.reshape(4 * out, channels, taps, taps))
    return convolution, odd


def _pairs(levels: nn.ModuleList) -> list[nn.Sequential]:
    return [cast("nn.Sequential", level) for level in levels]


def _copy(convolution: nn.Module, weight: Tensor | None = None) -> nn.Conv2d:
    """The same convolution, or of some of its inputs only."""
    assert isinstance(convolution, nn.Conv2d)
    weight = convolution.weight.detach() if weight is None else weight
    out, channels, side, _ = weight.shape
    made = nn.Conv2d(channels, out, side, padding=side // 2, device=weight.device)
    assert convolution.bias is not None
    assert made.bias is not None
    made.weight.data.copy_(weight)
    made.bias.data.copy_(convolution.bias.detach())
    return made


def _relu(features: Tensor) -> Tensor:
    """In place: nothing else needs the maps before it."""
    return functional.relu(features, inplace=True)
