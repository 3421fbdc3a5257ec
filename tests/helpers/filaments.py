"""A sample for the quality network's tests: straight filaments."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def filaments(
    seed: int, pixel_nm: float = 20.0, width_nm: float = 60.0, size_um: float = 4.48
) -> NDArray[np.float64]:
    """Expected counts (arbitrary unit, peak about 1) of straight filaments seen by a Gaussian."""
    rng = np.random.default_rng(seed)
    n = round(size_um * 1000 / pixel_nm)
    y, x = (np.mgrid[:n, :n] + 0.5) * pixel_nm
    image = np.zeros((n, n))
    sigma = width_nm / 2.355
    for _ in range(16):
        angle, where = rng.uniform(0, np.pi), rng.uniform(0, size_um * 1000, 2)
        away = (x - where[0]) * np.sin(angle) - (y - where[1]) * np.cos(angle)
        # A filament of one width carries the same light however it is blurred.
        image += np.exp(-0.5 * (away / sigma) ** 2) * 60.0 / width_nm
    return image
