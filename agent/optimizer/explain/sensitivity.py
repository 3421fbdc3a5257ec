"""How much each setting matters over the whole space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.explain.belief import Believer, predicted
from agent.optimizer.log_bleaching import FLOOR
from devices.config import Value

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Share:
    """Shares of an objective's variance over the space, each in [0, 1].

    Parameters
    ----------
    first
        That one setting explains alone (first-order Sobol' index).
    total
        That one setting takes part in, with its interactions (total index).
    """

    first: float
    total: float


@dataclass(frozen=True, slots=True)
class Importance:
    """How much of the predicted objectives' variation is due to one setting."""

    score: Share
    bleaching: Share


def importance(engine: Believer, count: int = 512, seed: int = 0) -> dict[str, Importance]:
    """Variance-based sensitivity of the predicted score, and of the bleaching's logarithm.

    Sobol' indices (Sobol' 2001, Math. Comput. Simul. 55:271) with settings spread evenly, on
    their own scales, within the allowed ranges: the radial design of Saltelli et al. (2010, Comput.
    Phys. Commun. 181:259) with the estimators of Jansen (1999, Comput. Phys. Commun. 117:35).
    First-order indices add up to at most one, and to one where settings act independently; total
    indices add up to at least one. Estimates scatter around that by about `count` ** -0.5.

    Parameters
    ----------
    engine
        Whose belief; only its mean counts, so a setting of unknown effect weighs little.
    count
        Points of each of the two samples that settings are exchanged between.
    seed
        Of the samples.

    Raises
    ------
    ValueError
        There is no belief yet.

    Examples
    --------
    >>> from agent.optimizer.outcome import Outcome
    >>> from agent.optimizer.space import Space
    >>> from agent.optimizer.stedfast import StedfastOptimizer
    >>> from devices.config import SettingConfig
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> engine = StedfastOptimizer(Space({"power": power}, {}), bleaching_limit=0.2, seed=1)
    >>> engine.tell({"power": 50}, Outcome(score=0.5, bleaching=0.1))
    >>> 0 <= importance(engine, count=8)["power"].score.total <= 1
    True
    """
    space = engine.space
    one, other = space.sobol(count, seed), space.sobol(count, seed + 1)
    # Two scrambled sequences of the same points go in step; shuffled, a pair is independent.
    order = np.random.default_rng((seed, 3)).permutation(count)
    other = [other[at] for at in order]
    f_one, f_other = _objectives(engine, one), _objectives(engine, other)
    variance = np.concatenate([f_one, f_other], axis=1).var(axis=1)
    found = {}
    for name in space.names:
        mixed = [{**a, name: b[name]} for a, b in zip(one, other, strict=True)]
        f_mixed = _objectives(engine, mixed)
        total = _half_square(f_one - f_mixed)
        rest = _half_square(f_other - f_mixed)
        # Where nothing varies, no setting has a share in it.
        scale = np.where(variance > 1e-12, variance, np.inf)
        totals = np.clip(total / scale, 0, 1)
        # The total is the surer estimate where a share is small, and the first is part of it.
        firsts = np.where(variance > 1e-12, np.clip(1 - rest / scale, 0, totals), 0.0)
        score, bleaching = (
            Share(float(first), float(whole)) for first, whole in zip(firsts, totals, strict=True)
        )
        found[name] = Importance(score, bleaching)
    return found


def _objectives(engine: Believer, points: Sequence[Mapping[str, Value]]) -> Array:
    """Score and the bleaching's logarithm: 2 × points."""
    found = predicted(engine, points)
    return np.stack([found.score, np.log(np.maximum(found.bleaching + FLOOR, 1e-9))])


def _half_square(difference: Array) -> Array:
    half: Array = 0.5 * (difference**2).mean(axis=1)
    return half
