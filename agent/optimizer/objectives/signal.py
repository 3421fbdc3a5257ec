"""Signal over noise of a STED frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve

from agent.optimizer.objectives.structure import parts

_BLUR_PX = 1.5
"""Sigma by which structure and dark half are told apart (pixels)."""
# Two second derivatives, one along each axis: blind to anything that is locally a plane or a ridge
# along an axis. Of independent noise it gives 36 times the variance.
_SECOND = np.array([1.0, -2.0, 1.0])
_NOISE = np.outer(_SECOND, _SECOND)


def signal_to_noise(frame: NDArray[Any]) -> float:
    """Counts above background over the noise of one pixel, both on the structure.

    (mean of the structure − mean of the darker half of the field) / standard deviation of the
    noise of the structure's pixels. With photon noise alone that is S / √(S + B) for S counts of
    signal and B of background. Structure and background: `agent.optimizer.objectives.structure`.

    Source: the numerator is the signal of Durand et al., Nat. Commun. 9, 5247 (2018), who divide
    it by the signal of a confocal frame. Here the divisor is the noise of the frame itself,
    by the operator of Immerkær, Comput. Vis. Image Underst. 64, 300 (1996): the plain standard
    deviation of the foreground holds the structure's own variation too, and hardly
    grows any more beyond a few counts.

    Known bias: too small by some per cent where detail is as fine as a pixel, and by more where
    the structure lies so densely that the darker half of the field is not dark; much too small
    at about one count in spots a few pixels wide, which the mask cannot find.

    Parameters
    ----------
    frame
        Rows × columns. Any gain and offset; noise must be alone in each pixel.

    Returns
    -------
    float
        A ratio; 0 where there is nothing to see.

    Examples
    --------
    >>> stripes = 40 * (np.mgrid[:128, :128][1] % 32 < 10) + 1.0
    >>> rng = np.random.default_rng(0)
    >>> signal_to_noise(rng.poisson(4 * stripes)) > signal_to_noise(rng.poisson(stripes))
    True
    """
    found = parts(frame, _BLUR_PX)
    if found is None:
        return 0.0
    image = frame.astype(float)
    signal = float(image[found.structure].mean() - image[found.dark].mean())
    rough = convolve(image, _NOISE)[found.structure]
    noise = float(np.sqrt((rough**2).mean() / (_NOISE**2).sum()))
    return max(0.0, signal / noise) if noise > 0 else 0.0
