"""From a config to the engine that `plan: optimize` asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.config import RunConfig
from agent.config.reading import UserError, located
from agent.optimizer.baselines import RandomSearch, SobolSearch
from agent.optimizer.hypotheses import Hypotheses
from agent.optimizer.memory import Combined, Library, PriorError, obstacle, past_sessions
from agent.optimizer.objectives.judged import make_judge
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.protocol import Optimizer
from agent.optimizer.skopt import SkoptOptimizer
from agent.optimizer.space import Space
from agent.optimizer.stedfast import Affordable, StedfastOptimizer
from agent.plan import light_j
from devices.config import Value

_OVERHEAD_S = 2.0
"""Of a trial, beside its scored frame: two references and the way to a fresh field."""

_PIXELS = 224 * 224
"""Of a frame, to weigh its time against that of everything else: the order of it is enough."""
_INITIAL = 5
"""Of the default engine at most, whose model needs fewer to begin with."""


def filling_trials(config: RunConfig) -> int:
    """Trials that fill the space before a model decides; none where it has a memory."""
    asked = config.optimize
    if asked.engine in ("random", "sobol"):
        return asked.trials
    initial = min(asked.initial, asked.trials)
    if asked.engine != "stedfast":
        return initial
    library = asked.library and obstacle(config.microscope, config.tuned(), asked.mode) is None
    remembers = _is_known(config) and (asked.prior or library)
    return 0 if remembers else min(initial, _INITIAL)


def _is_known(config: RunConfig) -> bool:
    """Whether memories tell of what is searched for: all of them are of quality."""
    return "objective" not in config.own


def make_optimizer(config: RunConfig, affordable: Affordable | None = None) -> Optimizer:
    """The engine that the config asks for.

    Parameters
    ----------
    config
        `optimize` and the microscope.
    affordable
        Whether the light that is left allows a trial, for the engine that asks; otherwise the dose
        budget says so.

    Raises
    ------
    UserError
        It needs an extra that is not installed, or an earlier run that cannot be used.
    """
    asked, scope = config.optimize, config.microscope
    space = Space({name: scope.settings[name] for name in config.tuned()}, asked.search)
    if (own := config.own.get("engine")) is not None:
        made: Optimizer = own.made(getattr(asked, own.key), space, config)
        return made
    initial = filling_trials(config)
    limit, seed = asked.bleaching_limit, config.seed
    if asked.engine == "random":
        return RandomSearch(space, bleaching_limit=limit, seed=seed)
    if asked.engine == "sobol":
        return SobolSearch(space, bleaching_limit=limit, seed=seed, trials=asked.trials)
    if asked.engine == "skopt":
        return SkoptOptimizer(space, bleaching_limit=limit, seed=seed, initial=initial)
    if asked.engine == "botorch":
        from agent.optimizer.botorch import BotorchOptimizer

        try:
            return BotorchOptimizer(space, bleaching_limit=limit, seed=seed, initial=initial)
        except ValueError as error:
            raise UserError(f"`optimize.engine`: {error}") from None
    pinned = {**scope.start(), **scope.modes[asked.mode]}

    def seconds(settings: Mapping[str, Value]) -> float:
        return scope.exposure_s({**pinned, **settings}, _PIXELS) + _OVERHEAD_S

    return StedfastOptimizer(
        space,
        bleaching_limit=limit,
        seed=seed,
        initial=initial,
        hypotheses=_memory(config, space),
        seconds=seconds,
        saturation_limit=asked.saturation_limit,
        goal=asked.goal,
        affordable=affordable or _affordable(config),
        rules=config.rules,
    )


def check_engine(config: RunConfig, source: Path) -> None:
    """Make engine and objective of searches now: the first search would fail without them.

    Raises
    ------
    UserError
        What `make_optimizer` raises; says where in `source`.
    """
    try:
        make_optimizer(config)
    except PriorError as error:
        raise located(source, ("optimize", "prior"), str(error)) from None
    except UserError as error:
        what = str(error).removeprefix("`optimize.engine`: ")
        raise located(source, ("optimize", "engine"), what) from None
    try:
        make_judge(config)
    except UserError as error:
        raise located(source, ("optimize", "objective"), str(error)) from None


def _affordable(config: RunConfig) -> Affordable:
    """Whether a trial leaves enough of the light budget to test its settings against the start."""
    scope, budget = config.microscope, config.dose.budget_J
    asked = config.optimize
    start, pins = scope.start(), scope.modes[asked.mode]

    def light(settings: Mapping[str, Value], pixels: int) -> dict[str, float]:
        return light_j(scope, settings, pixels, asked.mode, asked.reference)

    def affordable(
        settings: Mapping[str, Value], tried: Sequence[tuple[Settings, Outcome]]
    ) -> bool:
        if not budget or not tried:
            return True
        # How many pixels a frame has, its first one tells.
        first, outcome = tried[0]
        pixels = round(outcome.time_s / scope.exposure_s({**start, **first, **pins}, 1))
        spent = [light(one, pixels) for one, _ in tried]
        this, usual = light(settings, pixels), light(start, pixels)
        tests, planes = asked.retest_fields, len(asked.stack())
        stacks = [
            scope.dose_j({**start, **one, **pins}, pixels) for one in (settings, start) if planes
        ]
        return all(
            sum(part[laser] for part in spent)
            + (1 + tests) * this[laser]
            + tests * usual[laser]
            + tests * planes * sum(frame[laser] for frame in stacks)
            <= joules
            for laser, joules in budget.items()
        )

    return affordable


def _memory(config: RunConfig, space: Space) -> Hypotheses | None:
    """What earlier and simulated sessions expect of this microscope's settings."""
    if not _is_known(config):
        return None
    parts: list[Hypotheses] = []
    trust: list[float] = []
    asked = config.optimize
    earlier = past_sessions(asked.prior, space, asked.mode) if asked.prior else None
    if earlier is not None:
        parts.append(earlier)
        trust.append(0.5)
    if asked.library:
        library = Library.for_microscope(config.microscope, config.tuned(), mode=asked.mode)
        if library is not None:
            parts.append(library)
            trust.append(0.5)
    return Combined(parts, trust) if len(parts) > 1 else next(iter(parts), None)
