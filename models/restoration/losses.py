"""What a restoration network is trained to make small.

All losses take normalized images, n × 1 × rows × columns, and are a single number.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from models.restoration.similarity import ms_ssim, smallest

Loss = Callable[[Tensor, Tensor], Tensor]
# Zhao, Gallo, Frosio, Kautz, "Loss functions for image restoration with neural networks", IEEE
# Trans. Comput. Imaging 3, 47 (2017).
_SHARE = 0.84


def mae(image: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error.

    Examples
    --------
    >>> import torch
    >>> mae(torch.zeros(2), torch.tensor([1.0, 3.0])).item()
    2.0
    """
    return functional.l1_loss(image, target)


def mse(image: Tensor, target: Tensor) -> Tensor:
    """Mean squared error: learns the mean of noisy targets, where MAE learns their median.

    Examples
    --------
    >>> import torch
    >>> mse(torch.zeros(2), torch.tensor([1.0, 3.0])).item()
    5.0
    """
    return functional.mse_loss(image, target)


def mix(image: Tensor, target: Tensor) -> Tensor:
    """0.84 of MS-SSIM (3 scales) and 0.16 of MAE, after Zhao et al. (2017).

    Examples
    --------
    >>> import torch
    >>> image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> abs(round(mix(image, image).item(), 4))
    0.0
    """
    return _SHARE * ms_ssim(image, target) + (1 - _SHARE) * mae(image, target)


def laplace(location: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a Laplace distribution, less log 2 (Weigert et al. 2018).

    Examples
    --------
    >>> import torch
    >>> laplace(torch.zeros(2), torch.ones(2), torch.tensor([1.0, 3.0])).item()
    2.0
    """
    return ((target - location).abs() / scale + scale.log()).mean()


def of_scale(location: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    """Loss of the scale beside a location that has a loss of its own.

    The likelihood of `laplace` with the location held fast, each pixel weighed by its scale, which
    is held fast there, too (Seitzer et al., ICLR 2022): else the dark pixels, whose errors are
    small, would outweigh all else in the layers that both outputs share.

    Examples
    --------
    >>> import torch
    >>> of_scale(torch.zeros(2), torch.ones(2), torch.tensor([1.0, 3.0])).item()
    2.0
    """
    error = (target - location.detach()).abs()
    return (scale.detach() * (error / scale + scale.log())).mean()


LOSSES: dict[str, Loss] = {
    "mae": mae,
    "mse": mse,
    "ms_ssim3": ms_ssim,
    "ms_ssim5": lambda image, target: ms_ssim(image, target, 5),
    "mix": mix,
}
"""Losses of the location alone; `laplace` is of both outputs."""
SMALLEST = {"ms_ssim3": smallest(3), "ms_ssim5": smallest(5), "mix": smallest(3)}
"""Pixels that patches and frames must have on each side, for the losses that need some."""
# Of `of_scale` beside the loss of the location. With more the scale is learned better, and removal
# worse: 0.57 against 0.83 of the off-target energy left after 1,000 and 2,700 steps.
SCALE_SHARE = 0.1


def total(loss: str, location: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    """The loss of both outputs that a step makes smaller.

    Parameters
    ----------
    loss
        `laplace` or a key of `LOSSES`.

    Examples
    --------
    >>> import torch
    >>> total("mae", torch.zeros(2), torch.ones(2), torch.zeros(2)).item()
    0.0
    """
    if loss == "laplace":
        return laplace(location, scale, target)
    return LOSSES[loss](location, target) + SCALE_SHARE * of_scale(location, scale, target)
