"""What an interpolator is trained to make small, all of normalized images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.interpolation.interface import Stage, Staged
from models.interpolation.warping import backward
from models.restoration.losses import SCALE_SHARE, of_scale

_EPSILON = 1e-3
# A stage counts half as much as the next finer one.
_FADING = 0.5


def charbonnier(image: Tensor, target: Tensor) -> Tensor:
    """Mean of √(difference² + 0.001²): an absolute error that is smooth at 0."""
    return (image - target).square().add(_EPSILON**2).sqrt().mean()


def of_stages(stages: Sequence[Stage], before: Tensor, after: Tensor, target: Tensor) -> Tensor:
    """How far the frames, warped and blended as each stage says, are from the target.

    Parameters
    ----------
    stages
        Coarsest first.
    before, after
        The two frames, without noise where that is known: then motion is told from noise.
    """
    total = target.new_zeros(())
    for age, stage in enumerate(reversed(stages)):
        blend = stage.share * backward(before, stage.to_before) + (1 - stage.share) * backward(
            after, stage.to_after
        )
        total = total + _FADING**age * charbonnier(blend, target)
    return total


def total(loss: str, stages_share: float, told: Staged, images: Tensor) -> Tensor:
    """The loss that a step makes smaller.

    Parameters
    ----------
    loss
        Of the location: `charbonnier` or `mse`.
    stages_share
        Weight of the stages.
    told
        By the network.
    images
        n × 5 × rows × columns, see `movies.Sample`.
    """
    target, clean_before, clean_after = images[:, 2:3], images[:, 3:4], images[:, 4:]
    location, scale = (part.float() for part in told.frame)
    own = charbonnier if loss == "charbonnier" else functional.mse_loss
    found = own(location, target) + SCALE_SHARE * of_scale(location, scale, target)
    if told.stages and stages_share:
        found = found + stages_share * of_stages(told.stages, clean_before, clean_after, target)
    return found


def decibels(image: Tensor, target: Tensor) -> float:
    """Mean squared error in dB of a range of 1: the smaller, the better; −PSNR."""
    error = functional.mse_loss(image.float(), target.float()).clamp_min(1e-10)
    return float(10 * torch.log10(error))
