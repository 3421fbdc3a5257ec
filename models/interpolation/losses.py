"""What an interpolator is trained to make small, all of normalized images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.interpolation.interface import IntermediateStep, Staged
from models.interpolation.warping import backward
from models.restoration.losses import SCALE_SHARE, of_scale

STRUCTURE = "structure"
MEAN = "mean"
_MEAN_WEIGHT = 16.0
"""Of `mean`'s squared error; chosen: at errors of a few hundredths of the range it pulls about as
much as an absolute one, and neither the uncertainty nor the stages outweigh it."""
_EPSILON = 1e-3
"""Where the loss turns from square to absolute (normalized units); chosen."""
_BLUR_PX = 1.5
"""Standard deviation of the Gaussian (pixels); chosen: see `behind_blur`."""
_REACH_PX = 6
"""Half of its window (pixels): four standard deviations."""
# A stage counts half as much as the next finer one.
_FADING = 0.5


def charbonnier(image: Tensor, target: Tensor) -> Tensor:
    """Mean of √(difference² + 0.001²): an absolute error that is smooth at 0.

    Examples
    --------
    >>> round(float(charbonnier(torch.zeros(4), torch.zeros(4))), 6)
    0.001
    """
    return (image - target).square().add(_EPSILON**2).sqrt().mean()


def behind_blur(image: Tensor) -> Tensor:
    """Images (n × 1 × rows × columns) behind a Gaussian of 1.5 pixels, 6 less on every side.

    Of the noise of single pixels a thirtieth of the variance is left, of the structure most.

    Examples
    --------
    >>> tuple(behind_blur(torch.zeros(1, 1, 32, 32)).shape)
    (1, 1, 20, 20)
    """
    away = torch.arange(-_REACH_PX, _REACH_PX + 1, device=image.device, dtype=torch.float32)
    line = torch.exp(-0.5 * (away / _BLUR_PX) ** 2)
    line = line / line.sum()
    rows = functional.conv2d(image.float(), line.view(1, 1, -1, 1))
    return functional.conv2d(rows, line.view(1, 1, 1, -1))


def of_structure(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of two images behind the blur.

    Examples
    --------
    >>> image = torch.zeros(1, 1, 32, 32)
    >>> round(float(of_structure(image, image + 0.5)), 4)
    0.25
    """
    return functional.mse_loss(behind_blur(image), behind_blur(target))


def of_stages(
    stages: Sequence[IntermediateStep], before: Tensor, after: Tensor, target: Tensor
) -> Tensor:
    """How far the frames, warped and blended as each stage says, are from the target.

    Parameters
    ----------
    stages
        Coarsest first.
    before, after
        The two frames, without noise where that is known: then motion is told from noise.

    Examples
    --------
    >>> still = torch.zeros(1, 2, 32, 32)
    >>> image, half = torch.ones(1, 1, 32, 32), torch.full((1, 1, 32, 32), 0.5)
    >>> round(float(of_stages([IntermediateStep(still, still, half)], image, image, image)), 4)
    0.001
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
        Of the location: `charbonnier`, `mse`, `mean` (16 times `mse`, which alone the rest
        outweighs); or `structure`, which is `of_structure` of the
        location and nothing else: noise of few targets teaches neither motion nor uncertainty.
    stages_share
        Weight of the stages.
    told
        By the network.
    images
        n × 5 × rows × columns, see `movies.Sample`.
    """
    target, clean_before, clean_after = images[:, 2:3], images[:, 3:4], images[:, 4:]
    location, scale = (part.float() for part in told.frame)
    if loss == STRUCTURE:
        return of_structure(location, target)
    own = charbonnier if loss == "charbonnier" else functional.mse_loss
    weight = _MEAN_WEIGHT if loss == MEAN else 1.0
    found = weight * own(location, target) + SCALE_SHARE * of_scale(location, scale, target)
    if told.stages and stages_share:
        found = found + stages_share * of_stages(told.stages, clean_before, clean_after, target)
    return found


def decibels(image: Tensor, target: Tensor, loss: str = "mse") -> float:
    """Mean squared error in dB of a range of 1: the smaller, the better; −PSNR.

    Behind the blur where the loss is that of the structure.

    Examples
    --------
    >>> round(decibels(torch.zeros(4), torch.full((4,), 0.1)), 3)
    -20.0
    """
    own = of_structure if loss == STRUCTURE else functional.mse_loss
    error = own(image.float(), target.float()).clamp_min(1e-10)
    return float(10 * torch.log10(error))
