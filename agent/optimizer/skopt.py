"""Bayesian optimization by scikit-optimize."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from agent.optimizer.base import BaseEngine, merit
from agent.optimizer.one_thread import on_one_thread
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from devices.config import Value


class SkoptOptimizer(BaseEngine):
    """scikit-optimize's Gaussian process, told `merit`; parameters as in `BaseEngine`.

    Parameters
    ----------
    space, bleaching_limit, seed
        As in `BaseEngine`.
    initial
        Space-filling trials (Sobol) before the model decides.
    acquisition
        Expected improvement, or scikit-optimize's portfolio of three.

    Examples
    --------
    >>> from devices.config import SettingConfig
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> space = Space({"power": power}, {})
    >>> engine = SkoptOptimizer(space, bleaching_limit=0.2, initial=4, seed=1)
    >>> 1 <= engine.ask()["power"] <= 100
    True
    """

    def __init__(
        self,
        space: Space,
        *,
        bleaching_limit: float,
        initial: int,
        seed: int,
        acquisition: Literal["EI", "gp_hedge"] = "EI",
    ) -> None:
        super().__init__(space, bleaching_limit=bleaching_limit, seed=seed)
        self._initial = initial
        self._acquisition = acquisition
        self._skopt = self._fresh()

    def _fresh(self) -> Any:
        from skopt import Optimizer as Skopt

        return Skopt(
            self.space.dimensions,
            base_estimator="GP",
            n_initial_points=self._initial,
            initial_point_generator="sobol",
            acq_func=self._acquisition,
            random_state=self.seed,
        )

    def ask(self) -> Settings:
        """Settings to try next."""
        with on_one_thread():
            point = self._skopt.ask()
        asked = {
            name: setting.plain(_native(value))
            for (name, setting), value in zip(self.space.settings.items(), point, strict=True)
        }
        if self.space.contains(asked):
            return asked
        # Its dimensions cannot change: a suggestion outside the allowed ranges is moved into them.
        return self.space.at(self.space.cube([asked]))[0]

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """What a trial gave; nothing if it is doubtful."""
        super().tell(settings, outcome)
        if not outcome.doubtful:
            self._learn(settings, merit(outcome, self.limit))

    def tell_failed(self, settings: Mapping[str, Value]) -> None:
        """A trial gave nothing.

        scikit-optimize suggests the same point until it is told something: it gets the mean
        merit so far, which neither draws it there nor drives it away.
        """
        super().tell_failed(settings)
        known = self._skopt.yi
        self._learn(settings, -float(np.mean(known)) if known else 0.0)

    def _learn(self, settings: Mapping[str, Value], value: float) -> None:
        with on_one_thread():
            self._skopt.tell([settings[name] for name in self.space.names], -value)


def _native(value: Any) -> Value:
    """scikit-optimize hands out numpy scalars where kinds are mixed."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return plain
