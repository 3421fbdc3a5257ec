"""An objective of one's own: how far the brightest structure rises above the background."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydantic import Field

from agent.config import ObjectiveSection, RunConfig
from agent.plan import Frame


class PeakSignal(ObjectiveSection):
    """`optimize.peak_signal`: the section of the config that says how."""

    percentile: float = Field(
        99.0, gt=50, le=100, description="of a frame's pixels: the brightest structure"
    )
    enough: float = Field(
        500.0, gt=0, description="counts above the background that are as good as it gets"
    )

    def scale(self) -> tuple[float, float]:
        """Nothing above the background is scored 0, enough is scored 1."""
        return (0.0, self.enough)

    def unit(self) -> str:
        """Of what the camera gives."""
        return "counts"


def peak_signal(section: PeakSignal, run: RunConfig) -> Callable[[Frame, Frame, Frame], float]:
    """Looks at the STED frame alone; the confocals before and after are there to compare with."""

    def value(before: Frame, image: Frame, after: Frame) -> float:
        background, peak = np.percentile(image.pixels, [25, section.percentile])
        return float(peak - background)

    return value
