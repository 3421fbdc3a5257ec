"""From a config to its plan."""

from __future__ import annotations

from agent.config import RunConfig
from agent.engines import make_optimizer
from agent.plan import Plan
from agent.plans import live, optimize, timelapse
from agent.trial import FRAMES_EACH
from devices.microscope import grid


def planned_frames(config: RunConfig) -> int | None:
    """How many frames the plan takes; None where it has no end.

    Repeats of flagged trials are not among them: nobody knows before how many there will be, and
    each that is taken is counted then.
    """
    if config.plan == "live":
        return config.live.frames
    if config.plan == "timelapse":
        return config.timelapse.frames * config.timelapse.fields
    return FRAMES_EACH * (config.optimize.trials + 2 * config.optimize.retest_fields)


def build_plan(config: RunConfig) -> Plan:
    """The plan that the config asks for."""
    fields = grid(config.microscope.fields)
    if config.plan == "live":
        return live(config.live)
    if config.plan == "timelapse":
        return timelapse(config.timelapse, fields)
    tuned = config.tuned()
    start = {name: value for name, value in config.microscope.start().items() if name in tuned}
    skip = config.analysis.on_error == "skip"
    return optimize(
        config.optimize,
        make_optimizer(config),
        start,
        fields,
        config.microscope,
        skip_failed=skip,
    )
