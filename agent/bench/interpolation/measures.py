"""How near a rebuilt frame is to the true one: one code for every method."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift
from scipy.stats import spearmanr, wilcoxon
from skimage.filters import threshold_otsu
from skimage.metrics import structural_similarity

Image = NDArray[np.float64]

PERCENTILES = (0.1, 99.9)
"""Of the truth, between which a range of 1 lies (%); chosen."""
FARTHEST_PX = 3
"""Farthest along each axis that a frame is shifted as a whole (pixels); chosen."""
_SIGMA_PX = 2.0
_EXACT = 1e-10
"""Mean squared error below which frames count as equal; chosen: 100 dB."""


@dataclass(frozen=True, slots=True)
class RebuiltScore:
    """A rebuilt frame against the true one.

    Parameters
    ----------
    psnr, ssim
        dB, and with a Gaussian window, of frames as `Judge.scaled` gives them: data range 1.
    aligned_psnr
        PSNR after the shift of the whole rebuilt frame, by three pixels along each axis at most,
        that brings it nearest: how a stage trembled between two frames no method can know.
    foreground_psnr
        PSNR of the foreground's pixels alone.
    intensity
        Total of the foreground, over that of the truth, of the same frames as the PSNR.
    rmse
        Of the same frames as the PSNR.
    """

    psnr: float
    ssim: float
    aligned_psnr: float
    foreground_psnr: float
    intensity: float
    rmse: float


class Judge:
    """Compares frames of one movie, in its own units.

    Every frame, true or rebuilt, is scaled to [0, 1] by the 0.1 and 99.9 percentiles of all true
    frames, and clipped to it: what a person sees at that contrast, and no hot pixel decides.

    Parameters
    ----------
    truth
        The movie's true frames, T × rows × columns.
    """

    def __init__(self, truth: NDArray[Any]) -> None:
        low, high = np.percentile(truth, PERCENTILES)
        self._low = float(low)
        self.span = max(float(high - low), 1e-12)

    def scaled(self, frame: NDArray[Any]) -> Image:
        """A frame as it is judged."""
        return np.clip((np.asarray(frame, np.float64) - self._low) / self.span, 0, 1)

    def score(
        self, rebuilt: NDArray[Any], true: NDArray[Any], foreground: NDArray[np.bool_]
    ) -> RebuiltScore:
        """Score of one frame; `foreground` is a mask of the same size."""
        image, target = self.scaled(rebuilt), self.scaled(true)
        error = np.square(image - target)
        likeness = structural_similarity(
            target,
            image,
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        total, expected = (float(frame[foreground].sum()) for frame in (image, target))
        return RebuiltScore(
            psnr=_decibels(error),
            ssim=float(likeness),
            aligned_psnr=max(
                _decibels(error), _decibels(np.square(aligned(image, target) - target))
            ),
            foreground_psnr=_decibels(error[foreground]),
            intensity=total / expected if expected > 0 else 1.0,
            rmse=math.sqrt(float(error.mean())),
        )


def aligned(image: Image, target: Image) -> Image:
    """An image, shifted as a whole to where it is nearest to another of its size.

    The best shift by whole pixels, three along each axis at most, and from there to the
    parabola's minimum along either axis.
    """
    most = min(FARTHEST_PX, (min(image.shape) - 1) // 4)
    inner = target[most : target.shape[0] - most, most : target.shape[1] - most]
    size = 2 * most + 1
    errors = np.empty((size, size))
    for row in range(size):
        for column in range(size):
            moved = image[2 * most - row :, 2 * most - column :]
            moved = moved[: inner.shape[0], : inner.shape[1]]
            errors[row, column] = np.mean(np.square(moved - inner))
    best = np.unravel_index(int(errors.argmin()), errors.shape)
    by = []
    for axis, at in enumerate(best):
        line = np.take(errors, best[1 - axis], axis=1 - axis)
        part = 0.0
        if 0 < at < size - 1:
            below, here, above = line[at - 1 : at + 2]
            bent = below - 2 * here + above
            part = float(np.clip(0.5 * (below - above) / bent, -0.5, 0.5)) if bent > 0 else 0.0
        by.append(at - most + part)
    moved_there: Image = np.clip(shift(image, by, order=3, mode="nearest"), 0, 1)
    return moved_there


def foreground_of(frames: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """Where frames that follow each other show something: above Otsu's threshold of their blur.

    From the true frame alone, its own noise would choose what is bright, and any other frame would
    seem too dark.
    """
    blurred = gaussian_filter(np.mean([np.asarray(f, float) for f in frames], 0), _SIGMA_PX)
    if np.ptp(blurred) == 0:
        return np.ones(blurred.shape, bool)
    found: NDArray[np.bool_] = blurred > threshold_otsu(blurred)
    return found


def ranked(first: Sequence[float] | Image, second: Sequence[float] | Image) -> float:
    """Spearman's rank correlation; NaN where one does not vary."""
    one, other = np.ravel(first), np.ravel(second)
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)


def paired(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Frame by frame, how much higher the first is: mean, share, and Wilcoxon's signed-rank p."""
    apart = np.subtract(first, second)
    p = float(wilcoxon(apart).pvalue) if len(apart) > 5 and np.any(apart) else float("nan")
    return {"mean": float(apart.mean()), "higher": float(np.mean(apart > 0)), "p": p}


def _decibels(error: Image) -> float:
    return -10 * math.log10(max(float(error.mean()), _EXACT)) if error.size else float("nan")
