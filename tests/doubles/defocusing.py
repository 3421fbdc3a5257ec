"""A camera that sees spots through a focus, and a sample that drifts away from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tests import faulty

_BLUR_PX = 1.2
"""Blur for each µm out of focus."""


class DefocusingCamera(faulty.FlakyCamera):
    """Spots that are sharp where the focus is at the sample, with photon noise.

    Parameters
    ----------
    z_um
        Where the sample is at first.
    drift_um
        How far it moves with each frame that the depletion laser is on for.
    blind
        Sweeps, by their order, of which frames show nothing: a shutter that sticks, a bubble.
    """

    def __init__(
        self, z_um: float = 0.0, drift_um: float = 0.0, blind: tuple[int, ...] = (), **options: Any
    ) -> None:
        super().__init__(**options)
        self.sample_um, self._drift_um, self._blind = z_um, drift_um, tuple(blind)
        self._sweeps, self._swept = -1, False
        rng = np.random.default_rng(5)
        spots = np.zeros((faulty.SIDE, faulty.SIDE))
        spots[tuple(rng.integers(0, faulty.SIDE, (2, 25)))] = 400
        self._spots = gaussian_filter(spots, 0.7, mode="wrap")
        self.errors_um: list[float] = []
        """How far each frame of a time point was from the focus."""

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        super().snap(buffer)
        if self.count < 1:
            return {}
        sted = faulty.made["Laser"][-1].power > 0
        off = faulty.made["Focus"][-1].get_position_um() - self.sample_um
        if sted:
            self.errors_um.append(off)
            self.sample_um += self._drift_um
            self._swept = False
        elif not self._swept:
            self._sweeps, self._swept = self._sweeps + 1, True
        seen = gaussian_filter(self._spots, 0.01 + _BLUR_PX * abs(off), mode="wrap")
        if not sted and self._sweeps in self._blind:
            seen = np.zeros_like(seen)
        buffer[:] = np.random.default_rng(self.count).poisson(2 + seen)
        return {}
