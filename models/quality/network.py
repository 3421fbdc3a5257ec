"""The quality networks: a grey STED frame in, a score in [0, 1] out.

`RobitailleNet` is the network of Robitaille, Durand, Gardner, Gagné, De Koninck, Lavoie-Cardinal,
"Rating Super-Resolution Microscopy Images with Deep Learning", AAAI 2018. `QualityNet` is ours,
made of the same convolutions, with the frame's power spectrum beside them and several heads, which
also say how sure they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.quality.preparing import INPUT
from models.refusals import refused

CHANNELS = (16, 16, 32, 64, 64, 128)
HIDDEN = 128
_SMALLEST_SD = 0.005


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
    def judge(self, frames: Tensor) -> Judgements:
        """What each head says; see `Judgements`."""

    def forward(self, frames: Tensor) -> Prediction:
        """Predictions for normalized frames (n, 1, 224, 224) at 20 nm a pixel."""
        value, sd, features = self.judge(frames)
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

    def judge(self, frames: Tensor) -> Judgements:
        """One head, whose standard deviation is 1: `calibration` alone says what it is."""
        features = self.hidden(self.features(self.check(frames)))
        value = self.head(features).T
        return Judgements(value, torch.ones_like(value), features)


class PowerSpectrum(nn.Module):
    """Logarithm of a frame's power spectrum, averaged over rings.

    Photon noise is alike at all frequencies, signal passed by the focus is not: resolution,
    contrast and noise, from which quality follows, stand side by side here, for any structure.

    Parameters
    ----------
    rings
        Between frequency 0 and Nyquist; one more has the corners beyond.

    Examples
    --------
    >>> tuple(PowerSpectrum(rings=8)(torch.zeros(1, 1, INPUT, INPUT)).shape)
    (1, 9)
    """

    def __init__(self, rings: int) -> None:
        super().__init__()
        self.rings = rings
        size = INPUT
        rows, cols = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
        ring = np.minimum((np.hypot(rows, cols) / 0.5 * rings).astype(int), rings)
        # The half spectrum of real numbers stands for both halves, except in these columns.
        twice = np.full(ring.shape, 2.0)
        twice[:, [0, size // 2]] = 1.0
        share = twice / np.bincount(ring.ravel(), twice.ravel())[ring]
        window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
        self.register_buffer("ring", torch.from_numpy(ring.ravel()), persistent=False)
        self.register_buffer("share", torch.from_numpy(share.ravel()).float(), persistent=False)
        taper = torch.from_numpy(np.outer(window, window)).float()
        self.register_buffer("taper", taper, persistent=False)

    ring: Tensor
    share: Tensor
    taper: Tensor

    def forward(self, frames: Tensor) -> Tensor:
        """Spectra (n, rings + 1) of frames (n, 1, 224, 224)."""
        flat = frames[:, 0].float()
        flat = (flat - flat.mean((1, 2), keepdim=True)) * self.taper
        power = torch.fft.rfft2(flat).abs().square().flatten(1) * self.share
        logarithm: Tensor = (self.summed(power, ordered=power.is_cuda) + 1e-3).log()
        return logarithm

    def summed(self, power: Tensor, *, ordered: bool) -> Tensor:
        """Sums over rings (n × rings + 1).

        A GPU's `index_add_` adds in the order in which its threads come, so a frame's score would
        change in its last digits each time; `ordered` does not, as a product of matrices. Training
        does without: it is not repeated to the last digit on a GPU anyway.
        """
        if not ordered or torch.is_grad_enabled():
            return power.new_zeros(len(power), self.rings + 1).index_add_(1, self.ring, power)
        of = torch.arange(self.rings + 1, device=power.device)
        member = (self.ring[:, None] == of).double()
        return (power.double() @ member).to(power.dtype)


class QualityNet(RatingNet):
    """Convolutions and power spectrum of a frame, and several heads that judge both.

    The convolutions are those of Robitaille et al. (2018). Their output is averaged over the frame,
    with its standard deviation, rather than kept by place: where in the frame a structure lies does
    not matter. Each head is trained on its own sample of the frames, so that they
    disagree where the training data left room, and says how far off it expects to be.

    Parameters
    ----------
    channels
        Output channels of the six convolutions.
    hidden
        Units of each of a head's two hidden layers.
    rings
        Of the power spectrum.
    heads
        How many.

    Examples
    --------
    >>> network = QualityNet(channels=(2, 2, 2, 2, 2, 2), hidden=4, rings=8, heads=2).eval()
    >>> tuple(network.judge(torch.zeros(3, 1, INPUT, INPUT)).value.shape)
    (2, 3)
    """

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        hidden: int = HIDDEN,
        rings: int = 48,
        heads: int = 4,
    ) -> None:
        groups = (channels[-1], channels[-1], rings + 1)
        super().__init__(*groups)
        self.features = convolutions(channels)
        self.spectrum = PowerSpectrum(rings)
        self.scale = nn.BatchNorm1d(sum(groups), affine=False)
        self.heads = nn.ModuleList(_Head(sum(groups), hidden) for _ in range(heads))

    def judge(self, frames: Tensor) -> Judgements:
        """Every head's score and standard deviation; see `Judgements`."""
        frames = self.check(frames)
        maps = self.features(frames).flatten(2)
        spread = (maps.var(2) + 1e-6).sqrt()
        found = [maps.mean(2), spread, self.spectrum(frames)]
        features = self.scale(torch.cat(found, 1))
        value, sd = zip(*(head(features) for head in self.heads), strict=True)
        return Judgements(torch.stack(value), torch.stack(sd), features)


class _Head(nn.Module):
    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()

        def layers(*sizes: int) -> list[nn.Module]:
            made: list[nn.Module] = []
            for before, after in pairwise(sizes):
                made += [nn.Linear(before, after), nn.ELU(inplace=True)]
            return made[:-1]

        self.score = nn.Sequential(*layers(features, hidden, hidden, 1), nn.Sigmoid())
        self.error = nn.Sequential(*layers(features + 1, hidden // 2, 1), nn.Softplus())

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Score and standard deviation, each (n)."""
        score = self.score(features)
        # Learning how large errors are must not change what makes them.
        known = torch.cat([features, 4 * score - 2], 1).detach()
        return score.squeeze(1), 0.2 * self.error(known).squeeze(1) + _SMALLEST_SD


NETWORKS = {"stedfast": QualityNet, "robitaille": RobitailleNet}


def build(architecture: dict[str, Any]) -> RatingNet:
    """Make a network from the `architecture` of its model card; its key `network` is its name.

    Raises
    ------
    ValueError, TypeError
        There is no such network, or it takes other parameters.

    Examples
    --------
    >>> type(build({"network": "stedfast", "heads": 2})).__name__
    'QualityNet'
    """
    rest = dict(architecture)
    name = rest.pop("network", None)
    if name not in NETWORKS:
        raise ValueError(f"network: {refused(name, NETWORKS)}")
    network: RatingNet = NETWORKS[name](**rest)
    return network
