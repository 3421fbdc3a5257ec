"""The default engine: hypotheses from memory, Gaussian processes, and the knowledge gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from agent.optimizer.belief import Belief, Data, Scale, learn
from agent.optimizer.gaussian import Array, Kernels
from agent.optimizer.hypotheses import Hypotheses
from agent.optimizer.lookahead import expected_gains
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from devices.config import Value

SCORE = Scale(mean=0.25, constant=0.25, amplitude=0.25, slope=0.0, residual=(0.04, 0.12, 0.3))
PRICE = Scale(mean=-2.0, constant=1.5, amplitude=0.6, slope=2.0, residual=(0.1, 0.3, 0.9))
"""Of the logarithm of bleaching + `FLOOR`."""
GLARE = Scale(mean=-6.0, constant=2.0, amplitude=1.0, slope=4.0, residual=())
"""Of the logarithm of the saturated share + `_DIM`."""
FLOOR = 0.02
_DIM, _GLARE_SD = 1e-4, 0.5
_LEAST_SCORE_SD, _LEAST_BLEACHING_SD = 0.03, 0.008
_CERTAINTY = 0.95
_FORBIDDEN = 1.0
_NOTHING = 0.15
_DOUBT_FROM, _DOUBT_EVERY = 8, 4
_SCREENED, _COMPARED, _FRONT = 1024, 220, 12
_REFIT_EVERY = 5
_ELSEWHERE = 0.15
Seconds = Callable[[Mapping[str, Value]], float]
Affordable = Callable[[Mapping[str, Value], Sequence[tuple[Settings, Outcome]]], bool]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is believed of some settings.

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


class StedfastOptimizer:
    """Finds the settings with the best score whose bleaching is within a limit.

    Every trial is the one that is expected to add most to the settings that could be
    recommended after it, per second (`agent.optimizer.lookahead`); the recommendation has the
    best expected score among all settings, tried or not, that keep the limit with a
    probability of 0.95. What is believed is a mixture over earlier and simulated sessions and
    over "nothing is known" (`agent.optimizer.belief`). All of it is a function of what was told,
    in that order, and of the seed.

    Parameters
    ----------
    space
        The tuned settings.
    bleaching_limit
        Largest share of the dye one frame may bleach.
    seed
        Same seed and same outcomes: same suggestions.
    initial
        Space-filling trials (Sobol) before the model decides, where there are no hypotheses.
    hypotheses
        Earlier and simulated sessions; None without any.
    seconds
        What a trial takes (s); gains are weighed against it. None: all trials cost the same.
    saturation_limit
        Largest share of a frame's pixels that may be at the detector's limit.
    goal
        `best` looks for the best score within the limit; `front` for the whole compromise between
        score and bleaching, up to twice the limit: each trial is for a limit of its own.
    affordable
        Whether the light that is left allows a trial at these settings, after those that were told.
    weighing
        How hypotheses gain weight: by how close they come to the measurements, or by how well they
        rank them (`agent.optimizer.ranking`).
    """

    def __init__(
        self,
        space: Space,
        *,
        bleaching_limit: float,
        seed: int,
        initial: int = 5,
        hypotheses: Hypotheses | None = None,
        seconds: Seconds | None = None,
        saturation_limit: float = 1.0,
        goal: Literal["best", "front"] = "best",
        affordable: Affordable = lambda settings, tried: True,
        weighing: Literal["likelihood", "ranking"] = "likelihood",
    ) -> None:
        self.space = space
        self.limit = bleaching_limit
        self._seed = seed
        self._initial = 0 if hypotheses is not None else initial
        self._hypotheses = hypotheses
        self._seconds = seconds
        self._saturation_limit = saturation_limit
        self._affordable = affordable
        self._goal = goal
        self._by_ranking = weighing == "ranking"
        self._saturation: list[tuple[Settings, float]] = []
        self._glare: Belief | None = None
        self._told: list[tuple[Settings, Outcome]] = []
        self._doubted: list[tuple[Settings, Outcome]] = []
        self._barren: list[Settings] = []
        self._trials = 0
        self._weights: dict[str, float] = {}
        self._picked: Settings | None = None
        self._expected = np.zeros((2, 0 if hypotheses is None else len(hypotheses.log_prior), 0))
        self._beliefs: tuple[Belief, Belief] | None = None
        self._settled: dict[int, tuple[Kernels, Kernels]] = {}
        self._gain: float | None = None

    # ------------------------------------------------------------------ ask and tell

    def ask(self) -> Settings:
        """Settings to try next."""
        if self._trials < self._initial or (not self._told and self._hypotheses is None):
            return self._affordable_first(
                self.space.sobol(max(self._initial, self._trials + 8), self._seed)[self._trials :]
            )
        with threadpool_limits(1), self._doubting():
            points, gains = self._gains(*self._aim())
        gains = gains * self._away_from_failures(points)
        self._gain = float(gains.max())
        if self._seconds is not None:
            gains = gains / np.array([self._seconds(point) for point in points])
        order = np.argsort(gains)[::-1]
        return self._affordable_first([points[at] for at in order])

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """What a trial gave; nothing if it is doubtful."""
        self._trials += 1
        # A score in doubt says nothing, but a saturated frame is one, whatever its score.
        self._saturation.append((dict(settings), outcome.saturation))
        self._glare = None
        if outcome.doubtful:
            self._doubted.append((dict(settings), outcome))
            self._barren.append(dict(settings))
            return
        self._told.append((dict(settings), outcome))
        if self._hypotheses is not None:
            new = np.stack(self._hypotheses.expect([settings]))
            self._expected = np.concatenate([self._expected, new], axis=2)
        self._beliefs = None

    def tell_failed(self, settings: Mapping[str, Value]) -> None:
        """A trial gave nothing."""
        self._trials += 1
        self._barren.append(dict(settings))

    def restrict(self, search: Mapping[str, Sequence[Value]]) -> None:
        """Suggest and recommend only within these ranges or choices; others are free again."""
        self.space.restrict(search)

    def prefer(self, weights: Mapping[str, float]) -> None:
        """Recommend by the sum of `quality` and −`bleaching` times these weights."""
        self._weights = dict(weights)
        self._picked = None

    def pick(self, settings: Mapping[str, Value]) -> None:
        """Recommend the best score that bleaches no more than these settings do."""
        self._picked = dict(settings)

    def expected_gain(self) -> float | None:
        """What the last suggestion was expected to add to the recommended settings' score."""
        return self._gain

    @property
    def memory_share(self) -> float | None:
        """Probability that earlier or simulated sessions explain the scores of this sample.

        None where none are known.
        """
        if self._hypotheses is None:
            return None
        return float(self._believed()[0].hypotheses.sum())

    # ------------------------------------------------------------------ results

    def recommend(self) -> Settings:
        """The settings with the best expected score that keep the limit with probability 0.95.

        Raises
        ------
        ValueError
            No trial gave a score, and there is no memory either.
        """
        with threadpool_limits(1):
            points, worth = self._promising()
        return points[int(np.argmax(worth))]

    def front(self) -> list[Settings]:
        """At most twelve Pareto-optimal settings, from the gentlest on."""
        with threadpool_limits(1):
            points, _ = self._promising(for_front=True)
            found = self.predict(points)
        order = np.lexsort((-found.score, found.bleaching))
        best, front = -np.inf, []
        for at in order:
            if found.score[at] > best + 0.005:
                best = found.score[at]
                front.append(at)
        picks = np.unique(
            np.linspace(0, len(front) - 1, min(_FRONT, len(front))).round().astype(int)
        )
        return [points[front[at]] for at in picks]

    def predict(self, points: Sequence[Mapping[str, Value]]) -> Prediction:
        """What is believed of settings.

        Raises
        ------
        ValueError
            No trial gave a score, and there is no memory either.
        """
        where, (mean, variance), (log, spread) = self._known(points, joint=False)
        allowed = self._chance(log, np.sqrt(spread), self.limit) * self._unsaturated(where)
        return Prediction(mean, np.sqrt(variance), np.exp(log) - FLOOR, allowed)

    # ------------------------------------------------------------------ beliefs

    def _believed(self) -> tuple[Belief, Belief]:
        if self._beliefs is None:
            self._beliefs = self._learn()
        return self._beliefs

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """Now and then, look where one would without any memory.

        What a wrong memory holds to be hopeless it would never try, and so never learn that it
        was wrong.
        """
        due = self._trials >= _DOUBT_FROM and self._trials % _DOUBT_EVERY == 0
        if self._hypotheses is None or not self._told or not due:
            yield
            return
        kept, self._beliefs = self._beliefs, self._learn(remember=False)
        try:
            yield
        finally:
            self._beliefs = kept

    def _learn(self, *, remember: bool = True) -> tuple[Belief, Belief]:
        told = self._told or self._doubted
        if not told and self._hypotheses is None:
            raise ValueError("no trial gave a score, there is nothing to recommend")
        where = self.space.features([settings for settings, _ in told])
        score, price = measurements(where, [outcome for _, outcome in told])
        settled = self._settle(score, price)
        if self._hypotheses is None or not remember or (told and not self._told):
            none = np.zeros(0)
            return (
                Belief(score, SCORE, None, none, 0.0, self._seed, settled[0]),
                Belief(price, PRICE, None, none, 0.0, self._seed + 1, settled[1]),
            )
        prior = self._hypotheses.log_prior + np.log1p(-_NOTHING)
        nothing = float(np.log(_NOTHING))
        quality, bleaching = self._expected
        logs = np.log(bleaching + FLOOR)
        # One session explains both: what the bleaching says of it counts for the score, too.
        dear = Belief(
            price,
            PRICE,
            logs,
            prior,
            nothing,
            self._seed + 1,
            settled[1],
            by_ranking=self._by_ranking,
        )
        good = Belief(
            score,
            SCORE,
            quality,
            _shared(prior, dear, nothing),
            nothing,
            self._seed,
            settled[0],
            by_ranking=self._by_ranking,
        )
        return good, dear

    def _settle(self, score: Data, price: Data) -> tuple[Kernels, Kernels]:
        """Hyperparameters, found anew with every trial at first and every fifth later."""
        count = len(score.values)
        used = count if count < 20 else count - count % _REFIT_EVERY
        if used not in self._settled:
            self._settled = {
                used: (
                    learn(score.first(used), SCORE, self._features, self._seed),
                    learn(price.first(used), PRICE, self._features, self._seed + 1),
                )
            }
        return self._settled[used]

    @property
    def _features(self) -> int:
        return len(self.space.owners)

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

    # ------------------------------------------------------------------ utility

    @property
    def _bound(self) -> float:
        """Bleaching allowed now, by the limit or by the trade-off that was picked."""
        if self._picked is None:
            return self.limit
        _, _, (log, _) = self._known([self._picked], joint=False)
        return min(self.limit, max(0.0, float(np.exp(log[0]) - FLOOR)))

    @staticmethod
    def _chance(log: Array, sd: Array, bound: float) -> Array:
        """Probability that the bleaching is within a bound, from what is known of its logarithm."""
        chance: Array = ndtr((np.log(bound + FLOOR) - log) / np.maximum(sd, 1e-6))
        return chance

    def _unsaturated(self, where: Array) -> Array:
        """Probability that no more of the detector than allowed is saturated; 1 till one was."""
        if all(share <= 0.5 * self._saturation_limit for _, share in self._saturation):
            return np.ones(len(where))
        if self._glare is None:
            data = Data(
                self.space.features([settings for settings, _ in self._saturation]),
                np.log(np.array([share for _, share in self._saturation]) + _DIM),
                np.full(len(self._saturation), _GLARE_SD),
            )
            self._glare = Belief(data, GLARE, None, np.zeros(0), 0.0, self._seed + 2)
        log, variance = self._glare.at(where, None, joint=False)
        limit = np.log(self._saturation_limit + _DIM)
        chance: Array = ndtr((limit - log) / np.sqrt(variance))
        return chance

    def _utility(
        self, bound: float, certainty: float, where: Array
    ) -> Callable[[Array, Array, Array], Array]:
        """Of recommending the settings at `where`."""
        weight = self._weights.get("quality", 1.0)
        price = self._weights.get("bleaching", 0.0)
        unsaturated = self._unsaturated(where)

        def utility(score: Array, log: Array, sd: Array) -> Array:
            allowed = self._chance(log, sd, bound) * unsaturated
            value: Array = weight * score
            value -= _FORBIDDEN / certainty * np.maximum(0.0, certainty - allowed)
            if price:
                value -= price * np.exp(np.minimum(log, 0.0))
            return value

        return utility

    def _known(
        self, points: Sequence[Mapping[str, Value]], *, joint: bool
    ) -> tuple[Array, tuple[Array, Array], tuple[Array, Array]]:
        """Features of points; mean and (co)variance of score and of the bleaching's logarithm."""
        where = self.space.features(points)
        score, price = (
            belief.at(where, guess, joint=joint)
            for belief, guess in zip(self._believed(), self._guesses(points), strict=True)
        )
        return where, score, price

    def _utility_at(self, points: Sequence[Mapping[str, Value]]) -> Array:
        where, (mean, _), (log, variance) = self._known(points, joint=False)
        return self._utility(self._bound, _CERTAINTY, where)(mean, log, np.sqrt(variance))

    def _aim(self) -> tuple[float, float]:
        """Bleaching that the next trial is to keep to, and how certainly."""
        if self._goal == "best":
            return self._bound, _CERTAINTY
        # Any point of the front is the best score under some limit.
        rng = np.random.default_rng((self._seed, self._trials, 3))
        return float(rng.uniform(0.1, 2.0)) * self.limit, 0.5

    # ------------------------------------------------------------------ where to look

    def _promising(self, for_front: bool = False) -> tuple[list[Settings], Array]:
        """Settings all over the space and more of them around the best; and their utility."""
        rng = np.random.default_rng((self._seed, len(self._told), 9))
        points = self.space.sobol(_SCREENED, self._seed + 1)
        points += [settings for settings, _ in self._told if self.space.contains(settings)]
        worth = self._utility_at(points)
        for width in (0.12, 0.05, 0.02):
            best = [points[at] for at in np.argsort(worth)[::-1][:12]]
            if for_front:
                found = self.predict(points)
                traded = (found.score - w * found.bleaching for w in np.linspace(0.2, 3.0, 10))
                best += [points[int(np.argmax(value))] for value in traded]
            places = np.repeat(self.space.cube(best), 8, axis=0)
            near = self.space.at(places + rng.normal(0, width, places.shape))
            points, worth = points + near, np.concatenate([worth, self._utility_at(near)])
        return points, worth

    def _gains(self, bound: float, certainty: float) -> tuple[list[Settings], Array]:
        """Points worth comparing, and what a trial at each is expected to add."""
        points, _ = self._promising()
        where, (mean, variance), (log, spread) = self._known(points, joint=False)
        utility, sd = self._utility(bound, certainty, where), np.sqrt(spread)
        worth = utility(mean, log, sd)
        hope = utility(mean + np.sqrt(variance), log - sd, sd)
        top = {*np.argsort(worth)[::-1][: _COMPARED // 3].tolist()}
        top |= {*np.argsort(hope)[::-1][: 2 * _COMPARED // 3].tolist()}
        chosen = [points[at] for at in sorted(top)]
        where, score, price = self._known(chosen, joint=True)
        noises = self._noise(price[0])
        return chosen, expected_gains(self._utility(bound, certainty, where), score, price, *noises)

    def _away_from_failures(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Factor that keeps from asking again for what gave nothing: it taught nothing, either."""
        if not self._barren:
            return np.ones(len(points))
        gap = self.space.cube(points)[:, None] - self.space.cube(self._barren)[None]
        near = np.exp(-0.5 * (gap**2).sum(axis=-1) / _ELSEWHERE**2)
        factor: Array = np.prod(1 - near, axis=1)
        return factor

    def _noise(self, log: Array) -> tuple[Array, Array]:
        """Standard deviations of a measurement where the bleaching's logarithm is `log`."""
        outcomes = [outcome for _, outcome in self._told]
        score = max(_LEAST_SCORE_SD, float(np.mean([o.score_sd for o in outcomes] or [0.05])))
        price = max(
            _LEAST_BLEACHING_SD, float(np.mean([o.bleaching_sd for o in outcomes] or [0.01]))
        )
        return np.full(len(log), score), price / np.maximum(np.exp(log), FLOOR)

    def _affordable_first(self, points: Sequence[Settings]) -> Settings:
        tried = [*self._told, *self._doubted]
        return next((point for point in points if self._affordable(point, tried)), points[0])


def measurements(where: Array, outcomes: Sequence[Outcome]) -> tuple[Data, Data]:
    """Score, and logarithm of bleaching + `FLOOR`, at features, each with its deviation."""
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


def _shared(prior: Array, price: Belief, nothing: float) -> Array:
    """Prior of the hypotheses for the score, after the bleaching has spoken."""
    share = price.hypotheses.sum(axis=0)
    told = np.full(len(prior), 1e-6 / len(prior))
    told[price.which] += share / max(share.sum(), 1e-300)
    posterior: Array = np.log(told / told.sum()) + np.log1p(-np.exp(nothing))
    return posterior
