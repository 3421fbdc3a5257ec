"""A quick virtual microscope with a living sample, and its truth, for the benchmark of the dose.

Frames come from `devices.virtual.quick`, a hundredth of the raster scan's time each, and bleach
as it does. The sample's own time runs faster and slower than the clock: cells rest and
move, and now and then something happens at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from devices.virtual.dyes import DYES
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_mean, quick_scan, quick_survivors
from devices.virtual.sample import Sample, Window

Map = NDArray[np.float64]
Kind = Literal["rush", "defocus", "bleach"]

_LEAVES = 0.55
"""Share of the dye that an event of bleaching leaves; chosen."""
_DEFOCUS_UM = 0.35
"""How far the focus is lost (µm); chosen."""
_RUSH = 3.0
"""Factor on the speed during an event of motion; chosen."""


@dataclass(frozen=True, slots=True)
class SuddenEvent:
    """Something that happens at once.

    Parameters
    ----------
    kind
        `rush`: the structure moves three times as fast; `defocus`: the focus is lost by 0.35 µm;
        `bleach`: 45% of the molecules go dark.
    at, lasts
        First time point, and how many.
    """

    kind: Kind
    at: int
    lasts: int

    def falls_between(self, start: int, end: int) -> bool:
        """Whether it begins, lasts or ends between two frames: neither tells of it.

        Examples
        --------
        >>> rush = SuddenEvent("rush", 10, 4)
        >>> rush.falls_between(7, 10), rush.falls_between(13, 16), rush.falls_between(14, 16)
        (True, True, False)
        >>> SuddenEvent("bleach", 10, 4).falls_between(10, 13)
        False
        """
        if self.kind == "bleach":
            return start < self.at <= end
        return start < self.at + self.lasts and self.at <= end


@dataclass(frozen=True, slots=True)
class FilmedSample:
    """The filmed sample.

    Parameters
    ----------
    seed
        Of the sample, its pace, its events and the photons.
    points
        Time points.
    side_px
        Of the field.
    structure, dye, molecules_per_pixel, background_hz
        As in `devices.config.VirtualStedConfig`.
    motion_nm, drift_nm
        Motion (RMS along each axis) and drift in one time point at the mean pace (nm).
    events
        How many things happen.
    """

    seed: int
    points: int = 50
    side_px: int = 80
    structure: Any = "tubulin"
    dye: str = "robust"
    molecules_per_pixel: float = 15.0
    background_hz: float = 3000.0
    motion_nm: float = 20.0
    drift_nm: float = 4.0
    events: int = 2

    def pace(self) -> Map:
        """The sample's own time at each time point (mean step about 1): it rests and moves."""
        rng = np.random.default_rng((self.seed, 1))
        wave = gaussian_filter1d(rng.normal(size=self.points + 40), 5.0)[20:-20]
        speed = np.exp(0.9 * wave / wave.std())
        speed /= speed.mean()
        for event in self.happenings():
            if event.kind == "rush":
                speed[event.at : event.at + event.lasts] *= _RUSH
        return np.concatenate([[0.0], np.cumsum(speed)[:-1]])

    def happenings(self) -> Sequence[SuddenEvent]:
        """The events, in order, apart from each other and from both ends."""
        rng = np.random.default_rng((self.seed, 2))
        if not self.events:
            return ()
        room = (self.points - 16) / self.events
        kinds: tuple[Kind, ...] = ("rush", "defocus", "bleach")
        return tuple(
            SuddenEvent(
                kinds[int(rng.integers(3))],
                int(12 + i * room + rng.uniform(0, 0.6 * room)),
                int(rng.integers(3, 6)),
            )
            for i in range(self.events)
        )


class ScanLight(TypedDict):
    """As in `devices.virtual.quick.quick_scan`."""

    excitation_w: float
    depletion_w: float
    dwell_s: float


class FilmStage:
    """The microscope.

    Parameters
    ----------
    scene
        The sample on it.
    light
        Of each frame.
    """

    def __init__(self, scene: FilmedSample, light: ScanLight) -> None:
        self.scene, self.light = scene, light
        self._optics = optics(scene.dye)
        side_um = scene.side_px * 0.02
        size = side_um + 2 * self._optics.margin * 0.02 + 3.0
        drawn = {
            "size_um": size,
            "molecules_per_pixel": scene.molecules_per_pixel,
            "motion_nm_per_s": scene.motion_nm,
            "drift_nm_per_s": scene.drift_nm,
            "motion_length_um": 2.0,
            "seed": scene.seed,
        }
        self._sample = Sample(scene.structure, **drawn)
        self._fresh = Sample(scene.structure, **drawn)
        self._pace = scene.pace()
        self._stepped: set[int] = set()

    def take(self, point: int, x_um: float = 0.0, y_um: float = 0.0) -> NDArray[np.uint16]:
        """A frame at a time point; it bleaches."""
        window = self._window(self._sample, point, x_um, y_um)
        seed = int(np.random.SeedSequence((self.scene.seed, 3, point)).generate_state(1)[0])
        z = self._z(point)
        counts = quick_scan(
            self._optics,
            window.molecules,
            **self.light,
            z_um=z,
            background_hz=self.scene.background_hz,
            seed=seed,
        )
        left = quick_survivors(self._optics, window.molecules, **self.light, z_um=z, seed=seed)
        self._sample.bleach(window, left)
        return np.minimum(counts, np.iinfo(np.uint16).max).astype(np.uint16)

    def mean(self, point: int, x_um: float = 0.0, y_um: float = 0.0) -> Map:
        """The same frame without noise; it does not bleach."""
        return self._mean(self._sample, point, x_um, y_um, self._z(point))

    def truth(self, point: int, x_um: float = 0.0, y_um: float = 0.0) -> Map:
        """What an unbleached sample in focus would show without noise."""
        return self._mean(self._fresh, point, x_um, y_um, 0.0)

    def _mean(self, sample: Sample, point: int, x_um: float, y_um: float, z_um: float) -> Map:
        return quick_mean(
            self._optics,
            self._window(sample, point, x_um, y_um).molecules,
            **self.light,
            z_um=z_um,
            background_hz=self.scene.background_hz,
        )

    def _window(self, sample: Sample, point: int, x_um: float, y_um: float) -> Window:
        if sample is self._sample:
            self._bleach_at_once(point)
        shape = (self.scene.side_px,) * 2
        return sample.window(x_um, y_um, float(self._pace[point]), shape, self._optics.margin)

    def _bleach_at_once(self, point: int) -> None:
        for event in self.scene.happenings():
            if event.kind == "bleach" and event.at <= point and event.at not in self._stepped:
                self._stepped.add(event.at)
                self._sample.fade(_LEAVES)

    def _z(self, point: int) -> float:
        lost = any(
            event.kind == "defocus" and event.at <= point < event.at + event.lasts
            for event in self.scene.happenings()
        )
        return _DEFOCUS_UM if lost else 0.0


@lru_cache(maxsize=2)
def optics(dye: str) -> Optics:
    """One light path for each dye."""
    return Optics(DYES[dye])
