"""Figures of a filtered image where the clean structure is known.

All images are rows × columns in any linear unit: what a network makes brighter or darker as a
whole is taken out by a line fitted between the two.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity
from skimage.morphology import remove_small_objects, skeletonize

Image = NDArray[np.float64]
_ON, _OFF = 0.3, 0.03
"""Levels above and below which a pixel is on the structure and off it (of the top); chosen."""
_NEAR_PX = 2.5
"""How far from a skeleton another one still hits it (pixels); chosen."""
_SMALLEST_PX = 12
"""Smaller specks are no structure (pixels); chosen."""


def fitted(image: NDArray[Any], clean: NDArray[Any]) -> Image:
    """The image on the scale of `clean`: gain and offset by least squares."""
    x, y = np.asarray(image, float), np.asarray(clean, float)
    centred = x - x.mean()
    gain = float((centred * y).sum() / max((centred**2).sum(), np.finfo(float).tiny))
    line: Image = gain * centred + y.mean()
    return line


def similarity(image: NDArray[Any], clean: NDArray[Any]) -> float:
    """Structural similarity (Wang et al. 2004, Gaussian window) after `fitted`, in [-1, 1].

    The data range is that of the clean image, from its darkest to its 99.8 percentile.
    """
    truth = np.asarray(clean, float)
    span = max(float(np.percentile(truth, 99.8) - truth.min()), np.finfo(float).tiny)
    found: float = structural_similarity(
        fitted(image, truth), truth, data_range=span, gaussian_weights=True, sigma=1.5
    )
    return found


def kept(image: NDArray[Any], clean: NDArray[Any], off_target: NDArray[Any]) -> tuple[float, float]:
    """How much of the structure and of the off-target signal is in an image.

    They are a and b of ``image ≈ a · clean + b · off_target + c``, by least squares.
    """
    columns = [np.ravel(clean), np.ravel(off_target), np.ones(np.size(clean))]
    found = np.linalg.lstsq(np.stack(columns, 1).astype(float), np.ravel(image), rcond=None)[0]
    return float(found[0]), float(found[1])


def off_target_left(
    image: NDArray[Any], raw: NDArray[Any], clean: NDArray[Any], off_target: NDArray[Any]
) -> float:
    """Energy of the off-target signal in an image over that in the raw frame, at equal structure.

    1 where nothing was filtered, 0 where all is gone.
    """
    structure, rest = kept(image, clean, off_target)
    before, rest_before = kept(raw, clean, off_target)
    if structure <= 0 or before <= 0 or rest_before == 0:
        return float("nan")
    return ((rest / structure) / (rest_before / before)) ** 2


def contrast(image: NDArray[Any], clean: NDArray[Any]) -> float:
    """Michelson contrast (S − B)/(S + B) of structure and background, from the image's dark level.

    S is the mean where the clean image exceeds 0.3 of its 99.8 percentile, B where it is below
    0.03; the dark level is the image's 0.1 percentile after a slight blur.
    """
    level = np.asarray(clean, float) / max(float(np.percentile(clean, 99.8)), 1e-12)
    if not (level > _ON).any() or not (level < _OFF).any():
        return float("nan")
    dark = float(np.percentile(gaussian_filter(np.asarray(image, float), 1.0), 0.1))
    on = float(np.mean(image, where=level > _ON)) - dark
    off = max(0.0, float(np.mean(image, where=level < _OFF)) - dark)
    return (on - off) / max(on + off, np.finfo(float).tiny)


def recall(image: NDArray[Any], clean: NDArray[Any]) -> float:
    """Share of the clean structure's skeleton that lies within 2.5 pixels of the image's mask.

    Masks are those above Otsu's threshold of the images after a blur of one pixel.
    """
    middle = skeletonize(_mask(clean))
    if not middle.any():
        return float("nan")
    away = distance_transform_edt(~_mask(image))
    return float(np.mean(away[middle] <= _NEAR_PX))


def _mask(image: NDArray[Any]) -> NDArray[np.bool_]:
    smooth = gaussian_filter(np.asarray(image, float), 1.0)
    found: NDArray[np.bool_] = remove_small_objects(
        smooth > threshold_otsu(smooth), max_size=_SMALLEST_PX - 1
    )
    return found


def energy(image: NDArray[Any]) -> float:
    """Mean square above the background, which is the image's median."""
    above = np.maximum(np.asarray(image, float) - np.median(image), 0.0)
    return float(np.mean(above**2))


def covered(error: NDArray[Any], sd: NDArray[Any], share: float = 0.9) -> float:
    """Share of the errors within the central interval of a Laplace distribution of this deviation.

    Its half width is −b ln(1 − share) with b = sd / √2.
    """
    half = -np.log(1 - share) * np.asarray(sd) / np.sqrt(2)
    return float(np.mean(np.abs(error) <= half))


def error_where_unsure(error: NDArray[Any], sd: NDArray[Any], share: float = 0.1) -> float:
    """Share of the squared error that the most uncertain pixels hold."""
    squared, unsure = np.ravel(error) ** 2, np.ravel(sd)
    top = np.argsort(unsure)[::-1][: max(1, int(share * unsure.size))]
    return float(squared[top].sum() / max(squared.sum(), np.finfo(float).tiny))
