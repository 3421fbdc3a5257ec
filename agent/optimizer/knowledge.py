"""What the default engine knows: outcomes, and predictions from them and the memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr

from agent.config.rules import HEEDING, SPARING
from agent.optimizer.gaussian import Array, Covariances
from agent.optimizer.hyperparameters import learn
from agent.optimizer.hypotheses import Hypotheses
from agent.optimizer.log_bleaching import FLOOR
from agent.optimizer.measured import Data, ObjectiveScale
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.posterior import Posterior
from agent.optimizer.space import Space
from devices.config import Value
from models.quality.score import DOUBTFUL_SD

SCORE = ObjectiveScale(
    mean=0.25, constant=0.25, amplitude=0.25, slope=0.0, residual=(0.04, 0.12, 0.3)
)
PRICE = ObjectiveScale(mean=-2.0, constant=1.5, amplitude=0.6, slope=2.0, residual=(0.1, 0.3, 0.9))
"""Of the logarithm of bleaching + `FLOOR`."""
GLARE = ObjectiveScale(mean=-6.0, constant=2.0, amplitude=1.0, slope=4.0, residual=())
"""Of the logarithm of the saturated share + `_DIM`."""
_DIM, _GLARE_SD = 1e-4, 0.5
_LEAST_SCORE_SD, _LEAST_BLEACHING_SD = 0.03, 0.008
_NOTHING = 0.15
"""Prior probability that no session of the memory fits this sample; chosen by hand."""
_REFIT_EVERY = 5
"""Trials between two fits of the hyperparameters, from 20 trials on."""
Trial = tuple[Settings, Outcome]


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction for some settings.

    Parameters
    ----------
    score, score_sd
        Mean and standard deviation of the true score, not of one measurement of it.
    bleaching, allowed
        Median of the bleaching, and the probability that it is within the limit.
    """

    score: Array
    score_sd: Array
    bleaching: Array
    allowed: Array


class Knowledge:
    """Outcomes on a sample, and predictions for settings.

    A mixture over earlier and simulated sessions and over "nothing is known"
    (`agent.optimizer.posterior`); a function of the outcomes, in their order, and of the seed.

    Parameters
    ----------
    space
        The tuned settings.
    seed
        Of drawn hyperparameters.
    hypotheses
        Earlier and simulated sessions; None without any.
    saturation_limit
        Largest share of a frame's pixels that may be at the detector's limit.
    by_ranking
        Weigh hypotheses by how well they rank the measurements (`agent.optimizer.ranking`) rather
        than by how close they come.
    rules
        See `agent.config.rules`. From `SPARING` on, what a frame with a doubtful score bleached is
        learned from, and its score never is. From `HEEDING` on it is, as one that may be far off,
        unless the detector was at its limit.

    Examples
    --------
    >>> from devices.config import SettingConfig
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> rules = {"saturation_limit": 0.01, "by_ranking": False, "rules": 1}
    >>> knowledge = Knowledge(Space({"power": power}, {}), 0, None, **rules)
    >>> knowledge.hear({"power": 5}, Outcome(score=0.6, bleaching=0.1))
    >>> knowledge.believes
    True
    """

    def __init__(
        self,
        space: Space,
        seed: int,
        hypotheses: Hypotheses | None,
        *,
        saturation_limit: float,
        by_ranking: bool,
        rules: int,
    ) -> None:
        self.told: list[Trial] = []
        """Trials whose score counts."""
        self.doubted: list[Trial] = []
        """Those whose score does not."""
        self.remembers = hypotheses is not None
        self._space, self._seed, self._hypotheses = space, seed, hypotheses
        self._saturation_limit, self._by_ranking = saturation_limit, by_ranking
        self._sparing, self._heeding = rules >= SPARING, rules >= HEEDING
        self._priced: list[Trial] = []
        self._saturation: list[tuple[Settings, float]] = []
        self._glare: Posterior | None = None
        empty = np.zeros((0 if hypotheses is None else len(hypotheses.log_prior), 0))
        self._expected, self._expected_price = empty, empty
        self._beliefs: tuple[Posterior, Posterior] | None = None
        self._settled: dict[tuple[int, int], tuple[Covariances, Covariances]] = {}

    def counts(self, outcome: Outcome) -> bool:
        """Whether an outcome's score is learned from."""
        return not outcome.doubtful or (self._heeding and outcome.comparable)

    def hear(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """What a trial gave."""
        counts = self.counts(outcome)
        if counts and outcome.doubtful:
            outcome = replace(outcome, score_sd=max(outcome.score_sd, DOUBTFUL_SD))
        trial = dict(settings), outcome
        # Whether or not a score counts, a saturated frame is one.
        self._saturation.append((trial[0], outcome.saturation))
        self._glare = None
        (self.told if counts else self.doubted).append(trial)
        if not counts and not self._sparing:
            return
        self._priced.append(trial)
        if self._hypotheses is not None:
            quality, bleaching = self._hypotheses.expect([settings])
            self._expected_price = np.concatenate([self._expected_price, bleaching], axis=1)
            if counts:
                self._expected = np.concatenate([self._expected, quality], axis=1)
        self._beliefs = None

    @property
    def memory_share(self) -> float | None:
        """Probability that earlier or simulated sessions explain the scores; None without any."""
        return float(self._believed()[0].hypotheses.sum()) if self.remembers else None

    @property
    def believes(self) -> bool:
        """Whether there is anything to predict from."""
        return bool(self.told or self.remembers or (self.doubted and not self._sparing))

    @contextmanager
    def without_memory(self) -> Iterator[None]:
        """As if there were no earlier or simulated sessions."""
        kept, self._beliefs = self._beliefs, self._learn(remember=False)
        try:
            yield
        finally:
            self._beliefs = kept

    def at(
        self, points: Sequence[Mapping[str, Value]], *, joint: bool
    ) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
        """Features of points; mean and (co)variance of score and of the bleaching's logarithm.

        Raises
        ------
        ValueError
            No trial gave a score, and there is no memory either.
        """
        where = self._space.features(points)
        score, price = (
            belief.at(where, guess, joint=joint)
            for belief, guess in zip(self._believed(), self._guesses(points), strict=True)
        )
        return where, score, price

    def price_at(self, points: Sequence[Mapping[str, Value]]) -> tuple[Array, Array, Array]:
        """Features of points; mean and variance of the bleaching's logarithm alone.

        Known, too, where no trial gave a score.
        """
        where, guess = self._space.features(points), None
        if self.believes:
            belief = self._believed()[1]
            if self._hypotheses is not None and len(belief.which):
                _, bleaching = self._hypotheses.expect(points, belief.which.tolist())
                guess = np.log(bleaching + FLOOR)
        else:
            _, price = self._measured()
            belief = Posterior(price, PRICE, None, np.zeros(0), 0.0, self._seed + 1)
        log, variance = belief.at(where, guess, joint=False)
        return where, log, variance

    def unsaturated(self, where: Array) -> Array:
        """Probability that no more of the detector than allowed is saturated; 1 till one was."""
        if all(share <= 0.5 * self._saturation_limit for _, share in self._saturation):
            return np.ones(len(where))
        if self._glare is None:
            data = Data(
                self._space.features([settings for settings, _ in self._saturation]),
                np.log(np.array([share for _, share in self._saturation]) + _DIM),
                np.full(len(self._saturation), _GLARE_SD),
            )
            self._glare = Posterior(data, GLARE, None, np.zeros(0), 0.0, self._seed + 2)
        log, variance = self._glare.at(where, None, joint=False)
        limit = np.log(self._saturation_limit + _DIM)
        chance: Array = ndtr((limit - log) / np.sqrt(variance))
        return chance

    def noise(self, log: Array) -> tuple[Array, Array]:
        """Standard deviations of a measurement where the bleaching's logarithm is `log`."""
        outcomes = [outcome for _, outcome in self.told]
        score = max(_LEAST_SCORE_SD, float(np.mean([o.score_sd for o in outcomes] or [0.05])))
        price = max(
            _LEAST_BLEACHING_SD, float(np.mean([o.bleaching_sd for o in outcomes] or [0.01]))
        )
        return np.full(len(log), score), price / np.maximum(np.exp(log), FLOOR)

    # ------------------------------------------------------------------ beliefs

    def _believed(self) -> tuple[Posterior, Posterior]:
        if self._beliefs is None:
            self._beliefs = self._learn()
        return self._beliefs

    def _learn(self, *, remember: bool = True) -> tuple[Posterior, Posterior]:
        if not self.believes:
            raise ValueError("no trial gave a score, there is nothing to recommend")
        score, price = self._measured()
        settled = self._settle(score, price)
        only_doubted = not self._sparing and self.doubted and not self.told
        if self._hypotheses is None or not remember or only_doubted:
            none = np.zeros(0)
            return (
                Posterior(score, SCORE, None, none, 0.0, self._seed, settled[0]),
                Posterior(price, PRICE, None, none, 0.0, self._seed + 1, settled[1]),
            )
        prior = self._hypotheses.log_prior + np.log1p(-_NOTHING)
        nothing = float(np.log(_NOTHING))
        logs = np.log(self._expected_price + FLOOR)
        # One session explains both: what the bleaching says of it counts for the score, too.
        dear = Posterior(
            price,
            PRICE,
            logs,
            prior,
            nothing,
            self._seed + 1,
            settled[1],
            by_ranking=self._by_ranking,
        )
        good = Posterior(
            score,
            SCORE,
            self._expected,
            _shared(prior, dear, nothing),
            nothing,
            self._seed,
            settled[0],
            by_ranking=self._by_ranking,
        )
        return good, dear

    def _measured(self) -> tuple[Data, Data]:
        """Scores that count, and bleaching."""
        told, priced = self.told, self._priced
        if not self._sparing:
            # Doubtful scores were better than none where all were.
            told = priced = self.told or self.doubted
        score, price = (
            measurements(
                self._space.features([settings for settings, _ in trials]),
                [outcome for _, outcome in trials],
            )[which]
            for which, trials in enumerate((told, priced))
        )
        return score, price

    def _settle(self, score: Data, price: Data) -> tuple[Covariances, Covariances]:
        """Hyperparameters, fitted again with every trial at first and every fifth later."""
        used = _settled_by(len(score.values)), _settled_by(len(price.values))
        if used not in self._settled:
            features = len(self._space.owners)
            self._settled = {
                used: (
                    learn(score.first(used[0]), SCORE, features, self._seed),
                    learn(price.first(used[1]), PRICE, features, self._seed + 1),
                )
            }
        return self._settled[used]

    def _guesses(self, points: Sequence[Mapping[str, Value]]) -> tuple[Array | None, Array | None]:
        """What the hypotheses that are left of each belief expect; asked once for both."""
        score, price = (belief.which for belief in self._believed())
        which = np.union1d(score, price)
        if self._hypotheses is None or not len(which):
            return None, None
        quality, bleaching = self._hypotheses.expect(points, which.tolist())
        return (
            quality[np.searchsorted(which, score)],
            np.log(bleaching[np.searchsorted(which, price)] + FLOOR),
        )


def _settled_by(count: int) -> int:
    """Trials that hyperparameters are learned from: all at first, and every fifth later."""
    return count if count < 20 else count - count % _REFIT_EVERY


def measurements(where: Array, outcomes: Sequence[Outcome]) -> tuple[Data, Data]:
    """Score, and logarithm of bleaching + `FLOOR`, at features, each with its deviation.

    Examples
    --------
    >>> score, price = measurements(np.zeros((1, 1)), [Outcome(score=0.6, bleaching=0.1)])
    >>> score.values.tolist(), np.exp(price.values).round(3).tolist()
    ([0.6], [0.12])
    """
    bleached = np.array([max(outcome.bleaching, -0.5 * FLOOR) for outcome in outcomes])
    score = Data(
        where,
        np.array([outcome.score for outcome in outcomes]),
        np.array([max(outcome.score_sd, _LEAST_SCORE_SD) for outcome in outcomes]),
    )
    price = Data(
        where,
        np.log(bleached + FLOOR),
        np.array([max(outcome.bleaching_sd, _LEAST_BLEACHING_SD) for outcome in outcomes])
        / (np.maximum(bleached, 0) + FLOOR),
    )
    return score, price


def _shared(prior: Array, price: Posterior, nothing: float) -> Array:
    """Prior of the hypotheses for the score, after the bleaching has spoken."""
    share = price.hypotheses.sum(axis=0)
    told = np.full(len(prior), 1e-6 / len(prior))
    told[price.which] += share / max(share.sum(), 1e-300)
    posterior: Array = np.log(told / told.sum()) + np.log1p(-np.exp(nothing))
    return posterior
