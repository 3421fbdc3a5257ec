"""Bayesian optimization by BoTorch, an extra of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.base import BaseEngine, merit
from agent.optimizer.outcome import Settings
from agent.optimizer.space import Space
from devices.config import Value
from devices.extras import install

if TYPE_CHECKING:
    from torch import Tensor
from agent.optimizer.fronts import non_dominated, spread_out
from agent.optimizer.one_thread import one_thread

Acquisition = Literal["qLogNEI", "qLogNEHVI", "LogEI", "thompson"]
Array = NDArray[np.float64]
_FEWEST = 3
"""Scored trials that a model needs at least."""
_CANDIDATES = 512
"""Sobol points among which the optimization of the acquisition begins."""
_STARTS = 4
"""Best of these that are refined by gradients."""
_STEPS = 40
"""Iterations of each refinement (L-BFGS-B)."""
_SAMPLES = 64
"""Quasi-random samples of the posterior in an acquisition; chosen by hand."""
_NEARBY = 0.1
"""Standard deviation of candidates near the best trials, in the unit cube."""
_PENDING = 8
"""Latest failed trials that count as pending, so that they are not asked for again."""


class BotorchOptimizer(BaseEngine):
    """BoTorch's Gaussian processes and acquisition functions.

    The acquisition is looked at on a Sobol set of settings and on variations of the best trials,
    and from the best of these climbed along the numbers, with the choices held: that serves
    mixed spaces with any number of choices. A failed or doubtful trial counts as one under way,
    so that the same settings are not asked for again at once.

    Parameters
    ----------
    space, bleaching_limit, seed
        As in `BaseEngine`.
    initial
        Space-filling trials (Sobol) before the model decides.
    acquisition
        `qLogNEI`, noisy expected improvement [1]_ [2]_; `qLogNEHVI`, noisy expected gain of
        hypervolume in score and bleaching [3]_; `LogEI`, expected improvement of `merit` upon
        the best posterior mean [2]_; `thompson`, the best of one posterior sample of `merit`.
    constrained
        Whether `qLogNEI` takes the bleaching limit as a constraint on a model of the bleaching;
        otherwise it improves `merit`.
    reference
        Quality and bleaching from which `qLogNEHVI` measures hypervolume.

    Raises
    ------
    ValueError
        BoTorch is not installed.

    References
    ----------
    .. [1] B. Letham et al., "Constrained Bayesian optimization with noisy experiments",
       Bayesian Analysis 14, 495 (2019).
    .. [2] S. Ament et al., "Unexpected improvements to expected improvement for Bayesian
       optimization", NeurIPS 2023.
    .. [3] S. Daulton et al., "Parallel Bayesian optimization of multiple noisy objectives with
       expected hypervolume improvement", NeurIPS 2021.
    """

    def __init__(
        self,
        space: Space,
        *,
        bleaching_limit: float,
        initial: int,
        seed: int,
        acquisition: Acquisition = "qLogNEI",
        constrained: bool = True,
        reference: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        if find_spec("botorch") is None:
            raise ValueError(f"engine: botorch: is not installed: {install('botorch')}")
        super().__init__(space, bleaching_limit=bleaching_limit, seed=seed)
        self._initial = initial
        self._acquisition = acquisition
        self._constrained = constrained
        self._reference = reference

    def ask(self) -> Settings:
        """Settings to try next."""
        at = len(self.told) + len(self.failed)
        if at < self._initial or len(self.told) < _FEWEST:
            return self.space.sobol(max(self._initial, at + 1), self.seed)[at]
        with one_thread(hash((self.seed, at))):
            candidates = self._candidates(at)
            if self._acquisition == "thompson":
                return self._sampled(candidates)
            return self._climbed(candidates)

    def predicted(self, points: Sequence[Mapping[str, Value]]) -> tuple[Array, Array]:
        """Posterior means of score and bleaching at these settings.

        Raises
        ------
        ValueError
            Fewer than three trials gave a score.
        """
        import torch

        if len(self.told) < _FEWEST:
            raise ValueError(f"a model needs {_FEWEST} trials with a score")
        with one_thread(self.seed):
            model = self._model(self._scores())
            with torch.no_grad():
                mean = model.posterior(self._where(points)).mean.numpy()
        return mean[:, 0], mean[:, 1]

    def front(self, count: int = 12) -> list[Settings]:
        """Settings that no other one beats in both predicted score and bleaching.

        Taken from the tried settings and a Sobol set; at most `count`, evenly along the front.
        """
        if len(self.told) < _FEWEST:
            return super().front()
        tried = [settings for settings, _ in self.told if self.space.contains(settings)]
        points = [*tried, *self.space.sobol(_CANDIDATES, self.seed)]
        score, bleached = self.predicted(points)
        front = non_dominated(score, bleached)
        return [dict(points[at]) for at in spread_out(front, score, bleached, count)]

    def _candidates(self, at: int) -> list[Settings]:
        """A Sobol set, the tried settings, and variations of the best of them."""
        rng = np.random.default_rng((self.seed, at))
        tried = [settings for settings, _ in self.told if self.space.contains(settings)]
        best = sorted(self.told, key=lambda one: -merit(one[1], self.limit))[:4]
        places = np.repeat(self.space.cube([settings for settings, _ in best]), 16, axis=0)
        moved = self.space.at(places + rng.normal(0, _NEARBY, places.shape))
        return [*self.space.sobol(_CANDIDATES, int(rng.integers(2**31))), *tried, *moved]

    def _sampled(self, candidates: list[Settings]) -> Settings:
        """The best candidate in one sample of the posterior of `merit`."""
        import torch

        model = self._model(self._merits())
        with torch.no_grad():
            sample = model.posterior(self._where(candidates)).rsample(torch.Size([1]))
        return candidates[int(sample.argmax())]

    def _climbed(self, candidates: list[Settings]) -> Settings:
        """Where the acquisition is highest, climbing from the best candidates."""
        import torch
        from botorch.optim import optimize_acqf

        acquire = self._acquire()
        where = self._where(candidates)
        with torch.no_grad():
            worth = acquire(where.unsqueeze(1))
        starts: list[int] = torch.topk(worth, _STARTS).indices.tolist()
        numbers = [self.space.settings[name].kind != "choice" for name in self.space.names]
        free = [numbers[owner] for owner in self.space.owners]
        if not any(free):
            return candidates[starts[0]]
        found: list[tuple[float, Settings]] = []
        for group in _by_choices(where, starts, free):
            held = {at: float(where[group[0], at]) for at, moves in enumerate(free) if not moves}
            place, value = optimize_acqf(
                acquire,
                bounds=self._bounds(free),
                q=1,
                num_restarts=len(group),
                batch_initial_conditions=where[group].unsqueeze(1),
                fixed_features=held or None,
                options={"maxiter": _STEPS},
            )
            found.append((float(value), self._decoded(candidates[group[0]], place[0])))
        return max(found, key=lambda one: one[0])[1]

    def _acquire(self) -> Any:
        """The acquisition function, on models of the outcomes."""
        import torch
        from botorch.acquisition import qLogExpectedImprovement, qLogNoisyExpectedImprovement
        from botorch.acquisition.multi_objective import qLogNoisyExpectedHypervolumeImprovement
        from botorch.acquisition.multi_objective.objective import WeightedMCMultiOutputObjective
        from botorch.acquisition.objective import GenericMCObjective
        from botorch.sampling import SobolQMCNormalSampler

        where = self._where([settings for settings, _ in self.told])
        pending = self._where(self.failed[-_PENDING:]) if self.failed else None
        sampler = SobolQMCNormalSampler(torch.Size([_SAMPLES]), seed=self.seed)
        limit = self.limit
        if self._acquisition == "LogEI":
            model = self._model(self._merits())
            with torch.no_grad():
                best = model.posterior(where).mean.max()
            return qLogExpectedImprovement(model, best, sampler=sampler, X_pending=pending)
        if self._acquisition == "qLogNEHVI":
            return qLogNoisyExpectedHypervolumeImprovement(
                self._model(self._scores()),
                ref_point=[self._reference[0], -self._reference[1]],
                X_baseline=where,
                sampler=sampler,
                objective=WeightedMCMultiOutputObjective(where.new_tensor([1.0, -1.0])),
                prune_baseline=True,
                X_pending=pending,
            )
        if not self._constrained:
            return qLogNoisyExpectedImprovement(
                self._model(self._merits()), where, sampler=sampler, X_pending=pending
            )
        return qLogNoisyExpectedImprovement(
            self._model(self._scores()),
            where,
            sampler=sampler,
            objective=GenericMCObjective(lambda values, X=None: values[..., 0]),  # noqa: N803  # BoTorch's
            constraints=[lambda values: values[..., 1] - limit],
            X_pending=pending,
        )

    def _model(self, values: Array) -> Any:
        """Independent Gaussian processes, one a column of `values`, that infer their noise."""
        import torch
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from botorch.models.transforms import Standardize
        from gpytorch.mlls import ExactMarginalLogLikelihood

        model = SingleTaskGP(
            self._where([settings for settings, _ in self.told]),
            torch.from_numpy(values),
            outcome_transform=Standardize(m=values.shape[1]),
        )
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        return model

    def _merits(self) -> Array:
        return np.array([[merit(outcome, self.limit)] for _, outcome in self.told])

    def _scores(self) -> Array:
        return np.array([[outcome.score, outcome.bleaching] for _, outcome in self.told])

    def _where(self, points: Sequence[Mapping[str, Value]]) -> Tensor:
        import torch

        return torch.from_numpy(self.space.features(points))

    def _bounds(self, free: Sequence[bool]) -> Tensor:
        """Corners of the ranges allowed now, in features."""
        import torch

        ends = [
            {name: values[end] for name, values in self.space.allowed.items()} for end in (0, -1)
        ]
        corners = self.space.features(ends)
        corners[:, ~np.asarray(free)] = [[0.0], [1.0]]
        return torch.from_numpy(corners)

    def _decoded(self, choices: Settings, place: Tensor) -> Settings:
        """Settings with the numbers at a place in the features, and these choices."""
        cube = self.space.cube([choices])
        for feature, owner in enumerate(self.space.owners):
            if self.space.settings[self.space.names[owner]].kind != "choice":
                cube[0, owner] = float(place[feature])
        return self.space.at(cube)[0]


def _by_choices(where: Tensor, starts: Sequence[int], free: Sequence[bool]) -> list[list[int]]:
    """Starts that have the same choices, together."""
    groups: dict[tuple[float, ...], list[int]] = {}
    for start in starts:
        held = (float(where[start, at]) for at, moves in enumerate(free) if not moves)
        groups.setdefault(tuple(held), []).append(start)
    return list(groups.values())
