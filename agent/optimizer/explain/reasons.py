"""Sentences that answer "why these settings?"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from agent.optimizer.explain.belief import Believer, Remembering, predicted
from agent.optimizer.explain.sensitivity import Importance, Share, importance
from agent.optimizer.knowledge import Prediction
from devices.config import SettingConfig, Value

_HARDLY = 0.005
"""Change of the score below which it is called about the same; two digits are shown; chosen."""
_LIKELY, _DOUBTED = 0.9, 0.5
"""Probability of keeping the limit below which a move is said to be perhaps, and probably, over it;
chosen."""


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
    here = predicted(engine, [best])
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
        there = predicted(engine, [{**best, name: value} for _, value in moves])
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
