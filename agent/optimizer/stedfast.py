"""The default engine: hypotheses from memory, Gaussian processes, and the knowledge gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np

from agent.config.rules import LATEST, SPARING
from agent.optimizer.gaussian import Array
from agent.optimizer.hypotheses import Hypotheses
from agent.optimizer.knowledge import Knowledge, Prediction, Trial
from agent.optimizer.knowledge_gradient import expected_gains
from agent.optimizer.log_bleaching import FLOOR, chance_within, expected_excess
from agent.optimizer.one_thread import on_one_thread
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from devices.config import Value

_CERTAINTY = 0.95
"""Least probability to keep the bleaching limit of what is recommended."""
_LIKELY = 0.5
"""Settings that keep the limit less likely than that are never recommended beside others."""
_FORBIDDEN = 1.0
"""Score that certain bleaching above the limit costs a candidate."""
_DOUBT_FROM, _DOUBT_EVERY = 8, 4
_SCREENED, _COMPARED, _FRONT = 1024, 220, 12
_ELSEWHERE = 0.15
"""Distance in the unit cube within which trials without a result keep others away."""
Seconds = Callable[[Mapping[str, Value]], float]
Affordable = Callable[[Mapping[str, Value], Sequence[Trial]], bool]


class StedfastOptimizer:
    """Finds the settings with the best score whose bleaching is within a limit.

    Every trial is the one that is expected to add most to the settings that could be recommended
    after it, per second (`agent.optimizer.knowledge_gradient`); the recommendation has the best
    expected score among all settings, tried or not, that keep the limit with a probability of 0.95.
    Where none is likely to keep it, settings that bleach least are tried and recommended.
    Predictions are made in `agent.optimizer.knowledge`. All of it is a function of the outcomes, in
    their order, and of the seed.

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
    rules
        See `agent.config.rules`.

    Examples
    --------
    >>> from devices.config import SettingConfig
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> engine = StedfastOptimizer(Space({"power": power}, {}), bleaching_limit=0.2, seed=1)
    >>> engine.tell(engine.ask(), Outcome(score=0.5, bleaching=0.1))
    >>> 1 <= engine.recommend()["power"] <= 100
    True
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
        rules: int = LATEST,
    ) -> None:
        self.space = space
        self.limit = bleaching_limit
        self._seed = seed
        self._initial = 0 if hypotheses is not None else initial
        self._seconds = seconds
        self._affordable = affordable
        self._goal = goal
        self._sparing = rules >= SPARING
        self._known = Knowledge(
            space,
            seed,
            hypotheses,
            saturation_limit=saturation_limit,
            by_ranking=weighing == "ranking",
            rules=rules,
        )
        self._barren: list[Settings] = []
        self._trials = 0
        self._weights: dict[str, float] = {}
        self._picked: Settings | None = None
        self._gain: float | None = None

    # ------------------------------------------------------------------ ask and tell

    def ask(self) -> Settings:
        """Settings to try next."""
        known = self._known
        if self._trials < self._initial or not (known.told or known.remembers):
            filling = self.space.sobol(max(self._initial, self._trials + 8), self._seed)
            spared = self._sparing and known.doubted and not known.told
            return self._affordable_first(
                self._spared(filling) if spared else filling[self._trials :]
            )
        with on_one_thread(), self._doubting():
            points, worth, hopeless = self._promising()
            chosen, gains = points, np.zeros(len(points))
            if not hopeless:
                chosen, gains = self._gains(points, *self._aim())
            if self._sparing and not gains.any():
                # Nothing is known to teach more than what would be recommended by now.
                self._gain = 0.0
                order = np.argsort(self._prudent(points, worth, hopeless))[::-1]
                return self._affordable_first([points[at] for at in order])
        points, gains = chosen, gains * self._away_from_failures(chosen)
        self._gain = float(gains.max())
        if self._seconds is not None:
            gains = gains / np.array([self._seconds(point) for point in points])
        order = np.argsort(gains)[::-1]
        return self._affordable_first([points[at] for at in order])

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        """Outcome of a trial; a score in doubt counts for less, or not at all."""
        self._trials += 1
        self._known.hear(settings, outcome)
        if not self._known.counts(outcome):
            self._barren.append(dict(settings))

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
        return self._known.memory_share

    # ------------------------------------------------------------------ results

    def recommend(self) -> Settings:
        """The settings with the best expected score that keep the limit with probability 0.95.

        Raises
        ------
        ValueError
            No trial gave a score, and there is no memory either.
        """
        with on_one_thread():
            points, worth, hopeless = self._promising()
            worth = self._prudent(points, worth, hopeless)
        return points[int(np.argmax(worth))]

    def front(self) -> list[Settings]:
        """At most twelve Pareto-optimal settings, from the gentlest on."""
        with on_one_thread():
            points, _, _ = self._promising(for_front=True)
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
        """Predictions for settings.

        Raises
        ------
        ValueError
            No trial gave a score, and there is no memory either.
        """
        where, (mean, variance), (log, spread) = self._known.at(points, joint=False)
        allowed = chance_within(log, np.sqrt(spread), self.limit) * self._known.unsaturated(where)
        return Prediction(mean, np.sqrt(variance), np.exp(log) - FLOOR, allowed)

    # ------------------------------------------------------------------ utility

    @property
    def _bound(self) -> float:
        """Bleaching allowed now, by the limit or by the trade-off that was picked."""
        if self._picked is None:
            return self.limit
        _, _, (log, _) = self._known.at([self._picked], joint=False)
        return min(self.limit, max(0.0, float(np.exp(log[0]) - FLOOR)))

    def _utility(
        self, bound: float, certainty: float, where: Array
    ) -> Callable[[Array, Array, Array], Array]:
        """Of recommending the settings at `where`."""
        weight = self._weights.get("quality", 1.0)
        price = self._weights.get("bleaching", 0.0)
        unsaturated = self._known.unsaturated(where)

        def utility(score: Array, log: Array, sd: Array) -> Array:
            allowed = chance_within(log, sd, bound) * unsaturated
            value: Array = weight * score
            value -= _FORBIDDEN / certainty * np.maximum(0.0, certainty - allowed)
            if price:
                value -= price * np.exp(np.minimum(log, 0.0))
            return value

        return utility

    def _utility_at(self, points: Sequence[Mapping[str, Value]]) -> Array:
        where, (mean, _), (log, variance) = self._known.at(points, joint=False)
        return self._utility(self._bound, _CERTAINTY, where)(mean, log, np.sqrt(variance))

    def _aim(self) -> tuple[float, float]:
        """Bleaching that the next trial is to keep to, and how certainly."""
        if self._goal == "best":
            return self._bound, _CERTAINTY
        # Any point of the front is the best score under some limit.
        rng = np.random.default_rng((self._seed, self._trials, 3))
        return float(rng.uniform(0.1, 2.0)) * self.limit, 0.5

    # ------------------------------------------------------------------ where to look

    def _promising(self, for_front: bool = False) -> tuple[list[Settings], Array, bool]:
        """Settings all over the space and more of them around the best; and their worth.

        Worth is their utility; or minus their `_harm`, where none of them is likely to keep the
        limit, which comes third.
        """
        told = self._known.told
        rng = np.random.default_rng((self._seed, len(told), 9))
        points = self.space.sobol(_SCREENED, self._seed + 1)
        points += [settings for settings, _ in told if self.space.contains(settings)]
        if self._sparing and self._keeping(points).max() < _LIKELY:
            points, worth = self._refined(points, lambda some: -self._harm(some), rng)
            if self._keeping(points).max() < _LIKELY:
                return points, worth, True
        points, worth = self._refined(points, self._utility_at, rng, for_front=for_front)
        return points, worth, False

    def _refined(
        self,
        points: list[Settings],
        worth_of: Callable[[Sequence[Mapping[str, Value]]], Array],
        rng: np.random.Generator,
        *,
        for_front: bool = False,
    ) -> tuple[list[Settings], Array]:
        """These settings, more of them ever closer to the best of them, and the worth of all."""
        worth = worth_of(points)
        for width in (0.12, 0.05, 0.02):
            best = [points[at] for at in np.argsort(worth)[::-1][:12]]
            if for_front:
                found = self.predict(points)
                traded = (found.score - w * found.bleaching for w in np.linspace(0.2, 3.0, 10))
                best += [points[int(np.argmax(value))] for value in traded]
            places = np.repeat(self.space.cube(best), 8, axis=0)
            near = self.space.at(places + rng.normal(0, width, places.shape))
            points, worth = points + near, np.concatenate([worth, worth_of(near)])
        return points, worth

    def _gains(
        self, points: list[Settings], bound: float, certainty: float
    ) -> tuple[list[Settings], Array]:
        """Points worth comparing, and what a trial at each is expected to add."""
        where, (mean, variance), (log, spread) = self._known.at(points, joint=False)
        utility, sd = self._utility(bound, certainty, where), np.sqrt(spread)
        worth = utility(mean, log, sd)
        hope = utility(mean + np.sqrt(variance), log - sd, sd)
        top = {*np.argsort(worth)[::-1][: _COMPARED // 3].tolist()}
        top |= {*np.argsort(hope)[::-1][: 2 * _COMPARED // 3].tolist()}
        chosen = [points[at] for at in sorted(top)]
        where, score, price = self._known.at(chosen, joint=True)
        noises = self._known.noise(price[0])
        return chosen, expected_gains(self._utility(bound, certainty, where), score, price, *noises)

    def _prudent(self, points: Sequence[Settings], worth: Array, hopeless: bool) -> Array:
        """The worth, and less than any other's that of settings unlikely to keep the limit."""
        if hopeless or not self._sparing:
            return worth
        prudent: Array = worth - np.ptp(worth) * (self._keeping(points) < _LIKELY) * 1.01
        return prudent

    def _keeping(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Probability that settings keep the limits, of bleaching and of saturation."""
        where, log, variance = self._known.price_at(points)
        chance: Array = chance_within(log, np.sqrt(variance), self.limit)
        return chance * self._known.unsaturated(where)

    def _harm(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """How far settings are expected to be beyond the limits, of bleaching and saturation."""
        where, log, variance = self._known.price_at(points)
        excess = expected_excess(log, np.sqrt(variance), self.limit)
        harm: Array = excess + 1.0 - self._known.unsaturated(where)
        return harm

    def _spared(self, filling: Sequence[Settings]) -> list[Settings]:
        """Those of the settings that were not tried yet, harmful ones last.

        Where no score counts yet, bleaching is all that there is to go by.
        """
        untried = [one for one in filling if one not in self._barren] or list(filling)
        with on_one_thread():
            harmful = self._keeping(untried) < _LIKELY
            order = np.lexsort((np.where(harmful, self._harm(untried), 0.0), harmful))
        return [untried[at] for at in order]

    def _away_from_failures(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Factor that keeps from asking again for what gave nothing: it taught nothing, either."""
        if not self._barren:
            return np.ones(len(points))
        gap = self.space.cube(points)[:, None] - self.space.cube(self._barren)[None]
        near = np.exp(-0.5 * (gap**2).sum(axis=-1) / _ELSEWHERE**2)
        factor: Array = np.prod(1 - near, axis=1)
        return factor

    def _affordable_first(self, points: Sequence[Settings]) -> Settings:
        tried = [*self._known.told, *self._known.doubted]
        return next((point for point in points if self._affordable(point, tried)), points[0])

    @contextmanager
    def _doubting(self) -> Iterator[None]:
        """Now and then, look where one would without any memory.

        What a wrong memory holds to be hopeless it would never try, and so never learn that it
        was wrong.
        """
        due = self._trials >= _DOUBT_FROM and self._trials % _DOUBT_EVERY == 0
        if not (due and self._known.remembers and self._known.told):
            yield
            return
        with self._known.without_memory():
            yield
