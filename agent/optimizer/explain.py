"""What an engine believes, in a form that a person can check: effects, importance, reasons.

Everything here is asked of `predict` alone; nothing is measured, and the engine stays as it is.
All of it is about the settings allowed now (`Space.restrict`), and a function of the engine and the
seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from agent.optimizer.knowledge import FLOOR, Prediction
from agent.optimizer.outcome import Settings
from agent.optimizer.space import Space
from devices.config import SettingConfig, Value

Array = NDArray[np.float64]
_AT_ONCE = 512
"""Points asked for at a time: beliefs over many sessions take memory for each."""
_AVERAGED = 256
"""Points over which an effect is averaged."""
_CELLS = 160
"""Values for which a note on the belief holds effects, all settings together."""
_DIGITS = 4
"""Significant digits of numbers in a note."""
_HARDLY = 0.005
"""Change of the score below which it is called about the same; two digits are shown."""
_LIKELY, _DOUBTED = 0.9, 0.5


@runtime_checkable
class Believer(Protocol):
    """An engine with a space and a belief about it."""

    @property
    def space(self) -> Space:
        """The tuned settings."""
        ...

    def predict(self, points: Sequence[Mapping[str, Value]]) -> Prediction:
        """Predictions for settings."""
        ...

    def recommend(self) -> Settings:
        """The settings believed to be best within the limits."""
        ...

    def front(self) -> list[Settings]:
        """Settings that are believed to be Pareto-optimal, from the gentlest on."""
        ...


@runtime_checkable
class Remembering(Protocol):
    """An engine that says how much of its belief comes from other sessions than this one."""

    @property
    def memory_share(self) -> float | None:
        """A probability; None where it knows no other sessions."""
        ...


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


class Compromise(NamedTuple):
    """A point of the Pareto front, and the prediction there."""

    settings: Settings
    score: float
    score_sd: float
    bleaching: float
    allowed: float


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
    """
    space = engine.space
    base = space.sobol(averaged, 0)
    effects = {}
    for name in space.names:
        values = _grid(space.settings[name], space.allowed[name], count)
        here = _predict(engine, [{**at, name: value} for value in values])
        everywhere = _predict(
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
    found = _predict(engine, points)
    numbers = np.stack([found.score, found.score_sd, found.bleaching, found.allowed], axis=1)
    return [
        Compromise(settings, *row) for settings, row in zip(points, numbers.tolist(), strict=True)
    ]


def why(
    engine: Believer, best: Mapping[str, Value], found: Mapping[str, Importance] | None = None
) -> list[str]:
    """Sentences that answer "why these settings?".

    Parameters
    ----------
    engine
        Whose belief.
    best
        The settings to be explained.
    found
        Importance, where it is known already.

    Raises
    ------
    ValueError
        There is no belief yet.
    """
    found = importance(engine) if found is None else found
    here = _predict(engine, [best])
    sentences = [
        f"Expected here: score {_number(here.score[0])} ± {_number(here.score_sd[0])}, "
        f"{_percent(here.bleaching[0])} bleached by one frame; the bleaching limit is kept with a "
        f"probability of {_chance(here.allowed[0])}."
    ]
    space = engine.space
    for name in space.names:
        moves = _moves(space.settings[name], space.allowed[name], best[name])
        if not moves:
            continue
        there = _predict(engine, [{**best, name: value} for _, value in moves])
        parts = [
            _consequence(words, here, there, number) for number, (words, _) in enumerate(moves)
        ]
        setting = space.settings[name]
        sentences.append(
            f"{_capital(_words(name))} {_value(best[name], setting)}: {'; '.join(parts)}."
        )
    sentences += _most(found)
    if isinstance(engine, Remembering) and (share := engine.memory_share) is not None:
        sentences.append(
            f"{_percent(share)} of this belief rests on earlier or simulated sessions that agree "
            f"with what was measured here, {_percent(1 - share)} on this sample's trials alone."
        )
    return sentences


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
    """
    if not isinstance(engine, Believer):
        return None
    at = dict(engine.recommend() if best is None else best)
    count = int(np.clip(_CELLS // max(len(engine.space), 1), 7, 33))
    here = _predict(engine, [at])
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


# ---------------------------------------------------------------------- asking the engine


def _predict(engine: Believer, points: Sequence[Mapping[str, Value]]) -> Prediction:
    with threadpool_limits(1):
        parts = [
            engine.predict(points[first : first + _AT_ONCE])
            for first in range(0, len(points), _AT_ONCE)
        ]
    return Prediction(
        np.concatenate([part.score for part in parts]),
        np.concatenate([part.score_sd for part in parts]),
        np.concatenate([part.bleaching for part in parts]),
        np.concatenate([part.allowed for part in parts]),
    )


def _objectives(engine: Believer, points: Sequence[Mapping[str, Value]]) -> Array:
    """Score and the bleaching's logarithm: 2 × points."""
    found = _predict(engine, points)
    return np.stack([found.score, np.log(np.maximum(found.bleaching + FLOOR, 1e-9))])


def _half_square(difference: Array) -> Array:
    half: Array = 0.5 * (difference**2).mean(axis=1)
    return half


def _grid(setting: SettingConfig, allowed: Sequence[Value], count: int) -> list[Value]:
    if setting.kind == "choice":
        return list(allowed)
    low, high = float(allowed[0]), float(allowed[1])
    spaced: Callable[[float, float, int], Array]
    spaced = np.geomspace if setting.scale == "log" and low > 0 else np.linspace
    # The ends of a logarithmic grid may miss the range by a rounding error.
    values = np.clip(spaced(low, high, count), low, high).tolist()
    return list(dict.fromkeys(setting.plain(value) for value in values))


# ---------------------------------------------------------------------- words


def _moves(
    setting: SettingConfig, allowed: Sequence[Value], value: Value
) -> list[tuple[str, Value]]:
    """Other values that a person would ask about, with what to call them."""
    if setting.kind == "choice":
        return [(f"if {other}", other) for other in allowed if other != value][:3]
    low, high, now = float(allowed[0]), float(allowed[1]), float(value)
    if setting.kind == "integer":
        wanted = [("if", now - 1), ("if", now + 1)]
    elif low >= 0 and now > 0:
        wanted = [("at half of it,", now / 2), ("at twice as much,", now * 2)]
    else:
        step = 0.1 * (high - low)
        wanted = [("at", now - step), ("at", now + step)]
    moves: dict[Value, str] = {}
    for words, there in wanted:
        if not low <= there <= high:
            # The edge stands for a move that leads out, unless it is next to where one is.
            there = min(max(there, low), high)
            if abs(there - now) <= 0.02 * (high - low):
                continue
            words = "at the most that is allowed," if there > now else "at the least allowed,"
        plain = setting.plain(there)
        # Of a setting that is fixed elsewhere, both moves lead to the same edge.
        if plain != value:
            moves.setdefault(plain, f"{words} {_value(plain, setting)}")
    return [(words, there) for there, words in moves.items()]


def _consequence(words: str, here: Prediction, there: Prediction, number: int) -> str:
    change = float(there.score[number] - here.score[0])
    score = "score about the same" if abs(change) < _HARDLY else f"score {change:+.2f}"
    if score.endswith(("+0.00", "-0.00")):
        score = f"score {change:+.3f}"
    bleaching = f"bleaching {_percent(there.bleaching[number])}"
    limit = ""
    if there.allowed[number] < _DOUBTED:
        limit = ", probably over the limit"
    elif there.allowed[number] < _LIKELY <= here.allowed[0]:
        limit = ", perhaps over the limit"
    return f"{words}: {score}, {bleaching}{limit}".replace("-", "−")


def _most(found: Mapping[str, Importance]) -> list[str]:
    def first(which: Callable[[Importance], Share]) -> tuple[str, float]:
        name = max(found, key=lambda name: which(found[name]).total)
        return _words(name), which(found[name]).total

    if not found:
        return []
    score, bleaching = first(lambda part: part.score), first(lambda part: part.bleaching)
    if score[1] <= 0:
        return ["No setting is known to matter to the score yet."]
    words = (
        f"{_capital(score[0])} matters most to the score: it takes part in {_percent(score[1])} "
        "of the score’s variation over the space"
    )
    if bleaching[1] <= 0:
        return [f"{words}."]
    also = "it also matters most" if bleaching[0] == score[0] else f"{bleaching[0]} matters most"
    return [f"{words}; {also} to the bleaching ({_percent(bleaching[1])})."]


def _words(name: str) -> str:
    return name.replace("_", " ")


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _value(value: Value, setting: SettingConfig) -> str:
    shown = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{shown} {setting.unit}".rstrip()


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _percent(share: float) -> str:
    percent = 100 * share
    shown = f"{percent:.1f}" if abs(percent) < 9.95 else f"{percent:.0f}"
    return f"{shown} %".replace("-", "−")


def _chance(value: float) -> str:
    return "over 0.99" if value > 0.99 else "under 0.01" if value < 0.01 else f"{value:.2f}"


def _rounded(data: Any) -> Any:
    """Plain data with numbers of few digits."""
    if isinstance(data, Mapping):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    return float(f"{data:.{_DIGITS}g}") if isinstance(data, float) else data
