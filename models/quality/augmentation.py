"""What training shows the network beside the rated frames.

The ratings alone leave open what everyone knows: that a picture does not become better by
being blurred, and that noise without a structure is worth nothing. A network that was never
shown either scores both highly, because fine grain and smooth edges are what good frames have.
"""

from __future__ import annotations

import numpy as np

from models.quality.blurring import blur, score_left
from models.quality.processing import process
from models.quality.resampling import Image
from models.quality.tiles import normalize

_NARROWEST, _WIDEST = 0.5, 4.0
"""Range of the blur (standard deviation, pixels of 20 nm); chosen."""


def augment(
    tile: Image,
    score: float,
    rng: np.random.Generator,
    *,
    blurred: float,
    empty: float,
    processed: float = 0.0,
) -> tuple[Image, float]:
    """One tile as it is shown in one epoch, with the score that goes with it.

    Every tile is flipped and turned by quarters at random: quality has no direction. A few
    are blurred, a few replaced by noise, which scores 0, and a few are what exports and scans
    make of them.

    Parameters
    ----------
    tile
        Rows × columns, normalized, at 20 nm a pixel.
    score
        Its label, in [0, 1].
    rng
        Where chance comes from.
    blurred, empty, processed
        Shares of the tiles that are blurred, replaced by noise, and changed as in `processing`.

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
    if kind > 1 - blurred - processed:
        changed, share = process(turned, rng)
        return normalize(changed), score * share
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
