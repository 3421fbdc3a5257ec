"""What a movie's own frames ask of those that are rebuilt between them.

Networks learn from generated movies, and each real one differs: in its noise, and in how far off
the middle a frame is of the two around it, which no network can know. Frames that were measured are
rebuilt from those around them, and say how much blur and how much of the blend of the two brings
rebuilt frames of this movie nearer, and how wrong the pixels are.

What leaps, a network that learned medians leaves out of both places where it may be. No light is
lost between two frames: what is missing is put back where their blend has more.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.filters import gaussian, threshold_otsu

from models.restoration.calibration import COVERAGE, half_width
from models.restoration.normalization import Image

BLURS_PX = (0.0, 0.4, 0.6, 0.8, 1.0)
BLENDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Widths (pixels) and shares that are tried; chosen."""
_LOSS = 0.01
"""Share of the foreground's intensity that blur and blend may cost; chosen."""
_WORTH = 0.995
"""What is left of the squared error, at most, where blur or blend is worth it; chosen."""
LEAST = 4
"""Fewest frames to learn from; chosen."""
_ROUNDS = 6
"""Of weighing each pixel by what is expected of it; chosen."""
_LIGHT_PX = 2.0
"""Standard deviation of the Gaussian behind which missing light is looked for (pixels); chosen:
without it, noise is put back, too."""
_PIXELS = 20_000
"""Of a frame, at most, that the uncertainty is learned from."""
_SLOPE_PX = 1.0
"""Standard deviation of the Gaussian behind which slopes are taken (pixels); chosen."""
_FOREGROUND_PX = 2.0
"""Standard deviation of the Gaussian behind which the foreground is found (pixels); chosen."""


class Adjustment(NamedTuple):
    """How rebuilt frames of one movie are adjusted; by default not at all.

    In the middle between two frames; nearer to one of them less, and at them not at all.

    Parameters
    ----------
    blur_px
        Standard deviation of a Gaussian (pixels).
    blend
        Share of the linear blend of the two frames.
    factor
        On the network's standard deviation.
    wander_px
        How far, along the slope, what is seen may be from where it was expected (standard
        deviation, pixels).
    noise
        Standard deviation of what every pixel of a measured frame has besides (the frames' units).
    light
        Put back light that the blend of the two frames has and the rebuilt one has not.
    """

    blur_px: float = 0.0
    blend: float = 0.0
    factor: float = 1.0
    wander_px: float = 0.0
    noise: float = 0.0
    light: bool = False

    def image(
        self, rebuilt: NDArray[Any], before: NDArray[Any], after: NDArray[Any], t: float
    ) -> Image:
        """A rebuilt frame, adjusted.

        Examples
        --------
        >>> rebuilt, before, after = np.zeros((8, 8)), np.zeros((8, 8)), np.ones((8, 8))
        >>> float(Adjustment(blend=0.5).image(rebuilt, before, after, 0.5)[0, 0])
        0.25
        """
        middle = 4 * t * (1 - t)
        image = np.asarray(rebuilt, np.float32)
        if self.light:
            image = _relit(image, _blend(before, after, t))
        if self.blend:
            image = image + np.float32(middle * self.blend) * (_blend(before, after, t) - image)
        return _blurred(image, self.blur_px * middle**0.5)

    def sd(self, image: NDArray[Any], sd: NDArray[Any], t: float) -> Image:
        """Standard deviation of the pixels of an adjusted frame, from that of the network."""
        if (self.factor, self.wander_px, self.noise) == (1.0, 0.0, 0.0):
            return np.asarray(sd, np.float32)
        parts = _parts(image, sd, t)
        weights = np.array([self.factor**2, self.wander_px**2, self.noise**2], np.float32)
        found: Image = np.sqrt(np.tensordot(weights, parts, 1))
        return found


LIT = Adjustment(light=True)
"""What is done where a movie has too few frames to say more."""


class Example(NamedTuple):
    """A measured frame, those around it, and what a network made of these (all rows × columns)."""

    before: NDArray[Any]
    true: NDArray[Any]
    after: NDArray[Any]
    t: float
    image: NDArray[Any]
    sd: NDArray[Any]


class Adjusted(NamedTuple):
    """An adjustment, and what it is good for.

    Parameters
    ----------
    adjustment
        Learned from all examples.
    frames
        How many there were.
    covered_before, covered
        Share of the measured pixels in the 90% intervals of rebuilt ones, without the adjustment
        and with it; there learned from one half of the examples and judged by the other.
    gain_db
        How much nearer rebuilt frames come by blur and blend (dB), likewise.
    """

    adjustment: Adjustment
    frames: int
    covered_before: float
    covered: float
    gain_db: float


def adjusted(examples: Sequence[Example]) -> Adjusted | None:
    """What a movie's own frames ask for; None where there are fewer than four.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = np.tile(np.linspace(0, 90, 32), (32, 1))
    >>> def example() -> Example:
    ...     frames = truth + rng.normal(0, 3, (3, 32, 32))
    ...     return Example(*frames, 0.5, truth, np.full(truth.shape, 0.1))
    >>> found = adjusted([example() for _ in range(4)])
    >>> found.covered_before < 0.1, 0.88 < found.covered < 0.92
    (True, True)
    """
    if len(examples) < LEAST:
        return None
    before, after, errors = [], [], np.zeros(2)
    tables = [_tried(one) for one in examples]
    for start in (0, 1):
        judged, learned = examples[start::2], examples[1 - start :: 2]
        adjustment = _spread(learned, _shape(tables[1 - start :: 2]))
        for one in judged:
            image = adjustment.image(one.image, one.before, one.after, one.t)
            before.append(_covered(one.image, one.sd, one.true))
            after.append(_covered(image, adjustment.sd(image, one.sd, one.t), one.true))
            errors += [np.mean(np.square(made - one.true)) for made in (one.image, image)]
    gain = float(10 * np.log10(errors[0] / errors[1])) if errors[1] > 0 else 0.0
    adjustment = _spread(examples, _shape(tables))
    covered = float(np.mean(before)), float(np.mean(after))
    return Adjusted(adjustment, len(examples), *covered, gain)


_Table = NDArray[np.float64]
"""Of one example: squared error over the variance of the measured frame, and the intensity of the
foreground over that of the measured one; 2 × blurs × blends."""


def _tried(one: Example) -> _Table:
    """What each blur and blend makes of an example."""
    middle = 4 * one.t * (1 - one.t)
    mask, floor = _foreground(one), float(np.percentile(one.true, 1))
    light = float(np.sum(one.true[mask] - floor)) or 1.0
    # Each frame counts by its own contrast, so that one that bleached is heard.
    contrast = float(np.var(one.true)) or 1.0
    image = LIT.image(one.image, one.before, one.after, one.t)
    to_blend = np.float32(middle) * (_blend(one.before, one.after, one.t) - image)
    table = np.empty((2, len(BLURS_PX), len(BLENDS)))
    for row, blur_px in enumerate(BLURS_PX):
        # A blur of a sum is the sum of the blurs.
        calm, toward = (_blurred(part, blur_px * middle**0.5) for part in (image, to_blend))
        for column, share in enumerate(BLENDS):
            trial = calm + np.float32(share) * toward
            error = float(np.mean(np.square(trial - one.true)))
            table[:, row, column] = error / contrast, float(np.sum(trial[mask] - floor)) / light
    return table


def _shape(tables: Sequence[_Table]) -> Adjustment:
    """Blur and blend that bring the frames nearest, and cost little of their foreground.

    Blur, and what may be in two places and is shown in both, take light from where it is. The
    nearest frame may do so by a tenth, which is a lot to anyone who measures intensities.
    """
    error, bright = np.mean(tables, 0)
    allowed = (bright >= min(bright[0, 0], 1.0) - _LOSS) & (error <= _WORTH * error[0, 0])
    if not allowed.any():
        return LIT
    row, column = np.unravel_index(int(np.where(allowed, error, np.inf).argmin()), error.shape)
    return LIT._replace(blur_px=BLURS_PX[row], blend=BLENDS[column])


def _spread(examples: Sequence[Example], shape: Adjustment) -> Adjustment:
    """The same with the standard deviations that errors of these frames ask for.

    The squared error is a sum of parts, none negative, each pixel weighed by how much is expected
    of it; all of it then has the factor with which 90% of the pixels lie in their 90% interval.
    """
    squares, parts = [], []
    for one in examples:
        image = shape.image(one.image, one.before, one.after, one.t)
        keep = max(1, image.size // _PIXELS)
        squares.append(np.square(image - one.true, dtype=np.float64).ravel()[::keep])
        parts.append(_parts(image, one.sd, one.t).reshape(3, -1)[:, ::keep])
    square, part = np.concatenate(squares), np.concatenate(parts, 1).astype(np.float64)
    least = 1e-9 * float(square.mean()) + np.finfo(np.float64).tiny
    weight = np.ones_like(square)
    weights = np.zeros(3)
    for _ in range(_ROUNDS):
        weights = _not_negative(part * weight, square * weight)
        expected = weights @ part + least
        weight = 1 / np.maximum(expected, np.percentile(expected, 5))
    needed = np.sqrt(square / (weights @ part + least))
    scale = float(np.quantile(needed, COVERAGE)) / half_width(COVERAGE)
    factor, wander_px, noise = (scale * np.sqrt(weights)).tolist()
    return shape._replace(factor=factor, wander_px=wander_px, noise=noise)


def _not_negative(parts: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the parts, least squares, none below zero."""
    gram, target = parts @ parts.T, parts @ square
    best, lowest = np.zeros(len(parts)), 0.0
    numbers = range(len(parts))
    for some in (list(c) for count in numbers for c in combinations(numbers, count + 1)):
        try:
            own = np.linalg.solve(gram[np.ix_(some, some)], target[some])
        except np.linalg.LinAlgError:  # a part that is nothing, or the same as another
            continue
        left = -float(own @ target[some])
        if (own >= 0).all() and left < lowest:
            best, lowest = np.zeros(len(parts)), left
            best[some] = own
    return best


def _parts(image: NDArray[Any], sd: NDArray[Any], t: float) -> Image:
    """What a pixel's squared error is made of: see `Adjustment`; 3 × rows × columns."""
    slopes = np.gradient(_blurred(np.asarray(image, np.float32), _SLOPE_PX))
    steep = np.square(slopes[0]) + np.square(slopes[1])
    own = np.square(np.asarray(sd, np.float32))
    # A path that is known at both ends strays from the straight one by t (1 − t).
    return np.stack([own, np.float32(4 * t * (1 - t)) * steep, np.ones_like(own)])


def _blend(before: NDArray[Any], after: NDArray[Any], t: float) -> Image:
    first, second = np.asarray(before, np.float32), np.asarray(after, np.float32)
    return np.float32(1 - t) * first + np.float32(t) * second


def _relit(image: Image, blend: Image) -> Image:
    """An image with the light that the blend has more, in all, put back where it has more."""
    missing = _blurred(blend - image, _LIGHT_PX)
    there = np.maximum(missing, 0)
    total = float(there.sum(dtype=np.float64))
    lost = float(missing.sum(dtype=np.float64))
    if lost <= 0:
        return image
    relit: Image = (image + np.float32(lost / total) * there).astype(np.float32, copy=False)
    return relit


def _blurred(image: Image, sigma: float) -> Image:
    if sigma <= 0:
        return image
    found: Image = gaussian(image, sigma, mode="nearest", preserve_range=True)
    return found


def _foreground(one: Example) -> NDArray[np.bool_]:
    """Where the frames that follow each other show something."""
    mean = np.mean([np.asarray(f, np.float32) for f in (one.before, one.true, one.after)], 0)
    blurred = _blurred(mean, _FOREGROUND_PX)
    if np.ptp(blurred) == 0:
        return np.ones(blurred.shape, bool)
    found: NDArray[np.bool_] = blurred > threshold_otsu(blurred)
    return found


def _covered(image: NDArray[Any], sd: NDArray[Any], true: NDArray[Any]) -> float:
    return float(np.mean(np.abs(image - np.asarray(true, float)) <= half_width(COVERAGE) * sd))
