"""DAIN for microscopy: flow between the measured frames, projected to the missing one.

Bao et al., "Depth-aware video frame interpolation", CVPR 2019, written from its description; flow
after PWC-Net (Sun et al., CVPR 2018), adaptive warping after MEMC-Net (Bao et al., TPAMI 2021).

There, a depth map says which of several pixels that arrive at one place wins: the nearest. In a
fluorescence image nothing hides what is behind it; light adds up, and depth has no meaning. What
decides here instead is learned without a target of its own, from the error of the frame alone: a
**weight of visibility**, how much a pixel's motion should count where several arrive. The
network that says it sees the features of the pixel, how bright it is, how well it is found
again where its flow points (which tells what appears, divides or goes out of the section from
what merely moves), and how well the flow of the other frame leads back. So it comes to be
high for what is bright, in focus and found again, and low for haze, background, noise and
what has gone: their motion, which no eye can tell, does not drag along what can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.interpolation.adaptive_warping import Kernels, adapted, open_kernels
from models.interpolation.correlation import correlation
from models.interpolation.flow import GAIN
from models.interpolation.interface import (
    FIRST_SCALE,
    IntermediateStep,
    Interpolator,
    Staged,
    gate,
    positive,
    share_of_before,
    sized,
)
from models.interpolation.pyramid import Pyramid, conv, twice
from models.interpolation.warping import backward, resized, splat
from models.restoration.network import Laplace

# exp of this is how much more a pixel may count than the usual one.
_LARGEST_WEIGHT = 6.0
# Far less than any weight: what to divide by where nothing arrives.
_FEW = 1e-6


class Dain(Interpolator):
    """Flow projection weighted by visibility, adaptive warping, residual rectification.

    With the defaults 0.72 million parameters; see the module for what stands in depth's place.

    Parameters
    ----------
    widths
        Channels of the pyramid's levels, finest first.
    hidden
        Channels of the flow estimators.
    context
        Channels of the features that are warped along with the frames.
    kernels
        Channels of the network of the adaptive kernels, finest first.
    rectify, blocks
        Channels and residual blocks of the rectification.
    reach
        Of the correlation, in pixels of each level; the two finest go without.

    Examples
    --------
    >>> network = Dain(widths=(4, 8), hidden=4, context=4, kernels=(4, 8), rectify=4, blocks=1)
    >>> before, after = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    >>> torch.equal(network.eval()(before, after, 0.0).location, before)
    True
    """

    limits = (
        "In the manner of DAIN, and not that network: learned visibility is in the place of depth,"
        " of which fluorescence has none, its context comes from its own pyramid, and its"
        " rectification is smaller. As published it began with flow, depth and features that had"
        " been trained on photographs and films; here nothing had, and `recipe` says how short the"
        " training was. Its figures say nothing of the publication's.",
    )

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 48, 64),
        hidden: int = 48,
        context: int = 16,
        kernels: Sequence[int] = (24, 48, 64),
        rectify: int = 40,
        blocks: int = 3,
        reach: int = 2,
    ) -> None:
        super().__init__()
        sized(
            widths=widths,
            hidden=hidden,
            context=context,
            kernels=kernels,
            rectify=rectify,
            blocks=blocks,
            reach=reach,
        )
        if len(kernels) > len(widths):
            raise ValueError(
                f"kernels: found {len(kernels)} levels; accepted: at most those of the pyramid,"
                f" {len(widths)}"
            )
        self.widths, self.kernels = tuple(widths), tuple(kernels)
        self.hidden, self.context, self.reach = hidden, context, reach
        self.rectify, self.blocks = rectify, blocks
        self.multiple = 1 << (max(len(self.widths), len(self.kernels)) - 1)
        self.pyramid = Pyramid(self.widths)
        last = len(self.widths) - 1
        # Motion is found down to half the frames' size, as in PWC-Net to a quarter of it.
        self.estimators = nn.ModuleList(
            _FlowStep(width, hidden, hidden if level < last else 0, reach if level > 1 else 0)
            for level, width in enumerate(self.widths)
            if level or not last
        )
        self.visibility = nn.Sequential(
            conv(self.widths[0] + 3, 16), conv(16, 16), nn.Conv2d(16, 1, 3, padding=1)
        )
        self.to_context = nn.Conv2d(self.widths[0], context, 3, padding=1)
        self.to_kernels = Kernels(self.kernels)
        self.correct = _Rectification(context, rectify, blocks)

    @property
    def bytes_a_pixel(self) -> int:
        """Measured with the shipped sizes and twice the channels; between them it is linear."""
        return 1200 + 34 * self.rectify

    @property
    def architecture(self) -> dict[str, Any]:
        """What `networks.build` makes this network from."""
        return {
            "network": "dain",
            "widths": list(self.widths),
            "hidden": self.hidden,
            "context": self.context,
            "kernels": list(self.kernels),
            "rectify": self.rectify,
            "blocks": self.blocks,
            "reach": self.reach,
        }

    def estimate(self, before: Tensor, after: Tensor, t: Tensor) -> Staged:
        """The frame at time t, and the projected motion."""
        frames = torch.cat([before, after])
        levels = self.pyramid(frames)
        flow = self._flow(levels)
        weight = self._weight(frames, levels[0], flow)
        context = self.to_context(levels[0]).float()
        # Of each frame: how far along its flow the missing one is.
        elapsed = torch.cat([t, 1 - t])
        back = -elapsed * _projected(flow, elapsed * flow, weight)
        kernels, logit = self.to_kernels(before, after, *back.chunk(2), t)
        carried = adapted(
            torch.cat([frames, context], 1), back, open_kernels(kernels, gate(elapsed))
        )
        first, second = carried.chunk(2)
        share = share_of_before(logit, t)
        blend = share * first[:, :1] + (1 - share) * second[:, :1]
        added, scale = self.correct(blend, first, second)
        location = blend + gate(t) * added
        to_before, to_after = back.chunk(2)
        stage = IntermediateStep(to_before, to_after, share)
        return Staged(Laplace(location, positive(scale)), [stage])

    def _flow(self, levels: Sequence[Tensor]) -> Tensor:
        """Motion from each frame to the other (pixels of the frames), 2n × 2 × rows × columns."""
        count, _, rows, columns = levels[-1].shape
        flow = levels[-1].new_zeros(count, 2, rows, columns, dtype=torch.float32)
        told: Tensor | None = None
        finest = len(levels) - len(self.estimators)
        for level in reversed(range(finest, len(levels))):
            if level < len(levels) - 1:
                flow = resized(flow, 2.0)
            own = levels[level]
            other = backward(torch.cat(own.chunk(2)[::-1]), flow)
            step, told = self.estimators[level - finest](own, other, flow, told)
            flow = flow + step
        return resized(flow, 2.0**finest) if finest else flow

    def _weight(self, frames: Tensor, features: Tensor, flow: Tensor) -> Tensor:
        """How much each pixel's motion counts where several arrive."""
        seen = torch.cat([torch.cat(frames.chunk(2)[::-1]), torch.cat(flow.chunk(2)[::-1])], 1)
        found = backward(seen, flow)
        apart = (frames - found[:, :1]).abs()
        astray = (flow + found[:, 1:]).square().sum(1, keepdim=True).add(1e-6).sqrt()
        known = [features.float(), frames, apart, astray]
        raw = self.visibility(torch.cat(known, 1)).float()
        # Bounded both ways, so that no pixel's motion is ever all that counts.
        return (_LARGEST_WEIGHT * torch.tanh(raw / _LARGEST_WEIGHT)).exp()


class _FlowStep(nn.Module):
    """Correction of the motion at one level, in pixels of that level."""

    def __init__(self, width: int, hidden: int, coarser: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        alike = (2 * reach + 1) ** 2 if reach else 0
        self.join = conv(2 * width + alike + 2 + coarser, hidden)
        self.body = nn.Sequential(conv(hidden, hidden), conv(hidden, hidden))
        self.head = nn.Conv2d(hidden, 2, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(
        self, own: Tensor, other: Tensor, flow: Tensor, told: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The correction, and what the next level should know."""
        seen = [own, other, flow]
        if self.reach:
            seen.append(correlation(own, other, self.reach, both=False))
        if told is not None:
            seen.append(twice(told))
        features = self.join(torch.cat([part.float() for part in seen], 1))
        features = features + self.body(features)
        return GAIN * self.head(features).float(), features


class _Rectification(nn.Module):
    """What must be added to the blend, and how wrong the result may be."""

    def __init__(self, context: int, width: int, blocks: int) -> None:
        super().__init__()
        # The blend, both warped frames, how much they differ, their context.
        self.first = conv(1 + 2 + 1 + 2 * context, width)
        self.body = nn.ModuleList(
            nn.Sequential(conv(width, width), nn.Conv2d(width, width, 3, padding=1))
            for _ in range(blocks)
        )
        self.head = nn.Conv2d(width, 2, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-3)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        nn.init.constant_(self.head.bias[1:], FIRST_SCALE)

    def forward(self, blend: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """The correction to add, and the raw scale."""
        apart = (first[:, :1] - second[:, :1]).abs()
        features = self.first(torch.cat([blend, apart, first, second], 1))
        for block in self.body:
            features = features + block(features)
        added, scale = self.head(features).float().split(1, 1)
        return added, scale


def _projected(flow: Tensor, shift: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the flows that pass each pixel of the missing frame.

    Where none passes, it is what passes around it: means over larger and larger squares, as the
    publication fills holes from outside.

    Parameters
    ----------
    flow
        n × 2 × rows × columns.
    shift
        How far each pixel has got by then (pixels).
    weight
        n × 1 × rows × columns.
    """
    # Of weight × 1 / weight: how many pixels arrive.
    sums, weights = splat(torch.cat([flow, 1 / weight], 1), shift, weight)
    sums, arrived = sums[:, :2], sums[:, 2:].clamp(max=1)
    wide, wide_weights = sums, weights
    for side in (3, 7, 15):
        wide = wide + functional.avg_pool2d(sums, side, 1, side // 2)
        wide_weights = wide_weights + functional.avg_pool2d(weights, side, 1, side // 2)
    own, around = sums / (weights + _FEW), wide / (wide_weights + _FEW)
    return arrived * own + (1 - arrived) * around
