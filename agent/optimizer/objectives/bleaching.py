"""Bleaching between two confocal frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.objectives.estimate import Estimate
from agent.optimizer.objectives.structure import Parts, parts

_BLUR_PX = 3.0
"""Sigma by which structure and dark half are told apart (pixels)."""
_EDGE_PX = 10
"""Border that is left out: a confocal sees dye there that the scan never reached (pixels)."""
_LARGEST_EDGE = 0.1
"""Share of a side that this border takes at most."""
_VISIBLE = 3.0
"""Contrast in standard deviations from which a bleached share can be measured."""
UNKNOWN = Estimate(0.0, 1.0)
"""What two frames without a visible structure say about bleaching: nothing."""


def bleaching(before: NDArray[Any], after: NDArray[Any]) -> Estimate:
    """Share of the dye that was lost between two confocal frames of one field.

    With c(·) the mean over the structure minus the mean over the dark half of the field, the result
    is 1 − c(after) / c(before). Any background cancels in c, and so does what the
    structure spills into the dark half, which loses the same share. Structure and dark half are
    told from the sum of both frames, each pixel from its neighbours alone
    (`agent.optimizer.objectives.structure`), so that noise cannot choose them in favour of either
    frame. A border of 10 pixels (at most a tenth of the field) is left out: a confocal sees dye
    there that the scan in between never reached.

    Source: the share of confocal foreground lost is the bleaching of Durand et al., Nat.
    Commun. 9, 5247 (2018), who take the foreground from the first frame; that reports up to half
    of the dye lost at low counts when nothing bleached.

    Known bias: within 0.01 from 1.4 to 50 mean counts on the structure (`stedfast bench
    objectives`). Dye that drifts out of the field or out of focus is taken for bleached. Noise
    that neighbouring pixels share makes the structure brighter in both frames, hence the
    result too small.

    Parameters
    ----------
    before, after
        Rows × columns, same field and settings. Counts, or any unit that is linear in them
        with a constant offset.

    Returns
    -------
    Estimate
        A share: negative by noise where nothing bleached. Its sd is taken from how the pixels
        scatter, so that it includes noise of any kind; 0 ± 1 where there is no structure to see.

    Raises
    ------
    ValueError
        The shapes differ.

    Examples
    --------
    A scan that takes a fifth of the dye:

    >>> y, x = np.mgrid[:128, :128]
    >>> dye = 40 * (np.abs(x % 32 - 16) < 5) + 2
    >>> rng = np.random.default_rng(0)
    >>> found = bleaching(rng.poisson(dye), rng.poisson(0.8 * dye))
    >>> abs(found.value - 0.2) < 0.03
    True
    """
    if before.shape != after.shape:
        raise ValueError(f"frames of one field differ in shape: {before.shape} and {after.shape}")
    b, a = before.astype(float), after.astype(float)
    found = parts(b + a, _BLUR_PX)
    if found is None:
        return UNKNOWN
    inner = _inner(b.shape)
    b, a = b[inner], a[inner]
    found = Parts(found.structure[inner], found.dark[inner])
    if not (found.structure.any() and found.dark.any()):
        return UNKNOWN
    c = found.structure / found.structure.sum() - found.dark / found.dark.sum()
    contrast = float((c * b).sum())
    if contrast <= _VISIBLE * _scatter(c, b, found):
        return UNKNOWN
    left = float((c * a).sum()) / contrast
    # Where the loss is the same everywhere, this is flat within each part but for noise.
    sd = _scatter(c, a - left * b, found) / contrast
    # The mean of a ratio exceeds the ratio of the means by the relative variance of its
    # denominator: the part of sd² that is from the first frame, if noise is like that of photons.
    photons_b, photons_a = (max(float((c**2 * frame).sum()), 0.0) for frame in (b, a))
    of_both = photons_a + left**2 * photons_b
    if of_both > 0:
        left -= left * sd**2 * photons_b / of_both
    return Estimate(1 - left, min(sd, UNKNOWN.sd))


def _inner(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The field without its border."""
    edges = (min(_EDGE_PX, int(_LARGEST_EDGE * side)) for side in shape)
    return tuple(slice(edge, side - edge) for edge, side in zip(edges, shape, strict=True))


def _scatter(c: NDArray[np.float64], image: NDArray[np.float64], found: Parts) -> float:
    """Standard deviation of Σ c · image, from how the image scatters within each part."""
    away = np.zeros(image.shape)
    for part in (found.structure, found.dark):
        away[part] = image[part] - image[part].mean()
    return float(np.sqrt(((c * away) ** 2).sum()))
