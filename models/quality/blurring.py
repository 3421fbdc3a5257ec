"""A blurred frame, and what is left of its score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.quality.resampling import Image

_SCALE = 4.0
"""See `score_left`, which compares it with the simulated label (pixels of 20 nm)."""


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
