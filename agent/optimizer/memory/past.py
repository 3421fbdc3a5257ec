"""Earlier runs of this microscope as hypotheses, and several memories as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from agent.config.reading import UserError
from agent.optimizer.gaussian import Array
from agent.optimizer.hypotheses import Hypotheses
from agent.optimizer.knowledge import FLOOR, PRICE, SCORE, measurements
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.posterior import Posterior
from agent.optimizer.space import Space
from agent.record.load import read
from devices.config import SettingConfig, Value

LEAST_TRIALS = 5
"""Usable trials below which an earlier run says too little to learn from."""


class PriorError(UserError):
    """An earlier run that nothing can be learnt from."""


class PastSessions:
    """Earlier runs as hypotheses, each the mean of Gaussian processes through its trials.

    Parameters
    ----------
    space
        The tuned settings of the run to come.
    runs
        Usable trials of each earlier run.

    Examples
    --------
    >>> from devices.config import SettingConfig
    >>> power = SettingConfig(device="Laser", property="mW", range=(1, 100), start=1)
    >>> run = [({"power": mw}, Outcome(score=mw / 100, bleaching=0.1)) for mw in (20, 50, 80)]
    >>> past = PastSessions(Space({"power": power}, {}), [run])
    >>> quality, bleaching = past.expect([{"power": 50}])
    >>> abs(float(quality[0, 0]) - 0.5) < 0.1
    True
    """

    def __init__(self, space: Space, runs: Sequence[Sequence[tuple[Settings, Outcome]]]) -> None:
        self._space = space
        self._beliefs = [self._learn(run) for run in runs]

    def __len__(self) -> int:
        return len(self._beliefs)

    @property
    def log_prior(self) -> Array:
        """All alike."""
        return np.full(len(self), -np.log(len(self)))

    def expect(
        self, points: Sequence[Mapping[str, Value]], which: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Quality and bleaching, each runs (or `which` of them) × points."""
        chosen = range(len(self)) if which is None else which
        quality = np.empty((len(chosen), len(points)))
        bleaching = np.empty_like(quality)
        where = self._features(points)
        for row, at in enumerate(chosen):
            score, price = self._beliefs[at]
            quality[row] = np.clip(score.at(where, None, joint=False)[0], 0, 1)
            log, _ = price.at(where, None, joint=False)
            bleaching[row] = np.clip(np.exp(log) - FLOOR, 0, 1)
        return quality, bleaching

    def _learn(self, run: Sequence[tuple[Settings, Outcome]]) -> tuple[Posterior, Posterior]:
        where = self._features([settings for settings, _ in run])
        score, price = measurements(where, [outcome for _, outcome in run])
        none = np.zeros(0)
        return Posterior(score, SCORE, None, none, 0.0, 0), Posterior(
            price, PRICE, None, none, 0.0, 1
        )

    def _features(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """As `Space.features`, but an earlier run may have been outside of this space."""
        columns: list[Array] = []
        for name in self._space.names:
            setting, edges = self._space.settings[name], self._space.search[name]
            values = [point[name] for point in points]
            if setting.kind == "choice":
                columns += [np.array([float(v == edge) for v in values]) for edge in edges]
                continue
            low, high = _scaled(setting, [float(edges[0]), float(edges[1])])
            place = _scaled(setting, [float(value) for value in values])
            columns.append((place - low) / (high - low))
        return np.stack(columns, axis=1)


def _scaled(setting: SettingConfig, values: Sequence[float]) -> Array:
    numbers = np.array(values, dtype=float)
    return np.log(np.maximum(numbers, 1e-12)) if setting.scale == "log" else numbers


def past_sessions(folders: Sequence[Path], space: Space) -> PastSessions | None:
    """Earlier runs as hypotheses about the sample of a run with this space; None without any.

    Raises
    ------
    PriorError
        A folder is no run folder, its run tuned other settings, or has too few usable trials.
    """
    try:
        runs = [_trials(folder, space) for folder in folders]
    except UserError as error:
        raise PriorError(str(error)) from None
    return PastSessions(space, runs) if runs else None


def _trials(folder: Path, space: Space) -> list[tuple[Settings, Outcome]]:
    """Trials of a run with an undoubted score, in the units of this space."""
    config, recording = read(folder)
    if not config.section.searches():
        raise UserError(f"{folder}: a run of `plan: {config.plan}`; accepted: optimize")
    if (objective := config.objective()) is not None:
        raise UserError(f"{folder}: searched for {objective.name}; accepted are runs for quality")
    tuned, wanted = config.tuned(), list(space.names)
    if set(tuned) != set(wanted):
        raise UserError(
            f"{folder}: tuned {', '.join(tuned) or 'nothing'}; accepted: runs that tuned "
            f"{', '.join(wanted)}"
        )
    before = {name: config.microscope.settings[name] for name in wanted}
    for name in wanted:
        old, new = before[name], space.settings[name]
        if (old.kind == "choice") != (new.kind == "choice") or (old.laser is None) != (
            new.laser is None
        ):
            raise UserError(
                f"{folder}: `{name}` was another kind of setting ({_kind(old)}); "
                f"accepted: {_kind(new)}"
            )
        if new.laser is None and old.unit != new.unit:
            raise UserError(
                f"{folder}: `{name}` in {old.unit or 'no unit'}; accepted: {new.unit or 'no unit'}"
            )
    found = []
    for note in recording.notes_on("trial"):
        if (objectives := note["objectives"]) is None:
            continue
        outcome = Outcome(
            float(objectives["score"]),
            float(objectives["bleaching"]),
            float(objectives.get("score_sd") or 0.0),
            tuple(objectives.get("flags", ())),
            float(objectives.get("bleaching_sd") or 0.0),
        )
        if not outcome.doubtful:
            settings = {
                name: _now(note["settings"][name], before[name], space.settings[name])
                for name in wanted
            }
            found.append((settings, outcome))
    if len(found) < LEAST_TRIALS:
        raise UserError(
            f"{folder}: {len(found)} usable trials; accepted: runs with at least {LEAST_TRIALS}"
        )
    return found


def _kind(setting: SettingConfig) -> str:
    return f"kind: {setting.kind}" + (f", laser: {setting.laser}" if setting.laser else "")


def _now(value: Value, old: SettingConfig, new: SettingConfig) -> Value:
    """The value that gives today what `value` gave then, where a power's calibration changed."""
    if old.laser is None or old.kind == "choice" or old.power_w(1.0) == new.power_w(1.0):
        return value
    return old.power_w(value) / new.power_w(1.0)


class Combined:
    """Several memories as one.

    Parameters
    ----------
    parts
        At least one.
    weights
        Prior weight of each; need not sum to one.
    """

    def __init__(self, parts: Sequence[Hypotheses], weights: Sequence[float]) -> None:
        if not parts or len(parts) != len(weights) or min(weights) <= 0:
            raise ValueError("needs at least one part, and a weight above 0 for each")
        self._parts = tuple(parts)
        priors = [part.log_prior for part in parts]
        self._starts = np.concatenate([[0], np.cumsum([len(prior) for prior in priors])])
        shares = np.log(np.asarray(weights, dtype=float) / np.sum(weights))
        self._log_prior = np.concatenate(
            [prior + share for prior, share in zip(priors, shares, strict=True)]
        )

    def __len__(self) -> int:
        return len(self._log_prior)

    @property
    def log_prior(self) -> Array:
        """Logarithm of the weight of each hypothesis before anything is measured."""
        return self._log_prior

    def expect(
        self, points: Sequence[Mapping[str, Value]], which: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """Quality and bleaching, each hypotheses (or `which` of them) × points."""
        chosen = np.arange(len(self)) if which is None else np.asarray(which, dtype=np.intp)
        both = np.empty((2, len(chosen), len(points)))
        for part, (first, end) in zip(self._parts, pairwise(self._starts), strict=True):
            rows = np.flatnonzero((chosen >= first) & (chosen < end))
            if len(rows):
                both[:, rows] = part.expect(points, (chosen[rows] - first).tolist())
        return both[0], both[1]
