"""How many time points on the next frame is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.plans.adaptive.error_model import ErrorModel

_GROWS_WITH = 0.8
"""Exponent with which the predicted error grows with the gap."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A decision.

    Parameters
    ----------
    steps
        Time points to the next frame; 1 skips none.
    why
        What kept it from being larger: `error`, `most` (the largest gap), `step` (one more than the
        last), `event`, `learning`, `blind` (nothing can be rebuilt) or `end`; or from being
        smaller: `budget` or `fixed`.
    expected
        Error that is expected in the middle of such a gap; None if unknown.
    """

    steps: int
    why: str
    expected: float | None = None


def at_gap(predicted: float, steps: int, wanted: int) -> float:
    """The prediction for a gap, from that for another one, at the same pace.

    Examples
    --------
    >>> round(at_gap(0.2, steps=2, wanted=4), 3)
    0.348
    """
    return float(predicted * (wanted / steps) ** _GROWS_WITH)


def widest(
    belief: ErrorModel,
    predicted: float,
    steps: int,
    *,
    last: int,
    most: int,
    bound: float,
    confidence: float,
) -> Gap:
    """The largest gap whose error stays within the bound.

    Parameters
    ----------
    belief
        What audits taught.
    predicted, steps
        Of the middle of the latest gap that was rebuilt, and its length.
    last
        The gap before: the next is at most one larger.
    most
        Largest gap.
    bound, confidence
        The error is to stay within, with that confidence.

    Examples
    --------
    >>> from agent.optimizer.objectives.estimate import Estimate
    >>> belief = ErrorModel()
    >>> for _ in range(20):
    ...     belief.learn(0.1, Estimate(0.01, 0.001))
    >>> widest(belief, 0.1, 2, last=2, most=8, bound=0.3, confidence=0.65).steps
    3
    """

    def expected(gap: int) -> float:
        return belief.expected(at_gap(predicted, steps, gap))

    widest = min(most, last + 1)
    for gap in range(widest, 1, -1):
        if belief.at_most(at_gap(predicted, steps, gap), confidence) <= bound:
            why = "error" if gap < widest else "most" if gap == most else "step"
            return Gap(gap, why, expected(gap))
    return Gap(1, "error")


def affordable(wanted: Gap, *, left: int, frames: int | None, most: int) -> Gap:
    """The gap, or a larger one where the light would not last.

    An event may have every frame as long as the rest of the run can be had at the largest gap;
    otherwise light is spread evenly over the rest.

    Parameters
    ----------
    wanted
        What frames ask for.
    left
        Time points left.
    frames
        Frames that the budget still has; None where there is none.
    most
        Largest gap.

    Examples
    --------
    >>> affordable(Gap(2, "error"), left=40, frames=10, most=6)
    Gap(steps=4, why='budget', expected=None)
    """
    if frames is None or left <= 0:
        return wanted
    if frames <= math.ceil(left / most):
        least = most
    elif wanted.why in ("event", "learning"):
        return wanted
    else:
        least = min(most, math.ceil(left / frames))
    return wanted if wanted.steps >= least else Gap(least, "budget", wanted.expected)


def audit_affordable(*, left: int, frames: int | None, most: int) -> bool:
    """Whether the budget has a frame more than the last time point needs.

    Fields that share a budget each have an equal part of it. They are at most one audit each
    ahead, so that each of them may have one if all are left enough for the next time point and the
    largest gaps from there on.

    Parameters
    ----------
    left, frames, most
        As of `affordable`.

    Examples
    --------
    >>> audit_affordable(left=9, frames=4, most=4), audit_affordable(left=9, frames=3, most=4)
    (True, False)
    """
    return frames is None or frames - 1 >= 1 + math.ceil((left - 1) / most)
