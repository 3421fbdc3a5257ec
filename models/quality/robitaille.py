"""The network of Robitaille et al. (2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.quality.network import CHANNELS, HIDDEN, RatingNet, convolutions
from models.quality.preparing import INPUT


class RobitailleNet(RatingNet):
    """Six convolutional and two fully connected layers, as in Robitaille et al. (2018).

    Batch normalization follows every hidden layer but the first; not the output, from which it
    would take away the very thing that is to be learned, the level of each frame's score. The
    standard deviation of its error is one number for all frames: the paper's network has none.

    Parameters
    ----------
    channels
        Output channels of the six convolutions.
    hidden
        Units of the first fully connected layer.

    Examples
    --------
    >>> network = RobitailleNet(channels=(2, 2, 2, 2, 2, 2), hidden=4).eval()
    >>> tuple(network(torch.zeros(3, 1, INPUT, INPUT)).value.shape)
    (3,)
    """

    def __init__(self, channels: Sequence[int] = CHANNELS, hidden: int = HIDDEN) -> None:
        super().__init__(hidden)
        self.features = convolutions(channels)
        side = INPUT // 2 ** len(channels)
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels[-1] * side**2, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ELU(inplace=True),
        )
        self.head = nn.Sequential(nn.Linear(hidden, 1), nn.Sigmoid())

    def seen(self, frames: Tensor) -> Tensor:
        """What the first fully connected layer says."""
        features: Tensor = self.hidden(self.features(self.check(frames)))
        return features

    def said(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """One head, whose standard deviation is 1: `calibration` alone says what it is."""
        value = self.head(features).T
        return value, torch.ones_like(value)

    def last(self) -> nn.Module:
        """The output layer."""
        return self.head
