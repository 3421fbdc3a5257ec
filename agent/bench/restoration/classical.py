"""Filters that have learned nothing, for the table: each at several widths."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from skimage.filters import sato

Filter = Callable[[NDArray[Any]], NDArray[Any]]
_WIDTHS_PX = (0.8, 1.2, 1.8, 2.7)
"""Standard deviations (pixels): from the optical resolution to twice that; chosen."""
_WIDER = 4.0
"""By how much the Gaussian that is taken off is wider; chosen."""


def gaussian(frame: NDArray[Any], width_px: float) -> NDArray[Any]:
    """A blur: less noise."""
    return np.asarray(gaussian_filter(np.asarray(frame, float), width_px))


def difference_of_gaussians(frame: NDArray[Any], width_px: float) -> NDArray[Any]:
    """A blur less a wider one, where that is positive: less noise, and less haze."""
    narrow, wide = gaussian(frame, width_px), gaussian(frame, _WIDER * width_px)
    return np.asarray(np.maximum(narrow - wide, 0.0))


def ridges(frame: NDArray[Any], width_px: float) -> NDArray[Any]:
    """How much a pixel is on a bright line (Sato et al., Med. Image Anal. 2, 143, 1998)."""
    return np.asarray(sato(np.asarray(frame, float), sigmas=[width_px], black_ridges=False))


CLASSICAL: Mapping[str, Sequence[Filter]] = MappingProxyType(
    {
        name: [partial(made, width_px=width) for width in _WIDTHS_PX]
        for name, made in {
            "Gaussian": gaussian,
            "difference of Gaussians": difference_of_gaussians,
            "ridge filter": ridges,
        }.items()
    }
)
"""By name: one filter for each width."""
