"""A raw frame, the filtered one and its standard deviation, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.ui.report import elements
from agent.ui.report.picture import picture

_SIDE = 384


def beside(
    raw: NDArray[Any],
    filtered: NDArray[Any],
    sd: NDArray[Any],
    pixel_um: float,
    caption: str = "",
) -> str:
    """Three pictures with scale bars and contrast limits.

    Each has its own limits: filtered, a frame spans fewer counts, and its deviation fewer still.

    Parameters
    ----------
    raw, filtered, sd
        Rows × columns, in counts.
    pixel_um
        Side of a pixel on the sample (µm).
    caption
        Said of the raw frame; HTML.
    """
    titles = ("raw", "filtered", "standard deviation")
    said = (caption, "by the network, not measured", "of the filtered frame, as it estimates it")
    shown = []
    for title, words, pixels in zip(titles, said, (raw, filtered, sd), strict=True):
        made = picture(np.nan_to_num(pixels), pixel_um, side=_SIDE)
        lines = [f"<b>{title}</b>", *([words] if words else []), elements.limits(made)]
        shown.append(elements.shown(made, "<br>".join(lines)))
    return f'<div class="grid three">{"".join(shown)}</div>'
