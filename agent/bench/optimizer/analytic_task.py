"""A sample of family (a) as a task: its formulas with noise, and their truth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agent.bench.optimizer.analytic import LIMIT, SETTINGS, Samples
from agent.bench.optimizer.task import Task
from agent.optimizer.outcome import Outcome
from agent.optimizer.space import Space
from devices.config import Value

_SCORE_SD, _BLEACHING_SD = 0.05, 0.01
"""Noise of a measurement; chosen."""


class AnalyticTask(Task):
    """One sample of the family; `number` of `seed`'s samples."""

    def __init__(self, samples: Samples, number: int, seed: int) -> None:
        super().__init__(Space(SETTINGS, {}), LIMIT)
        self._samples = samples
        self._at = number
        self._seed = seed
        self.search(self.space.sobol(2048, 0), 30, 0)

    @property
    def structure_nm(self) -> float:
        """Full width of the structure to resolve."""
        return float(self._samples.structure_nm[self._at])

    def measure(self, settings: Mapping[str, Value], number: int) -> Outcome:
        """As in `Task`, with normal noise of 0.05 on the score and 0.01 on the bleaching."""
        true = self.truth(settings)
        noise = np.random.default_rng((self._seed, number)).normal(size=2)
        return Outcome(
            true.score + _SCORE_SD * float(noise[0]),
            true.bleaching + _BLEACHING_SD * float(noise[1]),
            score_sd=_SCORE_SD,
            bleaching_sd=_BLEACHING_SD,
        )

    def light(self, settings: Mapping[str, Value]) -> float:
        """Depletion power × lines: excitation is a ten-thousandth of it."""
        return float(settings["depletion_power"]) * float(settings["line_accumulations"])

    def seconds(self, settings: Mapping[str, Value]) -> float:
        """Lines, and what every trial takes beside them."""
        return float(settings["line_accumulations"]) + 4.0

    def _truth(self, settings: Mapping[str, Value]) -> Outcome:
        score, bleached = self._samples.predict([settings])
        return Outcome(float(score[self._at, 0]), float(bleached[self._at, 0]))
