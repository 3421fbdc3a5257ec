"""What audits teach of the error of rebuilt frames.

Before anything is compared, a frame's error is foretold from how much the two measured frames
differ and from what the interpolator says of its uncertainty; neither is in the units of the error,
and how they relate depends on sample, microscope and network. Audits say how: the squared error per
squared foretelling, summed over audits that count less the older they are. This is the ratio
estimator of survey sampling (Cochran, Sampling Techniques, 1977, chapter 6): audits are a random
sample of the frames, and what is known of all frames makes the sample's mean more precise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

from agent.objectives.estimate import Estimate

_OF_CHANGE, _OF_UNCERTAINTY, _OF_PLACE = 0.4, 0.9, 0.4
_LEAST_CHANGE, _LEAST_UNCERTAINTY = 0.01, 0.005
_PRIOR_RATIO, _PRIOR_AUDITS = 1.5, 1.5
_MEMORY = 0.93
"""What an audit still counts after another one."""
_SCATTER = 0.32
"""Standard deviation of a frame's log error about what is expected of it."""
_AFTER_EVENT = 0.3


def foretold(likeness: float, uncertainty: float, t: float) -> float:
    """What a rebuilt frame's error should be proportional to.

    c^0.4 u^0.9 (4 t (1 − t))^0.4 with c = √(1 − likeness): fitted to rebuilt frames of the virtual
    microscope, of which it leaves a scatter of 0.3 in the logarithm.

    Parameters
    ----------
    likeness
        Of the two measured frames; see `motion.likeness`.
    uncertainty
        The interpolator's, of the frame.
    t
        When between the two, above 0 and below 1.
    """
    change = max(math.sqrt(max(1 - likeness, 0.0)), _LEAST_CHANGE)
    unsure = max(uncertainty, _LEAST_UNCERTAINTY)
    return float(change**_OF_CHANGE * unsure**_OF_UNCERTAINTY * (4 * t * (1 - t)) ** _OF_PLACE)


@dataclass(slots=True)
class Audit:
    """A rebuilt frame that was compared with the measured one.

    Parameters
    ----------
    foretold
        See `foretold`.
    error
        Its squared error; see `error.squared_error`.
    weight
        What it still counts.
    """

    foretold: float
    error: Estimate
    weight: float = 1.0


@dataclass(slots=True)
class Belief:
    """How large errors are, in terms of what is foretold of them.

    Attributes
    ----------
    audits
        All so far.
    """

    audits: list[Audit] = field(default_factory=list)

    def learn(self, foretold: float, error: Estimate) -> None:
        """Take in an audit."""
        for audit in self.audits:
            audit.weight *= _MEMORY
        self.audits.append(Audit(foretold, error))

    def doubt(self) -> None:
        """Something happened: what was learned before counts less."""
        for audit in self.audits:
            audit.weight *= _AFTER_EVENT

    @property
    def count(self) -> float:
        """How many fresh audits those so far are worth."""
        return sum(audit.weight for audit in self.audits)

    def ratio(self, foretold: float) -> float:
        """Error over foretelling, for frames of about this foretelling."""
        prior = _PRIOR_AUDITS * foretold**2
        above = prior * _PRIOR_RATIO**2
        above += sum(audit.weight * audit.error.value for audit in self.audits)
        below = prior + sum(audit.weight * audit.foretold**2 for audit in self.audits)
        # Noise may make all of the few errors negative.
        return math.sqrt(max(above, 0.05 * below) / below)

    def expected(self, foretold: float) -> float:
        """Relative root-mean-square error that is expected of a frame."""
        return self.ratio(foretold) * foretold

    def at_most(self, foretold: float, confidence: float) -> float:
        """What the error does not exceed, with this confidence."""
        sd = _SCATTER * math.sqrt(1 + 1 / (_PRIOR_AUDITS + self.count))
        return self.expected(foretold) * math.exp(NormalDist().inv_cdf(confidence) * sd)

    def running(self, rebuilt: Sequence[float]) -> Estimate | None:
        """Root-mean-square error of rebuilt frames, by their foretellings; None before any audit.

        The standard deviation is that of the ratio estimator (Cochran 1977, eq. 6.9), with noise of
        the comparison in it as it scatters the audits.
        """
        known = [audit for audit in self.audits if audit.foretold > 0]
        if len(known) < 2 or not rebuilt:
            return None
        mean_square = sum(p**2 for p in rebuilt) / len(rebuilt)
        weights = sum(audit.weight for audit in known)
        below = sum(audit.weight * audit.foretold**2 for audit in known)
        ratio = max(sum(audit.weight * audit.error.value for audit in known) / below, 0.0)
        away = [audit.error.value - ratio * audit.foretold**2 for audit in known]
        variance = (
            sum((audit.weight * one) ** 2 for audit, one in zip(known, away, strict=True))
            / weights**2
        )
        variance *= len(known) / (len(known) - 1)
        sd = math.sqrt(variance) * weights / below * mean_square
        value = math.sqrt(ratio * mean_square)
        return Estimate(value, sd / (2 * value) if value > 0 else math.sqrt(sd))
