"""Where the structure of a frame is, told without looking at the pixel in question.

A mask made from a noisy frame prefers the pixels whose noise happens to be positive, so that
their mean is too large. Here every pixel is judged by its neighbours only. Its own noise has no
say, and means over the mask are free of that bias, as long as noise is alone in each pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.filters import threshold_otsu

_DARK_SHARE = 0.5
"""Share of the pixels that can be the dark half."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Two parts of a frame, rows × columns, bool; pixels in between are in neither.

    Parameters
    ----------
    structure
        Where the neighbourhood is bright (Otsu).
    dark
        The darker half of the neighbourhoods.
    """

    structure: NDArray[np.bool_]
    dark: NDArray[np.bool_]


def parts(frame: NDArray[Any], blur_px: float) -> Parts | None:
    """Tell structure from background.

    Parameters
    ----------
    frame
        Rows × columns, any unit.
    blur_px
        Standard deviation of the Gaussian that neighbours are weighted with (pixels).

    Returns
    -------
    Parts or None
        None where the frame is flat.

    Examples
    --------
    >>> frame = np.zeros((32, 32))
    >>> frame[:, :8] = 10.0
    >>> found = parts(frame, blur_px=1.0)
    >>> bool(found.structure[0, 0]), bool(found.dark[0, -1])
    (True, True)
    """
    around = _neighbours(frame.astype(float), blur_px)
    # Rounding leaves a flat frame not quite flat.
    if np.ptp(around) <= 1e-9 * np.abs(around).max():
        return None
    structure = around > threshold_otsu(around)
    dark = (around <= np.quantile(around, _DARK_SHARE)) & ~structure
    return Parts(structure, dark) if structure.any() and dark.any() else None


def _neighbours(image: NDArray[np.float64], blur_px: float) -> NDArray[np.float64]:
    """Gaussian mean of each pixel's surroundings, the pixel itself left out."""
    own = _own_weight(blur_px)
    blurred: NDArray[np.float64] = gaussian_filter(image, blur_px)
    return (blurred - own * image) / (1 - own)


@lru_cache
def _own_weight(blur_px: float) -> float:
    side = 2 * round(4 * blur_px) + 1
    point = np.zeros((side, side))
    point[side // 2, side // 2] = 1
    return float(gaussian_filter(point, blur_px)[side // 2, side // 2])
