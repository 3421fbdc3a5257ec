"""Earlier runs of this microscope as hypotheses, and several memories as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agent.optimizer.gaussian import Array
from agent.optimizer.knowledge import PRICE, SCORE, measurements
from agent.optimizer.log_bleaching import FLOOR
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.posterior import Posterior
from agent.optimizer.space import Space
from devices.config import SettingConfig, Value


class PastSessions:
    """Earlier runs as hypotheses, each the mean of Gaussian processes through its trials.

    Parameters
    ----------
    space
        The tuned settings of the run to come.
    runs
        Usable trials of each earlier run.

    Examples
    --------
    >>> from devices.config import SettingConfig
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> run = [({"power": mw}, Outcome(score=mw / 100, bleaching=0.1)) for mw in (20, 50, 80)]
    >>> past = PastSessions(Space({"power": power}, {}), [run])
    >>> quality, bleaching = past.expect([{"power": 50}])
    >>> abs(float(quality[0, 0]) - 0.5) < 0.1
    True
    """

    def __init__(self, space: Space, runs: Sequence[Sequence[tuple[Settings, Outcome]]]) -> None:
        self._space = space
        self._beliefs = [self._learn(run) for run in runs]

    def __len__(self) -> int:
        return len(self._beliefs)

    @property
    def log_prior(self) -> Array:
        """All alike."""
        return np.full(len(self), -np.log(len(self)))

    def expect(
        self, points: Sequence[Mapping[str, Value]], which: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Quality and bleaching, each runs (or `which` of them) × points."""
        chosen = range(len(self)) if which is None else which
        quality = np.empty((len(chosen), len(points)))
        bleaching = np.empty_like(quality)
        where = self._features(points)
        for row, at in enumerate(chosen):
            score, price = self._beliefs[at]
            quality[row] = np.clip(score.at(where, None, joint=False)[0], 0, 1)
            log, _ = price.at(where, None, joint=False)
            bleaching[row] = np.clip(np.exp(log) - FLOOR, 0, 1)
        return quality, bleaching

    def _learn(self, run: Sequence[tuple[Settings, Outcome]]) -> tuple[Posterior, Posterior]:
        where = self._features([settings for settings, _ in run])
        score, price = measurements(where, [outcome for _, outcome in run])
        none = np.zeros(0)
        return Posterior(score, SCORE, None, none, 0.0, 0), Posterior(
            price, PRICE, None, none, 0.0, 1
        )

    def _features(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """As `Space.features`, but an earlier run may have been outside of this space."""
        columns: list[Array] = []
        for name in self._space.names:
            setting, edges = self._space.settings[name], self._space.search[name]
            values = [point[name] for point in points]
            if setting.kind == "choice":
                columns += [np.array([float(v == edge) for v in values]) for edge in edges]
                continue
            low, high = _scaled(setting, [float(edges[0]), float(edges[1])])
            place = _scaled(setting, [float(value) for value in values])
            columns.append((place - low) / (high - low))
        return np.stack(columns, axis=1)


def _scaled(setting: SettingConfig, values: Sequence[float]) -> Array:
    numbers = np.array(values, dtype=float)
    return np.log(np.maximum(numbers, 1e-12)) if setting.scale == "log" else numbers
