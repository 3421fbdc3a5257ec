"""The compact interpolator: motion through the missing frame, then a synthesis from warped frames.

Own design, of known parts: flow from the missing frame to its neighbours, estimated directly and
coarse to fine (as RIFE, Huang et al., ECCV 2022), bilateral cost volumes (BMBC, Park et al., ECCV
2020), and warped features for the synthesis (context-aware synthesis, Niklaus and Liu, CVPR 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.interpolation.correlation import correlation
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
from models.interpolation.warping import backward, resized
from models.restoration.network import Laplace

GAIN = 8.0
"""Of the estimators' motion: it is of pixels, and what a small step changes in a head far less.

Without it a training first learns what to add to the blend, and motion in twice the steps.
"""


class FlowInterpolator(Interpolator):
    """Multi-scale intermediate flow, blend and residual synthesis.

    Both frames go through one feature pyramid. From the coarsest level to the finest, an estimator
    sees both frames' features as warped so far, how alike they are under small opposite shifts
    (correlation), and the result of the coarser one; it corrects motion and visibility. The
    motion to the frame before is t times its output, that to the frame after 1 − t times.
    A U-Net then sees the warped frames, how much they differ, the frames themselves, and the
    warped features of all levels. It gives the final visibility, a correction to the blend, and
    how wrong the result may be.

    With the defaults 0.75 million parameters.

    Parameters
    ----------
    widths
        Channels of the pyramid's levels, finest first; each level has half the rows and columns of
        the one before.
    hidden
        Channels of the estimators.
    synthesis
        Channels of the synthesis' levels, finest first; at most as many as the pyramid has.
    reach
        Of the correlation, in pixels of each level; the two finest go without.

    Examples
    --------
    >>> network = FlowInterpolator(widths=(4, 8), hidden=4, synthesis=(4, 8), reach=1).eval()
    >>> before, after = torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)
    >>> torch.equal(network(before, after, 0.0).location, before)
    True
    """

    def __init__(
        self,
        widths: Sequence[int] = (16, 32, 48, 64),
        hidden: int = 48,
        synthesis: Sequence[int] = (24, 48, 72),
        reach: int = 2,
    ) -> None:
        super().__init__()
        sized(widths=widths, hidden=hidden, synthesis=synthesis, reach=reach)
        if len(synthesis) > len(widths):
            raise ValueError(
                f"synthesis: found {len(synthesis)} levels; accepted: at most those of the"
                f" pyramid, {len(widths)}"
            )
        self.widths, self.synthesis = tuple(widths), tuple(synthesis)
        self.hidden, self.reach = hidden, reach
        self.multiple = 1 << (len(self.widths) - 1)
        self.pyramid = Pyramid(self.widths)
        last = len(self.widths) - 1
        self.estimators = nn.ModuleList(
            _Estimator(
                width,
                # At the finest level, channels cost most, and little is left to find.
                hidden if level else max(hidden // 2, 8),
                hidden if level < last else 0,
                # The finer levels correct what these find by a pixel or so, for which the warped
                # features are enough; there, correlation would cost a fifth of the training.
                reach if level > 1 else 0,
            )
            for level, width in enumerate(self.widths)
        )
        self.refine = _Synthesis(self.widths, self.synthesis)

    @property
    def bytes_a_pixel(self) -> int:
        """Measured with the shipped sizes and twice the channels; between them it is linear."""
        return 400 + 75 * self.synthesis[0]

    @property
    def architecture(self) -> dict[str, Any]:
        """What `networks.build` makes this network from."""
        return {
            "network": "flow",
            "widths": list(self.widths),
            "hidden": self.hidden,
            "synthesis": list(self.synthesis),
            "reach": self.reach,
        }

    def estimate(self, before: Tensor, after: Tensor, t: Tensor) -> Staged:
        """The frame at time t, and the motion at each level."""
        count = len(before)
        levels = self.pyramid(torch.cat([before, after]))
        pairs = [(level[:count], level[count:]) for level in levels]
        motion = before.new_zeros(count, 4, *levels[-1].shape[-2:])
        logit = before.new_zeros(count, 1, *levels[-1].shape[-2:])
        told: Tensor | None = None
        stages = []
        for level in reversed(range(len(levels))):
            if level < len(levels) - 1:
                motion, logit = resized(motion, 2.0), twice(logit)
            first, second = pairs[level]
            warped = _both_warped(first, second, motion, t)
            motion_step, logit_step, told = self.estimators[level](*warped, motion, logit, t, told)
            motion, logit = motion + motion_step, logit + logit_step
            stages.append(_stage(motion, logit, t, 1 << level))
        frame = self.refine(before, after, pairs, motion, logit, t)
        return Staged(frame, stages)


class _Estimator(nn.Module):
    """Corrections of motion and visibility at one level, in pixels of that level."""

    def __init__(self, width: int, hidden: int, coarser: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        alike = (2 * reach + 1) ** 2 if reach else 0
        self.join = conv(2 * width + alike + 4 + 1 + 1 + coarser, hidden)
        self.body = nn.Sequential(conv(hidden, hidden), conv(hidden, hidden))
        self.head = nn.Conv2d(hidden, 5, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        motion: Tensor,
        logit: Tensor,
        t: Tensor,
        told: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Corrections of motion and visibility, and what the next level should know."""
        seen = [first, second, motion, logit, t.expand_as(logit)]
        if self.reach:
            seen.append(correlation(first, second, self.reach, both=True))
        if told is not None:
            seen.append(twice(told))
        features = self.join(torch.cat([part.float() for part in seen], 1))
        features = features + self.body(features)
        step = self.head(features).float()
        return GAIN * step[:, :4], step[:, 4:], features


class _Synthesis(nn.Module):
    """A U-Net over what the motion brings to the missing frame."""

    def __init__(self, widths: Sequence[int], synthesis: Sequence[int]) -> None:
        super().__init__()
        # Warped frames, their difference and blend, the frames, motion, visibility, time.
        own = 1 + 1 + 1 + 1 + 2 + 4 + 1 + 1
        self.down = nn.ModuleList()
        for level, wide in enumerate(synthesis):
            coming = synthesis[level - 1] if level else own
            self.down.append(
                nn.Sequential(conv(coming + 2 * widths[level], wide), conv(wide, wide))
            )
        self.up = nn.ModuleList(
            conv(coarse + fine, fine)
            for coarse, fine in zip(synthesis[1:], synthesis[:-1], strict=True)
        )
        self.head = nn.Conv2d(synthesis[0], 3, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-3)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)
        nn.init.constant_(self.head.bias[2:], FIRST_SCALE)

    def forward(
        self,
        before: Tensor,
        after: Tensor,
        pairs: Sequence[tuple[Tensor, Tensor]],
        motion: Tensor,
        logit: Tensor,
        t: Tensor,
    ) -> Laplace:
        """Location and scale."""
        first, second = _both_warped(before, after, motion, t)
        share = share_of_before(logit, t)
        blend = share * first + (1 - share) * second
        seen = [first, second, (first - second).abs(), blend, before, after]
        features = torch.cat([*seen, motion / 8, logit, t.expand_as(logit)], 1)
        across: list[Tensor] = []
        for level, part in enumerate(self.down):
            if level:
                features = functional.avg_pool2d(features, 2)
                motion = functional.avg_pool2d(motion, 2) / 2
            warped = _both_warped(*pairs[level], motion, t)
            features = part(torch.cat([features, *(one.to(features.dtype) for one in warped)], 1))
            across.append(features)
        for level in reversed(range(len(self.up))):
            features = self.up[level](torch.cat([twice(features), across[level]], 1))
        visible, added, scale = self.head(features).float().split(1, 1)
        share = share_of_before(logit + visible, t)
        location = share * first + (1 - share) * second + gate(t) * added
        return Laplace(location, positive(scale))


def _both_warped(first: Tensor, second: Tensor, motion: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of both frames as seen from the missing one."""
    return backward(first, t * motion[:, :2]), backward(second, (1 - t) * motion[:, 2:])


def _stage(motion: Tensor, logit: Tensor, t: Tensor, factor: int) -> IntermediateStep:
    """A level's motion and visibility, for whole frames."""
    if factor > 1:
        motion = resized(motion, float(factor))
        logit = functional.interpolate(
            logit, scale_factor=float(factor), mode="bilinear", align_corners=False
        )
    return IntermediateStep(t * motion[:, :2], (1 - t) * motion[:, 2:], share_of_before(logit, t))
