"""What the quality networks have in common: a grey STED frame in, a score in [0, 1] out.

`robitaille.RobitailleNet` is the network of Robitaille, Durand, Gardner, Gagné, De Koninck,
Lavoie-Cardinal, "Rating Super-Resolution Microscopy Images with Deep Learning", AAAI 2018.
`spectral.QualityNet` is ours, made of the same convolutions, with the frame's power spectrum beside
them and several heads, which also say how sure they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.quality.preparing import INPUT

CHANNELS = (16, 16, 32, 64, 64, 128)
"""Output channels of the six convolutions, unless a recipe has others; chosen."""
HIDDEN = 128
"""Units of the first fully connected layer, likewise."""
SMALLEST_SD = 0.005
"""Least standard deviation of a score; chosen."""


class Judgements(NamedTuple):
    """What the heads of a network say about n frames.

    Parameters
    ----------
    value, sd
        Heads × n: score in [0, 1] and standard deviation of its error.
    features
        n × features: what the heads looked at.
    """

    value: Tensor
    sd: Tensor
    features: Tensor


class Prediction(NamedTuple):
    """Scores (n), their calibrated standard deviations (n), and how unfamiliar frames are (n).

    `distance` is in units of the familiar limit: above 1 a frame is unlike the training data.
    """

    value: Tensor
    sd: Tensor
    distance: Tensor


def convolutions(channels: Sequence[int]) -> nn.Sequential:
    """Six convolutions, as in Robitaille et al. (2018).

    Each is followed by a 2 × 2 max pooling and an ELU, all but the first by batch normalization.
    Where the paper leaves room, this is how it is read:

    - It gives the pooling a stride of 1. It is 2 here. With stride 1 six poolings leave maps
      of 218 × 218 pixels, so that even with 128 channels and 128 hidden units the first
      fully connected layer would have 7.8 × 10⁸ weights, which the paper's 1,824 images
      cannot determine; and a neuron before it would see 19 pixels (380 nm), too little to
      tell a blurred structure from a broad one. With stride 2 the maps are 3 × 3.
    - Pooling comes before the ELU. The ELU rises everywhere, so that the largest of four is
      the same pixel before and after it: the result is the same, with a quarter of the ELUs.
    - Convolutions are 3 × 3 and zero-padded, except that the first is 5 × 5: at 20 nm
      a pixel the STED focus is two to five pixels wide.

    Examples
    --------
    >>> layers = convolutions((2, 2, 2, 2, 2, 2)).eval()
    >>> tuple(layers(torch.zeros(1, 1, 224, 224)).shape)
    (1, 2, 3, 3)
    """
    if len(channels) != 6:
        raise ValueError(f"channels: found {len(channels)} numbers; accepted: 6")
    layers: list[nn.Module] = []
    previous = 1
    for depth, width in enumerate(channels):
        first = depth == 0
        kernel = 5 if first else 3
        # A bias before batch normalization would be subtracted again.
        layers.append(nn.Conv2d(previous, width, kernel, padding=kernel // 2, bias=first))
        if not first:
            layers.append(nn.BatchNorm2d(width))
        layers += [nn.MaxPool2d(2), nn.ELU(inplace=True)]
        previous = width
    return nn.Sequential(*layers)


class RatingNet(nn.Module, ABC):
    """Common parts of both networks: calibration, and distance from their training data.

    Parameters
    ----------
    groups
        How many numbers of a frame the heads look at, by kind. A frame is as unfamiliar as the
        kind in which it is most unlike the training data.
    """

    def __init__(self, *groups: int) -> None:
        super().__init__()
        self.groups = groups
        features = sum(groups)
        self.register_buffer("calibration", torch.ones(()))
        self.register_buffer("familiar_mean", torch.zeros(features))
        self.register_buffer("familiar_whitening", torch.zeros(features, features))

    calibration: Tensor
    familiar_mean: Tensor
    familiar_whitening: Tensor

    @abstractmethod
    def seen(self, frames: Tensor) -> Tensor:
        """What the heads look at (n × features), of normalized frames (n, 1, 224, 224)."""

    @abstractmethod
    def said(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Score and standard deviation by each head (heads × n), of what it looks at."""

    @abstractmethod
    def last(self) -> nn.Module:
        """The heads: all that lies behind `seen`."""

    def judge(self, frames: Tensor) -> Judgements:
        """What each head says; see `Judgements`."""
        features = self.seen(frames)
        return Judgements(*self.said(features), features)

    def forward(self, frames: Tensor) -> Prediction:
        """Predictions for normalized frames (n, 1, 224, 224) at 20 nm a pixel."""
        return self.together(self.judge(frames))

    def together(self, judged: Judgements) -> Prediction:
        """What the heads say together, and how unfamiliar is what they look at."""
        value, sd, features = judged
        # Of heads that disagree, each may be right (law of total variance).
        total = (sd.square().mean(0) + value.var(0, unbiased=False)).sqrt()
        away = (features - self.familiar_mean) @ self.familiar_whitening
        parts = [part.square().mean(1).sqrt() for part in torch.split(away, list(self.groups), 1)]
        return Prediction(value.mean(0), total * self.calibration, torch.stack(parts).amax(0))

    @staticmethod
    def check(frames: Tensor) -> Tensor:
        """Refuse a wrong shape; with channels last the small convolutions run 2 to 3 × sooner."""
        if frames.shape[1:] != (1, INPUT, INPUT):
            raise ValueError(
                f"input of shape {tuple(frames.shape)}; accepted: (n, 1, {INPUT}, {INPUT})"
            )
        return frames.contiguous(memory_format=torch.channels_last)
