"""A dye in the virtual sample: where it is, in how many planes, and what a scan makes of it.

The plane next to the focus is scanned as pySTED scans. The others are out of focus, where nothing
is sharp: they are convolved (`devices.virtual.quick`), at a hundredth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from devices.virtual.optics import Optics
from devices.virtual.quick import quick_scan, quick_survivors
from devices.virtual.sample import Sample, Window


class Light(TypedDict):
    """As in `Optics.scan`."""

    excitation_w: float
    depletion_w: float
    dwell_s: float
    passes: int


@dataclass(frozen=True, slots=True)
class Field:
    """The dye under the field of view before a scan, and in the plane next to the focus.

    Parameters
    ----------
    sample
        That plane.
    window
        Its molecules.
    """

    sample: Sample
    window: Window
    _others: tuple[tuple[Sample, Window, float], ...]
    _defocus_um: float


class Label:
    """A dye and its structure.

    Parameters
    ----------
    optics
        The light path with this dye in it.
    planes
        Height (µm) and structure of each plane.
    z_drift_um_s
        Speed at which the sample rises (µm/s).
    """

    def __init__(
        self, optics: Optics, planes: Sequence[tuple[float, Sample]], z_drift_um_s: float = 0.0
    ) -> None:
        self.optics = optics
        self._planes = tuple(planes)
        self._z_drift_um_s = z_drift_um_s

    def reach_um(self, shape: tuple[int, int]) -> float:
        """How far from its centre a field of `shape` pixels may be (µm)."""
        return self._planes[0][1].reach_um(shape, self.optics.margin)

    def field(
        self, place_um: tuple[float, float], focus_um: float, t_s: float, shape: tuple[int, int]
    ) -> Field:
        """What is under a field of view.

        Parameters
        ----------
        place_um
            Its centre on the sample (x, y).
        focus_um
            Height of the focal plane.
        t_s
            Sample time (s).
        shape
            Rows × columns (pixels).
        """
        margin = self.optics.margin
        seen = [
            (sample, sample.window(*place_um, t_s, shape, margin), defocus)
            for height, sample in self._planes
            for defocus in (focus_um - height - self._z_drift_um_s * t_s,)
        ]
        nearest = min(range(len(seen)), key=lambda at: abs(seen[at][2]))
        sample, window, defocus = seen.pop(nearest)
        return Field(sample, window, tuple(seen), defocus)

    def scan(
        self, field: Field, light: Light, *, background_hz: float, seed: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Scan a field, which bleaches.

        Returns
        -------
        counts, survivors
            Detected photons of all planes, shape of the field of view; and the molecules that are
            left in the plane next to the focus, shape of its window.
        """
        scan = self.optics.scan(
            field.window.molecules,
            **light,
            z_um=field._defocus_um,
            background_hz=background_hz,
            seed=seed,
        )
        counts = scan.counts
        if scan.survivors is not field.window.molecules:
            field.sample.bleach(field.window, scan.survivors)
        for number, (sample, window, defocus) in enumerate(field._others, 1):
            drawn = (seed + number) % 2**32
            counts = counts + quick_scan(
                self.optics, window.molecules, **light, z_um=defocus, seed=drawn
            )
            if light["excitation_w"] > 0 and light["depletion_w"] > 0:
                left = quick_survivors(
                    self.optics, window.molecules, **light, z_um=defocus, seed=drawn
                )
                sample.bleach(window, left)
        return counts, scan.survivors
