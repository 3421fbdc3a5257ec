"""What moving one setting is expected to change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.explain.belief import Believer, predicted
from devices.config import SettingConfig, Value

_AVERAGED = 256
"""Points of the space over which an effect is averaged; chosen."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Predicted effect of moving one setting.

    Parameters
    ----------
    values
        Values of the setting, evenly spaced on its scale; or its choices.
    score, score_sd, bleaching, allowed
        Prediction while the other settings stay as they are (individual conditional expectation).
    average_score, average_bleaching
        Mean over the other settings (partial dependence).
    """

    values: list[Value]
    score: list[float]
    score_sd: list[float]
    bleaching: list[float]
    allowed: list[float]
    average_score: list[float]
    average_bleaching: list[float]


def marginal_effects(
    engine: Believer, at: Mapping[str, Value], count: int = 41, averaged: int = _AVERAGED
) -> dict[str, Effect]:
    """Predictions along each setting, around `at` and on average over the space.

    The average is the partial dependence of Friedman (2001, Ann. Stat. 29:1189); the curve at
    `at` is an individual conditional expectation of Goldstein et al. (2015, J. Comput. Graph.
    Stat. 24:44), which shows what the average hides where settings act together.

    Parameters
    ----------
    engine
        Whose belief.
    at
        Where the other settings stay.
    count
        Values for each setting that is no choice.
    averaged
        Points of the space that are averaged over.

    Raises
    ------
    ValueError
        There is no belief yet.

    Examples
    --------
    >>> from agent.optimizer.outcome import Outcome
    >>> from agent.optimizer.space import Space
    >>> from agent.optimizer.stedfast import StedfastOptimizer
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> engine = StedfastOptimizer(Space({"power": power}, {}), bleaching_limit=0.2, seed=1)
    >>> engine.tell({"power": 50}, Outcome(score=0.5, bleaching=0.1))
    >>> effects = marginal_effects(engine, {"power": 50}, count=3, averaged=4)
    >>> effects["power"].values
    [1.0, 50.5, 100.0]
    """
    space = engine.space
    base = space.sobol(averaged, 0)
    effects = {}
    for name in space.names:
        values = _grid(space.settings[name], space.allowed[name], count)
        here = predicted(engine, [{**at, name: value} for value in values])
        everywhere = predicted(
            engine, [{**point, name: value} for value in values for point in base]
        )
        effects[name] = Effect(
            values,
            here.score.tolist(),
            here.score_sd.tolist(),
            here.bleaching.tolist(),
            here.allowed.tolist(),
            everywhere.score.reshape(len(values), -1).mean(axis=1).tolist(),
            everywhere.bleaching.reshape(len(values), -1).mean(axis=1).tolist(),
        )
    return effects


def _grid(setting: SettingConfig, allowed: Sequence[Value], count: int) -> list[Value]:
    if setting.kind == "choice":
        return list(allowed)
    low, high = float(allowed[0]), float(allowed[1])
    spaced: Callable[[float, float, int], NDArray[np.float64]]
    spaced = np.geomspace if setting.scale == "log" and low > 0 else np.linspace
    # The ends of a logarithmic grid may miss the range by a rounding error.
    values = np.clip(spaced(low, high, count), low, high).tolist()
    return list(dict.fromkeys(setting.plain(value) for value in values))
