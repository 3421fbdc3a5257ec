"""Posterior of one objective: hypotheses, and Gaussian processes for what none of them explains.

Every hypothesis (an earlier or simulated session) is a mean function; what it leaves unexplained is
a Gaussian process, small and smooth where hypotheses are good. Beside them stands the hypothesis
that nothing is known: a constant (or a slope) and a process with a length scale of its own along
every setting. Weights are posterior probabilities, the hyperparameters are averaged over
rather than fitted, and the whole mixture is known at any set of points by its mean and
covariance. So a wrong library is outgrown: its hypotheses need ever larger residuals, which costs
them their weight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from agent.optimizer.gaussian import Covariances, log_evidence, whiten
from agent.optimizer.hyperparameters import learn
from agent.optimizer.measured import Array, Data, ObjectiveScale
from agent.optimizer.ranking import ranking_weights

_KEPT_HYPOTHESES = 120
"""Sessions of the memory with the largest evidence that are averaged over."""
_LEAST_TO_RANK = 3
"""Measurements from which hypotheses are weighed by ranking."""
_NEGLIGIBLE = 1e-3
"""Weight relative to the largest one below which a process is left out."""


class Posterior:
    """Posterior of one objective.

    Parameters
    ----------
    data
        Measurements.
    scale
        Prior of the objective.
    expected
        What each hypothesis expects at the measurements: hypotheses × n; None without any.
    log_prior
        Logarithm of their prior weights, with room left for "nothing is known".
    seed
        Of the drawn hyperparameters.
    settled
        Hyperparameters found from fewer measurements, to be used as they are.
    by_ranking
        Weigh hypotheses by the order that they expect rather than by the values.

    Examples
    --------
    >>> where = np.linspace(0, 1, 6)[:, None]
    >>> data = Data(where, where[:, 0], np.full(6, 0.01))
    >>> scale = ObjectiveScale(mean=0.5, constant=0.3, amplitude=0.2, slope=0.5, residual=(0.1,))
    >>> posterior = Posterior(data, scale, None, np.zeros(0), log_nothing=0.0, seed=0)
    >>> mean, variance = posterior.at(where, None, joint=False)
    >>> bool(np.allclose(mean, data.values, atol=0.05))
    True
    """

    def __init__(
        self,
        data: Data,
        scale: ObjectiveScale,
        expected: Array | None,
        log_prior: Array,
        log_nothing: float,
        seed: int,
        settled: Covariances | None = None,
        *,
        by_ranking: bool = False,
    ) -> None:
        self._data = data
        self._scale = scale
        features = data.where.shape[1]
        self.processes = settled or learn(data, scale, features, seed)
        blank = self.processes
        lower = blank.factors(data.where, data.sd)
        residual = whiten(lower, (data.values - scale.mean)[:, None])
        evidence = log_evidence(lower, residual)[:, 0]
        # Of the kept hyperparameters each stands for its share of the prior that was searched.
        weights = evidence + log_nothing - np.log(len(blank))
        self._blank = _Branch(blank, lower, residual)
        self._close: _Branch | None = None
        self.which = np.zeros(0, dtype=np.intp)
        """The hypotheses that still have weight."""
        shared = np.zeros((0, 0))
        if expected is not None and len(expected):
            close = _residual_kernels(scale, features)
            factor = close.factors(data.where, data.sd)
            both = whiten(factor, np.concatenate([data.values[None], expected]).T)
            rest = both[:, :, :1] - both[:, :, 1:]
            shared = log_evidence(factor, rest) + log_prior[None] - np.log(len(close))
            if by_ranking and len(data.values) >= _LEAST_TO_RANK:
                own = self._blank.from_the_others(data.values, int(np.argmax(weights)))
                share = np.log(ranking_weights(data.values, data.sd, expected, own, seed) + 1e-12)
                weights = weights - logsumexp(weights) + share[-1]
                shared = shared - logsumexp(shared, axis=0) + share[:-1]
            top = np.argsort(logsumexp(shared, axis=0))[::-1][:_KEPT_HYPOTHESES]
            self.which = np.sort(top)
            shared = shared[:, self.which]
            self._close = _Branch(close, factor, both[:, :, :1], both[:, :, 1:][:, :, self.which])
        total = logsumexp(np.concatenate([weights, shared.ravel()]))
        self.nothing = np.exp(weights - total)
        """Probability of each process without a hypothesis."""
        self.hypotheses = np.exp(shared - total)
        """Probability of each residual process with each hypothesis in `which`."""
        self._forget_the_unlikely()

    def _forget_the_unlikely(self) -> None:
        """Leave out processes of next to no weight: each costs as much as the best one."""
        keep = np.flatnonzero(self.nothing > _NEGLIGIBLE * self.nothing.max())
        self.nothing, self._blank = self.nothing[keep], self._blank.take(keep)
        if self._close is None:
            return
        share = self.hypotheses.sum(axis=1)
        keep = np.flatnonzero(share > _NEGLIGIBLE * share.max())
        hypotheses = np.flatnonzero(self.hypotheses.sum(axis=0) > _NEGLIGIBLE * share.max() / 100)
        self.hypotheses = self.hypotheses[np.ix_(keep, hypotheses)]
        self._close = self._close.take(keep, hypotheses)
        self.which = self.which[hypotheses]

    def at(self, where: Array, expected: Array | None, *, joint: bool) -> tuple[Array, Array]:
        """Mean, and covariance (joint) or variance, of the objective at points.

        Parameters
        ----------
        where
            Features of p points.
        expected
            What the hypotheses in `which` expect there: len(which) × p.
        joint
            p × p covariance rather than p variances.
        """
        means, spreads, weights = [], [], []
        mean, spread = self._blank.condition(self._data.where, where, joint)
        means.append(mean + self._scale.mean)
        spreads.append(spread)
        weights.append(self.nothing)
        close = self._close
        if close is not None and expected is not None and len(expected):
            assert close.white is not None
            base, spread = close.condition(self._data.where, where, joint)
            share = self.hypotheses.sum(axis=1)
            link = close.link
            assert link is not None
            # What each hypothesis leads to: its own value, and its residuals interpolated.
            led = expected[None] - np.einsum("bnp,bnh->bhp", link, close.white, optimize=True)
            within = self.hypotheses / np.maximum(share, 1e-300)[:, None]
            middle = np.einsum("bh,bhp->bp", within, led)
            off = led - middle[:, None]
            if joint:
                weighted = off * within[:, :, None]
                spread = spread + weighted.transpose(0, 2, 1) @ off
            else:
                spread = spread + np.einsum("bh,bhp->bp", within, off**2)
            means.append(base + middle)
            spreads.append(spread)
            weights.append(share)
        each, weight = np.concatenate(means), np.concatenate(weights)
        weight = weight / weight.sum()
        mean = weight @ each
        off = each - mean
        if joint:
            spread = np.einsum("b,bpq->pq", weight, np.concatenate(spreads), optimize=True)
            return mean, spread + (off * weight[:, None]).T @ off
        variance = weight @ (np.concatenate(spreads) + off**2)
        return mean, np.maximum(variance, 1e-12)


class _Branch:
    """Processes with one Cholesky factor each, and the whitened data."""

    def __init__(
        self, kernels: Covariances, lower: Array, residual: Array, white: Array | None = None
    ) -> None:
        self.kernels = kernels
        self._lower = lower
        self._residual = residual
        self.white = white
        self.link: Array | None = None

    def take(self, which: NDArray[np.intp], hypotheses: NDArray[np.intp] | None = None) -> _Branch:
        """Some of the processes, and of the hypotheses whitened beside the data."""
        white = self.white
        if white is not None and hypotheses is not None:
            white = white[which][:, :, hypotheses]
        return _Branch(self.kernels.take(which), self._lower[which], self._residual[which], white)

    def from_the_others(self, values: Array, process: int) -> Array:
        """What one process expects of each measurement from all the others (n).

        Rasmussen & Williams, Gaussian Processes for Machine Learning (2006), eq. 5.12.
        """
        lower = self._lower[process]
        inverse = np.linalg.inv(lower)
        expected: Array = values - (inverse.T @ self._residual[process, :, 0]) / (inverse**2).sum(0)
        return expected

    def condition(self, known: Array, where: Array, joint: bool) -> tuple[Array, Array]:
        """Mean (B × p) and covariance (B × p × p) or variance (B × p) given the data."""
        self.link = link = whiten(self._lower, self.kernels.covariance(known, where))
        mean = (link * self._residual).sum(axis=1)
        if joint:
            return mean, self.kernels.covariance(where, where) - link.transpose(0, 2, 1) @ link
        return mean, self.kernels.variance(where) - (link**2).sum(axis=1)


def _residual_kernels(scale: ObjectiveScale, features: int) -> Covariances:
    """Processes for what a hypothesis leaves unexplained: how much, and how smooth."""
    grid = [(size, length) for size in scale.residual for length in (0.35, 0.9)]
    size = np.array([size for size, _ in grid])
    return Covariances(
        size,
        np.array([[length] * features for _, length in grid]),
        0.5 * size,
        np.zeros(len(grid)),
        np.ones(len(grid)),
    )
