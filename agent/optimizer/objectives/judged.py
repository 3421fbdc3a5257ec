"""What a trial is scored by: the quality network, or an objective of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.config import RunConfig
from agent.config.objective_section import Objective
from agent.config.own_code import failure
from agent.optimizer.objectives.estimate import Estimate
from agent.plan import AnalysisError, Frame
from devices.refusals import shortened

_FARTHEST = 1e100
"""Bound of what a ledger can keep."""


@dataclass(frozen=True, slots=True)
class Judged:
    """The score of a trial.

    Parameters
    ----------
    score, sd
        In [0, 1], and its standard deviation.
    flags
        What the quality network remarked; see `models.quality.score.FLAGS`.
    measured
        What the score was made from, by the objective's name, in its unit.
    """

    score: float
    sd: float = 0.0
    flags: tuple[str, ...] = ()
    measured: Mapping[str, float] = field(default_factory=dict)


Judge = Callable[[Frame, Frame, Frame], Judged]
"""Scores a STED frame between two confocals of its field: before, image, after.

Raises `AnalysisError` where it cannot.
"""


def by_quality(before: Frame, image: Frame, after: Frame) -> Judged:
    """The quality network's score of the STED frame.

    Examples
    --------
    >>> from models.quality.score import Score
    >>> frame = Frame(0, None, {}, None, 0.0, lambda: Score(0.8, sd=0.1))
    >>> by_quality(frame, frame, frame)
    Judged(score=0.8, sd=0.1, flags=(), measured={})
    """
    quality = image.quality
    return Judged(quality.value, quality.sd, tuple(quality.flags))


class OwnJudge:
    """Scores by an objective of one's own.

    Parameters
    ----------
    compute
        Called with the frames before, image and after; gives a number, or an `Estimate` where it
        knows its standard deviation.
    shown
        Its name, and which values are scored 0 and 1.

    Examples
    --------
    >>> judge = OwnJudge(lambda before, image, after: 30.0, Objective("width", "nm", 200.0, 30.0))
    >>> frame = Frame(0, None, {}, None, 0.0, None)
    >>> judge(frame, frame, frame)
    Judged(score=1.0, sd=0.0, flags=(), measured={'width': 30.0})
    """

    def __init__(self, compute: Callable[[Frame, Frame, Frame], Any], shown: Objective) -> None:
        self._compute, self._shown = compute, shown

    def __call__(self, before: Frame, image: Frame, after: Frame) -> Judged:
        """The score of a trial."""
        name, worst, best = self._shown.name, self._shown.worst, self._shown.best
        try:
            found = self._compute(before, image, after)
            known = found if isinstance(found, Estimate) else Estimate(found, 0.0)
            value, sd = float(known.value), abs(float(known.sd) / (best - worst))
        except AnalysisError:
            raise
        except Exception as error:  # anything that a person's own code does wrong
            said = failure(error)
            raise AnalysisError(f"frame {image.index}: objective {name}: {said}") from error
        if not abs(value) <= _FARTHEST or not sd <= _FARTHEST:
            raise AnalysisError(
                f"frame {image.index}: objective {name}: found {shortened(found)}; "
                "accepted: a finite number"
            )
        score = min(1.0, max(0.0, (value - worst) / (best - worst)))
        return Judged(score, sd, (), {name: value})


def make_judge(config: RunConfig) -> Judge:
    """What the config's searches score trials by.

    Raises
    ------
    UserError
        It is from outside this package, and its code is not loaded.
    """
    own, shown = config.own.get("objective"), config.objective()
    if own is None or shown is None:
        return by_quality
    return OwnJudge(own.made(config.optimize.own_objective(), config), shown)
