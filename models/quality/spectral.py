"""The default network: convolutions and the power spectrum, judged by several heads."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from models.quality.network import CHANNELS, HIDDEN, SMALLEST_SD, RatingNet, convolutions
from models.quality.preparing import INPUT


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

    def seen(self, frames: Tensor) -> Tensor:
        """Means and standard deviations of the last maps, and the power spectrum."""
        frames = self.check(frames)
        maps = self.features(frames).flatten(2)
        spread = (maps.var(2) + 1e-6).sqrt()
        found = [maps.mean(2), spread, self.spectrum(frames)]
        features: Tensor = self.scale(torch.cat(found, 1))
        return features

    def said(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Every head's score and standard deviation."""
        value, sd = zip(*(head(features) for head in self.heads), strict=True)
        return torch.stack(value), torch.stack(sd)

    def last(self) -> nn.Module:
        """All heads."""
        return self.heads


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
        return score.squeeze(1), 0.2 * self.error(known).squeeze(1) + SMALLEST_SD
