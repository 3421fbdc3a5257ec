"""Family (a): formulas that behave as a STED microscope does, in a mixed space, with noise.

A sample is ten numbers (brightness, depletability, fragility, size of its structure, …) drawn
at random. Its settings are real, integer and a choice: excitation (logarithmic), depletion,
line accumulations, and a detection filter that trades signal for background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.base import PENALTY
from agent.optimizer.space import Space
from devices.config import SettingConfig, Value

Array = NDArray[np.float64]
LIMIT = 0.2
_FILTERS = ("narrow", "medium", "wide")
SETTINGS = {
    "excitation_power": SettingConfig(
        device="L", property="P", range=(0.1, 100.0), scale="log", start=2.0
    ),
    "depletion_power": SettingConfig(device="D", property="P", range=(5.0, 400.0), start=30.0),
    "line_accumulations": SettingConfig(
        device="S", property="N", kind="integer", range=(1, 12), start=1
    ),
    "filter": SettingConfig(
        device="F", property="Label", kind="choice", choices=_FILTERS, start="medium"
    ),
}


@dataclass(frozen=True, slots=True)
class Samples:
    """Parameters of samples, each an array with one number a sample.

    Parameters
    ----------
    brightness
        Expected counts at 1 µW, one line and full detection.
    saturation_uw
        Excitation that halves the brightness gained.
    depletion_mw
        Depletion that halves the area of the focus.
    fragility, nonlinearity
        Bleaching exponent at 1 µW, 100 mW and one line, and its power of the depletion.
    structure_nm
        Full width of the structure to resolve.
    background
        Counts of background in one line.
    pass_share, leak_share
        Signal and background that each filter lets through: samples × filters.
    needed_snr
        Signal-to-noise ratio at which half of the detail is seen.
    middle
        Detail that gives a score of 0.5.
    """

    brightness: Array
    saturation_uw: Array
    depletion_mw: Array
    fragility: Array
    nonlinearity: Array
    structure_nm: Array
    background: Array
    pass_share: Array
    leak_share: Array
    needed_snr: Array
    middle: Array

    @classmethod
    def draw(cls, count: int, seed: int, spread: float = 1.0) -> Samples:
        """Draw samples; `spread` above 1 widens every range, to samples unlike those of 1."""
        rng = np.random.default_rng(seed)

        def log(low: float, high: float, *shape: int) -> Array:
            middle, half = 0.5 * np.log(low * high), 0.5 * np.log(high / low) * spread
            return np.exp(rng.uniform(middle - half, middle + half, (count, *shape)))

        passed = np.sort(np.clip(log(0.3, 1.0, 3), 0.05, 1.0), axis=1)
        return cls(
            log(2.0, 30.0),
            log(5.0, 40.0),
            log(8.0, 60.0),
            log(0.004, 0.06),
            log(0.6, 1.5),
            log(45.0, 110.0),
            log(1.0, 15.0),
            passed,
            np.sort(np.clip(log(0.03, 1.0, 3), 0.02, 1.5), axis=1),
            log(1.0, 4.0),
            log(0.25, 0.45),
        )

    def __len__(self) -> int:
        return len(self.brightness)

    def usable(self) -> Samples:
        """Those whose best merit is between 0.6 and 0.95: neither hopeless nor easy."""
        score, bleached = self.predict(Space(SETTINGS, {}).sobol(1024, 0))
        best = (score - PENALTY * np.maximum(0.0, bleached - LIMIT)).max(axis=1)
        keep = (best > 0.6) & (best < 0.95)
        return self.take(np.flatnonzero(keep))

    def take(self, which: Sequence[int] | NDArray[np.intp]) -> Samples:
        """Some of them."""
        at = np.asarray(which, dtype=np.intp)
        return Samples(**{part.name: getattr(self, part.name)[at] for part in fields(self)})

    def predict(self, points: Sequence[Mapping[str, Value]]) -> tuple[Array, Array]:
        """Score and bleaching without noise: samples × points each."""

        def column(name: str) -> Array:
            return np.array([float(point[name]) for point in points])

        excitation, depletion = column("excitation_power"), column("depletion_power")
        lines = column("line_accumulations")
        choice = [_FILTERS.index(str(point["filter"])) for point in points]
        (bright, sat, half, fragile, power, size, ground, snr, middle) = (
            part[:, None]
            for part in (
                self.brightness,
                self.saturation_uw,
                self.depletion_mw,
                self.fragility,
                self.nonlinearity,
                self.structure_nm,
                self.background,
                self.needed_snr,
                self.middle,
            )
        )
        exponent = fragile * excitation * (0.1 + (depletion / 100) ** power) * lines**0.85
        alive = -np.expm1(-exponent) / np.maximum(exponent, 1e-9)
        width = 230 / np.sqrt(1 + depletion / half)
        # The focus shrinks, and with it the molecules that shine at once.
        shining = excitation / (1 + excitation / sat) * (width / 230) ** 2
        signal = bright * shining * lines * alive * self.pass_share[:, choice]
        noise = np.sqrt(signal + ground * lines * self.leak_share[:, choice] + 0.5)
        contrast = np.exp(-0.5 * (width / size / 1.2) ** 2)
        detail = contrast * (signal / noise) / (signal / noise + snr)
        score = 1 / (1 + np.exp(-16 * (detail - middle)))
        return score, -np.expm1(-exponent)


class AnalyticLibrary:
    """Samples as hypotheses about another sample.

    Parameters
    ----------
    samples
        What is in the library.
    power
        All excitation and depletion powers were this many times their nominal values.
    """

    def __init__(self, samples: Samples, power: float = 1.0) -> None:
        self._samples = samples
        self._power = power
        self.log_prior = np.full(len(samples), -np.log(len(samples)))

    def expect(
        self, points: Sequence[Mapping[str, Value]], which: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Quality and bleaching, each samples (or `which` of them) × points."""
        samples = self._samples if which is None else self._samples.take(which)
        return samples.predict(
            points if self._power == 1 else [self._meant(point) for point in points]
        )

    def apart_from(self, structure_nm: float) -> AnalyticLibrary:
        """Those alone whose structure is wider or narrower by a factor of 1.4 or more."""
        apart = np.abs(np.log(self._samples.structure_nm / structure_nm)) >= np.log(1.4)
        return AnalyticLibrary(self._samples.take(np.flatnonzero(apart)), self._power)

    def _meant(self, point: Mapping[str, Value]) -> dict[str, Value]:
        powers = ("excitation_power", "depletion_power")
        return {**point, **{name: float(point[name]) * self._power for name in powers}}
