"""The restoration network: a grey frame in, the restored one and its uncertainty out.

The U-Net of content-aware restoration (Weigert et al., "Content-aware image restoration", Nat.
Methods 15, 1090, 2018), which label2label uses as it is (Kölln et al., J. Cell Sci. 135,
jcs258994, 2022).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

SMALLEST_SCALE = 1e-3
"""Least scale (normalized units); chosen."""
_FIRST_SCALE = -2.25
"""Bias of the scale's output before training: a scale of 0.1 (normalized units); chosen."""


class Laplace(NamedTuple):
    """A Laplace distribution for every pixel, n × 1 × rows × columns each, in normalized units.

    Parameters
    ----------
    location
        Its median: the restored frame.
    scale
        Mean absolute deviation from it; √2 × `scale` is the standard deviation.
    """

    location: Tensor
    scale: Tensor


class RestorationNet(nn.Module):
    """A U-Net whose output is a Laplace distribution per pixel.

    Two convolutions with ReLU a level, max pooling over 2 × 2 on the way down, nearest-neighbour
    enlargement and concatenation on the way up, a linear 1 × 1 convolution at the end. The number
    of filters doubles with each level and is halved on the way up, by the second convolution.

    With one output and the defaults this is the published 2-D network with its 922,977
    parameters; the output for the scale adds `first` + 1.

    Parameters
    ----------
    depth
        Poolings.
    kernel
        Side of the convolutions, odd.
    first
        Filters of the first level.
    residual
        Add the input to the location: the network learns what to change. A network for blind
        spots does better without.
    channels_in
        Channels of the input; the first is the one that is restored.

    Examples
    --------
    >>> network = RestorationNet(first=4)
    >>> location, scale = network(torch.zeros(1, 1, 32, 32))
    >>> tuple(location.shape), network.multiple
    ((1, 1, 32, 32), 4)
    """

    def __init__(
        self,
        depth: int = 2,
        kernel: int = 5,
        first: int = 32,
        residual: bool = True,
        channels_in: int = 1,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("depth", depth, 1),
            ("kernel", kernel, 1),
            ("first", first, 1),
            ("channels_in", channels_in, 1),
        ):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ValueError(f"{name}: found {value!r}; accepted: {least} and more")
        if kernel % 2 == 0:
            raise ValueError(f"kernel: found {kernel}; accepted: odd numbers")
        self.depth, self.kernel, self.first = depth, kernel, first
        self.residual, self.channels_in = bool(residual), channels_in
        widths = [first * 2**level for level in range(depth)]
        self.down = nn.ModuleList(
            _pair(before, width, width, kernel)
            for before, width in zip([channels_in, *widths], widths, strict=False)
        )
        deepest = first * 2**depth
        self.bottom = _pair(widths[-1], deepest, widths[-1], kernel)
        self.up = nn.ModuleList(
            _pair(2 * width, width, max(first, width // 2), kernel) for width in reversed(widths)
        )
        self.head = nn.Conv2d(first, 2, 1)
        self._start()

    def _start(self) -> None:
        """Random weights and no biases: Glorot's uniform ones, as the published network.

        From those, small networks without the residual end with all ReLUs shut; they start from
        He's normal ones (ICCV 2015), as suits ReLUs, from which residual networks learn no better.
        """
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                if self.residual or part is self.head:
                    nn.init.xavier_uniform_(part.weight)
                else:
                    nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                assert part.bias is not None
                nn.init.zeros_(part.bias)
        assert self.head.bias is not None
        # A scale of about 0.1, from which the way to any real one is short.
        nn.init.constant_(self.head.bias[1:], _FIRST_SCALE)

    @property
    def architecture(self) -> dict[str, Any]:
        """What `build` makes this network from."""
        names = ("depth", "kernel", "first", "residual", "channels_in")
        return {name: getattr(self, name) for name in names}

    @property
    def multiple(self) -> int:
        """Rows and columns of the input must be multiples of this."""
        return 1 << self.depth

    @property
    def reach(self) -> int:
        """How far to each side lie the pixels that an output pixel depends on.

        Each of the two convolutions a level reaches kernel // 2 pixels of its level; pooling and
        enlarging tie a pixel to any of its block of 2^depth. With the published numbers 43, the
        overlap of tiles that CARE uses.
        """
        levels = 2 * sum(1 << level for level in range(self.depth)) + self.multiple
        return 2 * (self.kernel // 2) * levels + self.multiple - 1

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale of normalized frames.

        Parameters
        ----------
        frames
            n × channels_in × rows × columns; rows and columns multiples of `multiple`.

        Returns
        -------
        Laplace
            Location and scale, each n × 1 × rows × columns.

        Raises
        ------
        ValueError
            For another shape.
        """
        self._check(frames)
        across, features = [], frames
        for level in self.down:
            features = level(features)
            across.append(features)
            features = functional.max_pool2d(features, 2)
        features = self.bottom(features)
        for level, beside in zip(self.up, reversed(across), strict=True):
            wide = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = level(torch.cat([wide, beside], 1))
        location, scale = self.head(features).split(1, 1)
        if self.residual:
            location = location + frames[:, :1]
        return Laplace(location, functional.softplus(scale) + SMALLEST_SCALE)

    def _check(self, frames: Tensor) -> None:
        rows, columns = frames.shape[-2:]
        fits = rows % self.multiple == 0 and columns % self.multiple == 0 and rows and columns
        if frames.ndim != 4 or frames.shape[1] != self.channels_in or not fits:
            raise ValueError(
                f"input of shape {tuple(frames.shape)}; accepted: (n, {self.channels_in}, rows,"
                f" columns) with rows and columns multiples of {self.multiple}"
            )


def _pair(before: int, between: int, after: int, kernel: int) -> nn.Sequential:
    """Two convolutions with ReLU that keep the size of the frame."""
    return nn.Sequential(
        nn.Conv2d(before, between, kernel, padding=kernel // 2),
        nn.ReLU(inplace=True),
        nn.Conv2d(between, after, kernel, padding=kernel // 2),
        nn.ReLU(inplace=True),
    )


def build(architecture: dict[str, Any]) -> RestorationNet:
    """Make a network from the `architecture` of its model card.

    Raises
    ------
    ValueError
        It has a key that there is not, or a value that cannot be.

    Examples
    --------
    >>> build({"depth": 1, "first": 8}).multiple
    2
    """
    known = ("depth", "kernel", "first", "residual", "channels_in")
    if unknown := sorted(set(architecture) - set(known)):
        raise ValueError(f"architecture: found {', '.join(unknown)}; accepted: {', '.join(known)}")
    return RestorationNet(**architecture)
