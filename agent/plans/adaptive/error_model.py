"""The error of rebuilt frames, learned from audits.

Before any comparison, a frame's error is predicted from how much the two measured frames differ and
from the interpolator's uncertainty. Neither is in the units of the error, and how they relate
depends on sample, microscope and network. Audits say how: the squared error per squared prediction,
summed over audits that count less the older they are. This is the ratio estimator of survey
sampling (Cochran, Sampling Techniques, 1977, chapter 6): audits are a random sample of the frames,
and the predictions, known for all frames, make the sample's mean more precise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from agent.optimizer.objectives.estimate import Estimate

_OF_CHANGE, _OF_UNCERTAINTY, _OF_PLACE = 0.4, 0.9, 0.4
_LEAST_CHANGE, _LEAST_UNCERTAINTY = 0.01, 0.005
_PRIOR_RATIO, _PRIOR_AUDITS = 1.5, 1.5
_MEMORY = 0.93
"""Weight that an audit keeps after the next one."""
_SCATTER = 0.32
"""Standard deviation of a frame's log error about its expected value."""
_AFTER_EVENT = 0.3
"""Weight that audits before an event keep; chosen by hand."""
_NIL = 2.0**-200
"""Least weight of an audit that is kept, relative to the newest: some 1,900 audits, or fewer."""


def predicted(likeness: float, uncertainty: float, t: float) -> float:
    """A number that a rebuilt frame's error should be proportional to.

    c^0.4 u^0.9 (4 t (1 − t))^0.4 with c = √(1 − likeness): fitted to rebuilt frames of the virtual
    microscope, where a scatter of 0.3 remains in the logarithm.

    Parameters
    ----------
    likeness
        Of the two measured frames; see `motion.likeness`.
    uncertainty
        The interpolator's, of the frame.
    t
        When between the two, above 0 and below 1.

    Examples
    --------
    >>> round(predicted(likeness=0.9, uncertainty=0.1, t=0.5), 3)
    0.079
    """
    change = max(math.sqrt(max(1 - likeness, 0.0)), _LEAST_CHANGE)
    unsure = max(uncertainty, _LEAST_UNCERTAINTY)
    return float(change**_OF_CHANGE * unsure**_OF_UNCERTAINTY * (4 * t * (1 - t)) ** _OF_PLACE)


class ErrorModel:
    """How large errors are, relative to their predictions.

    Of each audit it keeps the prediction, the squared error and their weight. One whose weight is
    nil is dropped: sums are made from the oldest audit on, and so small a term is rounded away as
    soon as a few of the next ones are added, so that no result changes by a bit.

    Examples
    --------
    >>> belief = ErrorModel()
    >>> for _ in range(20):
    ...     belief.learn(0.1, Estimate(0.04, 0.001))
    >>> round(belief.expected(0.1), 2)
    0.19
    """

    def __init__(self) -> None:
        self._square, self._error, self._weight = np.empty(0), np.empty(0), np.empty(0)
        """Squared prediction, squared error and weight of each audit, from the oldest on."""
        self._dropped = 0
        self._sums: tuple[float, float, float] | None = None
        """Of weights, weighted errors and weighted squared predictions, until they change."""

    def learn(self, predicted: float, error: Estimate) -> None:
        """Take in an audit.

        Parameters
        ----------
        predicted
            See `predicted`; above 0.
        error
            Its squared error; see `error.squared_error`.
        """
        self._weigh(_MEMORY)
        self._square = np.append(self._square, predicted**2)
        self._error = np.append(self._error, error.value)
        self._weight = np.append(self._weight, 1.0)
        self._drop()

    def doubt(self) -> None:
        """Something happened: earlier audits count less."""
        self._weigh(_AFTER_EVENT)

    def _weigh(self, share: float) -> None:
        self._sums = None
        self._weight *= share

    def _drop(self) -> None:
        # Weights grow from the oldest audit to the newest.
        gone = int(np.searchsorted(self._weight, _NIL * self._weight[-1]))
        if gone and np.isfinite(self._error[:gone]).all():
            self._dropped += gone
            self._square, self._error = self._square[gone:], self._error[gone:]
            self._weight = self._weight[gone:]

    def __len__(self) -> int:
        """How many audits are kept."""
        return len(self._weight)

    def _summed(self) -> tuple[float, float, float]:
        """Added one by one: another order gives other last digits, and another plan in a replay."""
        if self._sums is None:
            parts = self._weight, self._weight * self._error, self._weight * self._square
            count, errors, squares = (float(sum(part.tolist())) for part in parts)
            self._sums = count, errors, squares
        return self._sums

    @property
    def count(self) -> float:
        """How many fresh audits those so far are worth."""
        return self._summed()[0]

    def ratio(self, predicted: float) -> float:
        """Error over prediction, for frames of about this prediction."""
        _, errors, squares = self._summed()
        prior = _PRIOR_AUDITS * predicted**2
        above = prior * _PRIOR_RATIO**2
        above += errors
        below = prior + squares
        # Noise may make all of the few errors negative.
        return math.sqrt(max(above, 0.05 * below) / below)

    def expected(self, predicted: float) -> float:
        """Relative root-mean-square error that is expected of a frame."""
        return self.ratio(predicted) * predicted

    def at_most(self, predicted: float, confidence: float) -> float:
        """Bound that the error does not exceed, with this confidence."""
        sd = _SCATTER * math.sqrt(1 + 1 / (_PRIOR_AUDITS + self.count))
        return self.expected(predicted) * math.exp(NormalDist().inv_cdf(confidence) * sd)

    def running(self, rebuilt: Sequence[float]) -> Estimate | None:
        """Root-mean-square error of rebuilt frames, by their predictions; None before any audit.

        The standard deviation is that of the ratio estimator (Cochran 1977, eq. 6.9), with noise of
        the comparison in it as it scatters the audits.
        """
        known = len(self) + self._dropped
        if known < 2 or not rebuilt:
            return None
        mean_square = sum(p**2 for p in rebuilt) / len(rebuilt)
        weights, errors, below = self._summed()
        ratio = max(errors / below, 0.0)
        away = self._weight * (self._error - ratio * self._square)
        variance = sum(one**2 for one in away.tolist()) / weights**2
        variance *= known / (known - 1)
        sd = math.sqrt(variance) * weights / below * mean_square
        value = math.sqrt(ratio * mean_square)
        return Estimate(value, sd / (2 * value) if value > 0 else math.sqrt(sd))
