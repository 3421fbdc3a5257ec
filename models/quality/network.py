"""The quality network: a grey STED frame in, a score in [0, 1] out.

Robitaille, Durand, Gardner, Gagné, De Koninck, Lavoie-Cardinal, "Rating Super-Resolution
Microscopy Images with Deep Learning", AAAI 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

INPUT_SIZE = 224
"""Rows and columns of the network's input (pixels)."""

CHANNELS = (16, 16, 32, 64, 64, 128)
HIDDEN = 128


class QualityNet(nn.Module):
    """Six convolutional and two fully connected layers, as in Robitaille et al. (2018).

    Each convolution is followed by an ELU and a 2 × 2 max pooling, the first fully connected
    layer by an ELU, the second by the sigmoid. Batch normalization follows every hidden layer
    but the first.

    Where the paper leaves room, this is how it is read:

    - It gives the pooling a stride of 1. It is 2 here. With stride 1 six poolings leave maps
      of 218 × 218 pixels, so that even with 128 channels and 128 hidden units the first
      fully connected layer would have 7.8 × 10⁸ weights, which the paper's 1,824 images
      cannot determine; and a neuron before it would see 19 pixels (380 nm), too little to
      tell a blurred structure from a broad one. With stride 2 the maps are 3 × 3.
    - Pooling comes before the ELU. The ELU rises everywhere, so that the largest of four is
      the same pixel before and after it: the result is the same, with a quarter of the ELUs.
    - The output layer is not batch-normalized: over a batch that would take away the very
      thing that is to be learned, the level of each frame's score.
    - Convolutions are 3 × 3 and zero-padded, except that the first is 5 × 5: at 20 nm
      a pixel the STED focus is two to five pixels wide.

    Parameters
    ----------
    channels
        Output channels of the six convolutions.
    hidden
        Units of the first fully connected layer.
    """

    def __init__(self, channels: Sequence[int] = CHANNELS, hidden: int = HIDDEN) -> None:
        super().__init__()
        if len(channels) != 6:
            raise ValueError(f"channels: found {len(channels)} numbers, accepted are 6")
        layers: list[nn.Module] = []
        previous = 1
        for depth, width in enumerate(channels):
            first = depth == 0
            # A bias before batch normalization would be subtracted again.
            kernel = 5 if first else 3
            layers.append(nn.Conv2d(previous, width, kernel, padding=kernel // 2, bias=first))
            if not first:
                layers.append(nn.BatchNorm2d(width))
            layers += [nn.MaxPool2d(2), nn.ELU(inplace=True)]
            previous = width
        self.features = nn.Sequential(*layers)
        side = INPUT_SIZE // 2 ** len(channels)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(previous * side**2, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ELU(inplace=True),
            nn.Linear(hidden, 1),
            nn.Sigmoid(),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """Scores (n,) in [0, 1] of normalized frames (n, 1, 224, 224) at 20 nm a pixel."""
        if frames.shape[1:] != (1, INPUT_SIZE, INPUT_SIZE):
            raise ValueError(
                f"input of shape {tuple(frames.shape)}; accepted is"
                f" (n, 1, {INPUT_SIZE}, {INPUT_SIZE})"
            )
        # With channels last the small convolutions run two to three times sooner on a CPU.
        frames = frames.contiguous(memory_format=torch.channels_last)
        scores: Tensor = self.head(self.features(frames)).squeeze(1)
        return scores
