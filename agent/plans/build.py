"""From a config to its plan.

The engines, and what looks at frames, take a second to import, which a plan that does not need them
does not wait for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from agent.config import RunConfig
from agent.config.reading import UserError, located
from agent.config.rules import AFFORDED, PUNCTUAL, SCALED
from agent.plan import Plan
from agent.plans.live import live
from agent.plans.mda import mda
from agent.plans.search_trigger import SearchTrigger
from devices.affine import Affine
from devices.fields import grid
from devices.shot import Field

if TYPE_CHECKING:
    from agent.optimizer.protocol import Optimizer
    from agent.optimizer.stedfast import Affordable
    from agent.plans.adaptive.light_budget import LightBudget
    from agent.plans.focusing import Focusing
    from agent.plans.reoptimize import Reoptimizing

_SETTLING = 4
"""Frames more than the largest gap needs, until something is known of new settings."""


def build_plan(config: RunConfig) -> Plan:
    """The plan that the config asks for.

    Raises
    ------
    UserError
        It is from outside this package, and its code is not loaded.

    Examples
    --------
    >>> microscope = {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera_ms": 10}}
    >>> config = RunConfig.model_validate({"plan": "live", "microscope": microscope})
    >>> next(build_plan(config))
    Listen()
    """
    if (own := config.own.get("plan")) is None:
        return _PLANS[config.plan](config)
    plan: Plan = own.made(config.section, config)
    return plan


def check_plan(config: RunConfig, source: Path) -> None:
    """Make a plan of one's own now: with the microscope open, it would be late to see it fail.

    Raises
    ------
    UserError
        Its function fails, or gives no plan; says where in `source`.
    """
    own = config.own.get("plan")
    if own is None or own.make is None:
        return
    try:
        build_plan(config).close()
    except UserError as error:
        raise located(source, ("plan",), str(error)) from None


def _live(config: RunConfig) -> Plan:
    return live(config.live)


def _optimize(config: RunConfig) -> Plan:
    from agent.optimizer.build import make_optimizer
    from agent.optimizer.objectives.judged import make_judge
    from agent.plans.optimize import optimize

    tuned = config.tuned()
    return optimize(
        config.optimize,
        make_optimizer(config),
        {name: value for name, value in config.microscope.start().items() if name in tuned},
        grid(config.microscope.fields),
        config.microscope,
        judge=make_judge(config),
        skip_failed=config.analysis.on_error == "skip",
        rules=config.rules,
    )


def _timelapse(config: RunConfig) -> Plan:
    from agent.plans.adaptive.adaptive_schedule import AdaptiveGaps
    from agent.plans.adaptive.drift_tracking import DriftTracker
    from agent.plans.adaptive.frame_noise import Detector
    from agent.plans.adaptive.light_budget import LightBudget
    from agent.plans.adaptive.schedule import FixedGaps, Rules
    from agent.plans.timelapse import skipping, timelapse

    asked, scope = config.timelapse, config.microscope
    fields = grid(scope.fields)
    light = LightBudget(
        lambda settings, pixels: scope.dose_j(dict(settings), pixels),
        config.dose.budget_J,
        config.dose.per_field_J,
        asked.fields,
    )
    better = _reoptimizing(config, fields[asked.fields :], light)
    focusing = _focusing(config)
    if asked.acquire == "every":
        return timelapse(asked, fields, light, better, focusing)
    rules = Rules(
        points=asked.frames,
        gap=asked.gap,
        bound=asked.error,
        confidence=asked.confidence,
        audit_every=asked.audit_every,
        detector=Detector(**asked.detector.model_dump()),
        drift=asked.drift,
        afforded=config.rules >= AFFORDED,
    )
    kind = AdaptiveGaps if asked.acquire == "adaptive" else FixedGaps
    # Followed too far, a field would meet its neighbour.
    reach_um = scope.fields.apart_um / 2
    # A run from before there were calibrations followed as if the camera lay along the stage.
    mounting = scope.mounting or Affine.square(scope.pixel_size_nm * 1e-3)
    limits, pixel_nm = scope.stage_limits, None
    if config.rules >= SCALED:
        pixel_nm = scope.pixel_size_nm
    lapses = [
        kind(DriftTracker(field, mounting, reach_um, limits, pixel_nm), rules)
        for field in fields[: asked.fields]
    ]
    return skipping(asked, lapses, light, better, focusing)


def _focusing(config: RunConfig) -> Focusing | None:
    """What finds the focus of a time-lapse, if the config says how."""
    focus, scope = config.focus, config.microscope
    if focus is None:
        return None
    from agent.plans.autofocusing import Autofocusing
    from agent.plans.focusing import Focusing

    start_um = scope.fields.z_um or 0.0
    low, high = scope.stage_limits.z_um or (-math.inf, math.inf)
    planes = [plane.z_um for plane in config.timelapse.planes() if plane is not None]
    if planes and config.rules >= PUNCTUAL:
        low, high = low - min(planes), high - max(planes)  # with room for the stack
    limits = low, high
    if not focus.sweeps:
        return Autofocusing(focus, start_um, limits)
    mode = focus.looks_at(scope.modes, config.timelapse.mode)
    return Focusing(focus, mode, start_um, limits, config.rules)


def _mda(config: RunConfig) -> Plan:
    return mda(config.mda, config.microscope)


def _reoptimizing(
    config: RunConfig, fields: Sequence[Field], light: LightBudget
) -> Reoptimizing | None:
    """What looks for better settings between time points, if the config asks for that."""
    lapse, asked, scope = config.timelapse, config.timelapse.reoptimize, config.microscope
    if asked is None:
        return None
    from agent.optimizer.build import make_optimizer
    from agent.optimizer.objectives.judged import make_judge
    from agent.plans.reoptimize import Reoptimizing

    only = {"trials": asked.trials, "bleaching_limit": asked.bleaching_limit}

    def engine(number: int, affordable: Affordable) -> Optimizer:
        parts = {"optimize": config.optimize.model_copy(update=only), "seed": config.seed + number}
        return make_optimizer(config.model_copy(update=parts), affordable)

    def rest(point: int) -> int:
        left = lapse.frames - 1 - point
        return left if lapse.acquire == "every" else min(left, left // lapse.gap + _SETTLING)

    tuned = config.tuned()
    return Reoptimizing(
        asked,
        SearchTrigger(
            lapse.frames, asked.trials, asked.searches, asked.every, asked.when_score_falls_by
        ),
        light,
        engine=engine,
        start={name: value for name, value in scope.start().items() if name in tuned},
        fields=fields,
        scope=scope,
        rest=rest,
        judge=make_judge(config),
        skip_failed=config.analysis.on_error == "skip",
        mode=config.optimize.mode,
        reference=config.optimize.reference,
        modes=lapse.modes(),
        planes=len(lapse.planes()),
        rules=config.rules,
    )


_PLANS: dict[str, Callable[[RunConfig], Plan]] = {
    "live": _live,
    "optimize": _optimize,
    "timelapse": _timelapse,
    "mda": _mda,
}
