"""What training shows the network beside the rated frames.

The ratings alone leave open what everyone knows: that a picture does not become better by
being blurred, and that noise without a structure is worth nothing. A network that was never
shown either scores both highly, because fine grain and smooth edges are what good frames have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.quality.preparing import PIXEL_SIZE_NM, Image, normalize

_BLURRED, _EMPTY = 0.2, 0.03
_NARROWEST, _WIDEST = 0.5, 4.0
_PERIOD_NM = 190.0


def augment(tile: Image, score: float, rng: np.random.Generator) -> tuple[Image, float]:
    """One tile as it is shown in one epoch, with the score that goes with it.

    Every tile is flipped and turned by quarters at random: quality has no direction. One in
    five is blurred, one in thirty replaced by noise, which scores 0.

    Parameters
    ----------
    tile
        Rows × columns, normalized, at 20 nm a pixel.
    score
        Its label, in [0, 1].
    """
    kind = rng.random()
    if kind < _EMPTY:
        return noise(tile.shape, rng), 0.0
    turned = np.rot90(tile, int(rng.integers(4)))
    if rng.random() < 0.5:
        turned = turned[:, ::-1]
    if kind > 1 - _BLURRED:
        sigma = float(rng.uniform(_NARROWEST, _WIDEST))
        return normalize(blur(turned, sigma)), score * contrast_left(sigma)
    return turned, score


def contrast_left(sigma: float) -> float:
    """Contrast that a Gaussian blur leaves to a structure of 190 nm period, in [0, 1].

    The period is that of the actin rings along axons, the structure that only super-resolution
    shows: with σ in pixels of 20 nm, exp(-2 π² (20 σ / 190)²); 0.80 at σ = 1, 0.42 at 2,
    0.03 at 4.
    """
    return float(np.exp(-2 * (np.pi * PIXEL_SIZE_NM * sigma / _PERIOD_NM) ** 2))


def blur(image: Image, sigma: float) -> Image:
    """Gaussian blur of standard deviation `sigma` (pixels), reflected at the edges."""
    radius = max(1, int(4 * sigma + 0.5))
    profile = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    profile = (profile / profile.sum()).astype(np.float32)

    def along(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.pad(rows, ((radius, radius), (0, 0)), mode="symmetric")
        total = np.zeros_like(rows)
        for shift, weight in enumerate(profile):
            total += weight * padded[shift : shift + len(rows)]
        return total

    return along(along(np.ascontiguousarray(image)).T).T


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Image:
    """Draw a normalized frame of nothing: photon noise of a flat background, or read noise."""
    if rng.random() < 0.7:
        mean = np.exp(rng.uniform(np.log(0.02), np.log(300)))
        return normalize(rng.poisson(mean, shape).astype(np.float32))
    return normalize(rng.normal(size=shape).astype(np.float32))
