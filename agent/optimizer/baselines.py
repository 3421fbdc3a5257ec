"""Engines without a model: the bar that a model has to clear."""

from __future__ import annotations

import numpy as np

from agent.optimizer.base import BaseEngine
from agent.optimizer.outcome import Settings
from agent.optimizer.space import Space


class RandomSearch(BaseEngine):
    """Every trial drawn at random; parameters as in `BaseEngine`.

    Examples
    --------
    >>> from agent.optimizer.outcome import Outcome
    >>> from devices.config import SettingConfig
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> engine = RandomSearch(Space({"power": power}, {}), bleaching_limit=0.2, seed=1)
    >>> settings = engine.ask()
    >>> engine.tell(settings, Outcome(score=0.5, bleaching=0.1))
    >>> engine.recommend() == settings
    True
    """

    def ask(self) -> Settings:
        """Settings to try next."""
        at = len(self.told) + len(self.failed)
        return self.space.random(1, np.random.default_rng((self.seed, at)))[0]


class SobolSearch(BaseEngine):
    """Trials that fill the space evenly; parameters as in `BaseEngine`, and their number.

    Examples
    --------
    >>> from devices.config import SettingConfig
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> engine = SobolSearch(Space({"power": power}, {}), bleaching_limit=0.2, seed=1, trials=8)
    >>> 1 <= engine.ask()["power"] <= 100
    True
    """

    def __init__(self, space: Space, *, bleaching_limit: float, seed: int, trials: int) -> None:
        super().__init__(space, bleaching_limit=bleaching_limit, seed=seed)
        self._trials = trials

    def ask(self) -> Settings:
        """Settings to try next."""
        at = len(self.told) + len(self.failed)
        return self.space.sobol(max(self._trials, at + 1), self.seed)[at]
