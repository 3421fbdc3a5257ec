"""`plan: live`: frame after frame where the stage is, at settings that a person may change."""

from __future__ import annotations

from itertools import count

from agent.config.plans import LiveConfig
from agent.plan import Due, Late, Plan, apply_told
from agent.plans.time_points import point_shots, undecided
from devices.config import Value


def live(config: LiveConfig) -> Plan:
    """Take frames one after the other; looks at none of them, so waits for nothing.

    It begins with the starting settings, and before each time point it listens to what a person
    says. One that cannot be taken in time waits for the next time point, or shifts those that
    follow.

    Examples
    --------
    >>> plan = live(LiveConfig(frames=2))
    >>> next(plan)
    Listen()
    >>> plan.send(()).mode
    'sted'
    """
    settings: dict[str, Value] = {}
    rois: dict[str, tuple[int, ...]] = {}
    point = 0
    for i in count() if config.frames is None else range(config.frames):
        yield from apply_told(settings, rois, frame=i)
        at_s = None
        if config.interval_s:
            due = Due(point * config.interval_s, config.interval_s, config.late == "skip")
            late = yield due
            assert isinstance(late, Late)
            point += late.points
            at_s = point * config.interval_s
        at = dict.fromkeys(config.modes(), settings)
        yield from undecided(point_shots(config, [None], point, at, at_s, rois=rois))
        point += 1
