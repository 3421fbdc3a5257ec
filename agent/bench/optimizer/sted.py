"""Family (b): the virtual STED microscope with a dye, a density and a structure of its own.

A trial is what `plan: optimize` does: a confocal, a STED frame and a confocal of a fresh field,
scored by the quality network. The truth is the reference label of frames at the same settings
(mean of four other fields) and the share of molecules that one scan really bleaches.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from agent.bench.optimizer.task import Task
from agent.offline.simulate.population import Chance, draw_dye
from agent.optimizer.base import merit
from agent.optimizer.objectives.bleaching import bleaching
from agent.optimizer.outcome import Outcome
from agent.optimizer.space import Space
from devices.config import SettingConfig, Value
from devices.sources import Structure
from devices.virtual.dyes import Dye
from devices.virtual.expected import Scanner, Spectrum
from devices.virtual.optics import Optics
from devices.virtual.quick import quick_scan
from devices.virtual.sample import Sample
from devices.virtual.truth import quality_label
from models.quality import QualityScorer

LIMIT = 0.2
_SHAPE = (224, 224)
_TRUTH_FIELDS = 4
"""Fields whose mean is the truth of some settings; chosen."""
_USABLE = 0.4
"""Quality that a sample must reach to be a problem at all; chosen."""
_EASY = 0.06
"""Share of good settings above which a sample is too easy; chosen."""
_CONFOCAL_LOSS = (0.003, 0.03)
"""Share of the dye that a confocal frame bleaches; chosen: pySTED's dyes bleach under both beams
alone."""
_PIXELS = _SHAPE[0] * _SHAPE[1]
SETTINGS = {
    "excitation_power": SettingConfig(
        device="L", property="P", unit="µW", range=(0.3, 30.0), scale="log", start=2.0
    ),
    "depletion_power": SettingConfig(
        device="D", property="P", unit="mW", range=(10.0, 350.0), start=30.0
    ),
    "dwell_time": SettingConfig(
        device="S", property="T", unit="µs", range=(1.0, 60.0), scale="log", start=10.0
    ),
    "line_accumulations": SettingConfig(
        device="S", property="N", kind="integer", range=(1, 8), start=1
    ),
}
Maps = tuple[int, ...] | None


@cache
def _scorer() -> QualityScorer:
    return QualityScorer()


class StedTask(Task):
    """One sample on the virtual microscope.

    Parameters
    ----------
    dye, structure, maps, molecules_per_pixel, background_hz
        What the sample is; see `devices.virtual`.
    seed
        Of the sample, its fields and all noise.
    """

    def __init__(
        self,
        dye: Dye,
        structure: Structure,
        maps: Maps,
        molecules_per_pixel: float,
        background_hz: float,
        seed: int,
    ) -> None:
        super().__init__(Space(SETTINGS, {}), LIMIT)
        self.about = {
            "dye": dye.name,
            "structure": structure,
            "molecules_per_pixel": molecules_per_pixel,
            "background_hz": background_hz,
        }
        self._optics = Optics(dye)
        self._background = background_hz
        self._seed = seed
        self._confocal_loss = Chance(seed, 2).log_uniform(*_CONFOCAL_LOSS)
        self._sample = Sample(
            structure,
            size_um=32.0,
            molecules_per_pixel=molecules_per_pixel,
            maps=maps,
            seed=seed,
        )

    @classmethod
    def draw(
        cls, structures: Mapping[Structure, Maps], seed: int, *, unknown_dye: bool
    ) -> StedTask:
        """Draw a sample of one of these structures (with which of pySTED's maps)."""
        structure = list(structures)[seed % len(structures)]
        for attempt in range(1000):
            rng = Chance(seed, attempt)
            task = cls(
                draw_dye(rng, unknown_dye),
                structure,
                structures[structure],
                rng.log_uniform(6, 50),
                rng.log_uniform(300, 15_000),
                seed,
            )
            if task._promising():
                return task
        raise RuntimeError(f"no sample of {structure} has settings that are any good")

    def _promising(self) -> bool:
        """Whether a few settings are expected to be good; and ask for the truth of the best."""
        candidates = self.space.sobol(1024, self._seed)
        fields = [self._field(10_000 + at) for at in range(_TRUTH_FIELDS)]
        sample = Spectrum(fields)
        expected = [
            merit(Outcome(found.quality, found.bleaching), LIMIT)
            for found in (
                self._scanner(point).look(sample, self._background) for point in candidates
            )
        ]
        good = np.mean(np.array(expected) > max(expected) - 0.1)
        if max(expected) < _USABLE or good > _EASY:
            return False
        best = np.argsort(expected)[::-1][:24]
        if max(self.worth(candidates[at]) for at in best[:4]) < _USABLE:
            return False
        return self.search([candidates[at] for at in best], 4, self._seed) > _USABLE

    def measure(self, settings: Mapping[str, Value], number: int) -> Outcome:
        """As in `Task`: three frames of field `number`, scored and compared."""
        molecules = self._field(number)
        seeds = np.random.default_rng((self._seed, number, 1)).integers(1, 2**31, 4)
        chance = np.random.default_rng(int(seeds[3]))
        before = self._confocal(molecules, int(seeds[1]))
        molecules = chance.binomial(molecules, 1 - self._confocal_loss)
        counts = self._scan(molecules, settings, int(seeds[0]))
        alive = chance.binomial(molecules, 1 - self._bleached(settings))
        after = self._confocal(alive, int(seeds[2]))
        score = _scorer().score(counts)
        lost = bleaching(before, after)
        return Outcome(score.value, lost.value, score.sd, tuple(score.flags), bleaching_sd=lost.sd)

    def light(self, settings: Mapping[str, Value]) -> float:
        """Light of both lasers (J)."""
        seconds = self._dwell_s(settings) * _PIXELS
        return seconds * sum(self._powers_w(settings))

    def seconds(self, settings: Mapping[str, Value]) -> float:
        """Time of the STED frame, and of two confocals and the way to a fresh field (s)."""
        return self._dwell_s(settings) * _PIXELS + 2.0

    def _truth(self, settings: Mapping[str, Value]) -> Outcome:
        margin = self._optics.margin
        inner = np.s_[margin:-margin, margin:-margin]
        labels = [
            quality_label(
                (molecules := self._field(10_000 + at))[inner],
                self._scan(molecules, settings, 1 + at),
            )
            for at in range(_TRUTH_FIELDS)
        ]
        return Outcome(float(np.mean(labels)), self._bleached(settings))

    def _field(self, number: int) -> NDArray[np.int64]:
        """Molecules of a fresh field, with the margin that the focus reaches."""
        reach = self._sample.reach_um(_SHAPE, self._optics.margin)
        where = np.random.default_rng((self._seed, number)).uniform(-reach, reach, 2)
        x, y = np.round(where / 0.02) * 0.02
        return self._sample.window(x, y, 0.0, _SHAPE, self._optics.margin).molecules

    def _scan(
        self, molecules: NDArray[np.int64], settings: Mapping[str, Value], seed: int
    ) -> NDArray[np.int64]:
        excitation, depletion = self._powers_w(settings)
        return quick_scan(
            self._optics,
            molecules,
            excitation_w=excitation,
            depletion_w=depletion,
            dwell_s=float(settings["dwell_time"]) * 1e-6,
            passes=int(settings["line_accumulations"]),
            background_hz=self._background,
            seed=seed,
        )

    def _scanner(self, settings: Mapping[str, Value]) -> Scanner:
        excitation, depletion = self._powers_w(settings)
        return Scanner(
            self._optics,
            excitation_w=excitation,
            depletion_w=depletion,
            dwell_s=float(settings["dwell_time"]) * 1e-6,
            passes=int(settings["line_accumulations"]),
        )

    def _confocal(self, molecules: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
        return self._optics.scan(
            molecules,
            excitation_w=5e-6,
            depletion_w=0.0,
            dwell_s=10e-6,
            background_hz=self._background,
            seed=seed,
        ).counts

    def _bleached(self, settings: Mapping[str, Value]) -> float:
        """Share of the molecules that a scan bleaches, far from the field's edges."""
        return self._scanner(settings).bleaching

    @staticmethod
    def _powers_w(settings: Mapping[str, Value]) -> tuple[float, float]:
        return float(settings["excitation_power"]) * 1e-6, float(settings["depletion_power"]) * 1e-3

    @staticmethod
    def _dwell_s(settings: Mapping[str, Value]) -> float:
        return float(settings["dwell_time"]) * 1e-6 * int(settings["line_accumulations"])
