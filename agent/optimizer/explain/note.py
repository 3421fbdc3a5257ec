"""All that an engine believes as one note of the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from agent.optimizer.explain.belief import Believer, predicted
from agent.optimizer.explain.effects import marginal_effects
from agent.optimizer.explain.reasons import why
from agent.optimizer.explain.sensitivity import importance
from agent.optimizer.outcome import Settings
from devices.config import Value

_CELLS = 160
"""Values for which a note on the belief holds effects, all settings together; chosen."""
_DIGITS = 4
"""Significant digits of numbers in a note; chosen."""


class Compromise(NamedTuple):
    """A point of the Pareto front, and the prediction there."""

    settings: Settings
    score: float
    score_sd: float
    bleaching: float
    allowed: float


def pareto(engine: Believer) -> list[Compromise]:
    """The front between score and bleaching, from the gentlest settings on.

    Raises
    ------
    ValueError
        There is no belief yet.
    """
    points = engine.front()
    if not points:
        return []
    found = predicted(engine, points)
    numbers = np.stack([found.score, found.score_sd, found.bleaching, found.allowed], axis=1)
    return [
        Compromise(settings, *row) for settings, row in zip(points, numbers.tolist(), strict=True)
    ]


def explain(engine: object, best: Mapping[str, Value] | None = None) -> dict[str, Any] | None:
    """All of it as plain data for the ledger, small and rounded; None if the engine has no belief.

    Parameters
    ----------
    engine
        Whose belief; only a `Believer` has one.
    best
        The settings to be explained; the recommendation if None.

    Returns
    -------
    data
        `at` (the settings explained) with the values `predicted` there, `effects` (a setting's
        columns by name; see `Effect`), `importance` (see `Importance`), `front` (rows; see
        `Compromise`) and `why` (sentences).

    Raises
    ------
    ValueError
        The engine was told nothing that it could believe.

    Examples
    --------
    >>> from agent.optimizer.baselines import RandomSearch
    >>> from agent.optimizer.space import Space
    >>> explain(RandomSearch(Space({}, {}), bleaching_limit=0.2, seed=1)) is None
    True
    """
    if not isinstance(engine, Believer):
        return None
    at = dict(engine.recommend() if best is None else best)
    count = int(np.clip(_CELLS // max(len(engine.space), 1), 7, 33))
    here = predicted(engine, [at])
    found = importance(engine)
    data = {
        "predicted": {
            "score": float(here.score[0]),
            "score_sd": float(here.score_sd[0]),
            "bleaching": float(here.bleaching[0]),
            "allowed": float(here.allowed[0]),
        },
        "effects": {n: asdict(e) for n, e in marginal_effects(engine, at, count).items()},
        "importance": {name: asdict(part) for name, part in found.items()},
        "front": [point._asdict() for point in pareto(engine)],
    }
    return {"at": at, **_rounded(data), "why": why(engine, at, found)}


def _rounded(data: Any) -> Any:
    """Plain data with numbers of few digits."""
    if isinstance(data, Mapping):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    return float(f"{data:.{_DIGITS}g}") if isinstance(data, float) else data
