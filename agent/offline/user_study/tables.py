"""Tables of a user study: confusion and domination in bins of the target, over the testers."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean, stdev

from agent.offline.user_study.answers import AnswerRow

_BINS = ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1.0))
ALL = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Figure:
    """Mean and sample standard deviation over testers, None where there is nothing to say."""

    mean: float | None
    sd: float | None
    testers: int


@dataclass(frozen=True, slots=True)
class TargetBin:
    """Both figures for targets in [low, high); in the last row, [0, 1], over all of them."""

    low: float
    high: float
    confusion: Figure
    domination: Figure


@dataclass(frozen=True, slots=True)
class System:
    """A system's rows, the bins and then all of them, and how many answers they are from."""

    system: str
    simulated: bool
    testers: int
    answers: int
    discarded: int
    rows: tuple[TargetBin, ...]


def confusion(target: int, prediction: int, equivalent: int) -> float | None:
    """C of one tester from how often each was chosen; None where all images were discarded."""
    kept = target + prediction + equivalent
    return 1 - abs(2 * prediction + equivalent - kept) / kept if kept else None


def domination(target: int, prediction: int) -> float | None:
    """D of one tester from how often each was picked; None where neither ever was."""
    picked = target + prediction
    return prediction / picked if picked else None


def tabulate(answers: Iterable[AnswerRow]) -> tuple[TargetBin, ...]:
    """Both figures in each bin of the target, and in the last row over all of them."""
    places = (*_BINS, ALL)
    counts: list[defaultdict[str, Counter[str]]] = [defaultdict(Counter) for _ in places]
    for answer in answers:
        for place in (_bin(answer.target), -1):
            counts[place][answer.tester][answer.choice] += 1
    return tuple(
        TargetBin(
            low,
            high,
            figure_of(
                confusion(n["target"], n["prediction"], n["equivalent"]) for n in testers.values()
            ),
            figure_of(domination(n["target"], n["prediction"]) for n in testers.values()),
        )
        for (low, high), testers in zip(places, counts, strict=True)
    )


def _bin(target: float) -> int:
    return bisect_right([low for low, _ in _BINS], target) - 1


def figure_of(values: Iterable[float | None]) -> Figure:
    """Mean and sample standard deviation of the values there are."""
    known = [value for value in values if value is not None]
    return Figure(
        mean=fmean(known) if known else None,
        sd=stdev(known) if len(known) > 1 else None,
        testers=len(known),
    )
