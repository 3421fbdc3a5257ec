"""What training shows the network beside the rated frames.

The ratings alone leave open what everyone knows: that a picture does not become better by
being blurred, and that noise without a structure is worth nothing. A network that was never
shown either scores both highly, because fine grain and smooth edges are what good frames have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.quality.resampling import Image
from models.quality.tiles import normalize

_NARROWEST, _WIDEST = 0.5, 4.0
"""Range of the blur (standard deviation, pixels of 20 nm); chosen."""
_SCALE = 4.0
"""See `score_left`, which compares it with the simulated label (pixels of 20 nm)."""


def augment(
    tile: Image, score: float, rng: np.random.Generator, *, blurred: float, empty: float
) -> tuple[Image, float]:
    """One tile as it is shown in one epoch, with the score that goes with it.

    Every tile is flipped and turned by quarters at random: quality has no direction. A few
    are blurred, a few replaced by noise, which scores 0.

    Parameters
    ----------
    tile
        Rows × columns, normalized, at 20 nm a pixel.
    score
        Its label, in [0, 1].
    rng
        Where chance comes from.
    blurred, empty
        Shares of the tiles that are blurred, and that are replaced by noise.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> tile, score = augment(np.ones((8, 8), np.float32), 0.7, rng, blurred=0.0, empty=1.0)
    >>> tile.shape, score
    ((8, 8), 0.0)
    """
    kind = rng.random()
    if kind < empty:
        return noise(tile.shape, rng), 0.0
    turned = turn(tile, rng)
    if kind > 1 - blurred:
        sigma = float(rng.uniform(_NARROWEST, _WIDEST))
        return normalize(blur(turned, sigma)), score * score_left(sigma)
    return turned, score


def turn(tile: Image, rng: np.random.Generator) -> Image:
    """A tile turned by quarters and mirrored at random.

    Examples
    --------
    >>> turn(np.arange(4.0).reshape(2, 2), np.random.default_rng(0)).shape
    (2, 2)
    """
    turned = np.rot90(tile, int(rng.integers(4)))
    return np.ascontiguousarray(turned[:, ::-1] if rng.random() < 0.5 else turned)


def score_left(sigma: float) -> float:
    """Share of its score that a frame keeps when blurred by `sigma` (pixels of 20 nm).

    exp(-(σ / 4)²): 0.94 at σ = 1, 0.78 at 2, 0.37 at 4. So the label of simulated frames
    with so many photons that noise does not matter falls (0.99, 0.82 and 0.43 of its value).
    On noisy frames the label itself would rise, because a blurred frame is easier to read;
    what the frame shows has not become more, so that the same share is used for them.

    Examples
    --------
    >>> round(score_left(1.0), 2), round(score_left(4.0), 2)
    (0.94, 0.37)
    """
    return float(np.exp(-((sigma / _SCALE) ** 2)))


def blur(image: Image, sigma: float) -> Image:
    """Gaussian blur of standard deviation `sigma` (pixels), reflected at the edges.

    Examples
    --------
    >>> spot = np.zeros((9, 9), np.float32)
    >>> spot[4, 4] = 1
    >>> round(float(blur(spot, 1.0)[4, 4]), 2)
    0.16
    """
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
    """Draw a normalized frame of nothing: photon noise of a flat background, or read noise.

    Examples
    --------
    >>> noise((16, 16), np.random.default_rng(0)).shape
    (16, 16)
    """
    if rng.random() < 0.7:
        mean = np.exp(rng.uniform(np.log(0.02), np.log(300)))
        return normalize(rng.poisson(mean, shape).astype(np.float32))
    return normalize(rng.normal(size=shape).astype(np.float32))
