"""`plan: timelapse`: the same fields at fixed intervals, all of them or as few as will do."""

from __future__ import annotations

from collections.abc import Sequence

from agent.config import TimelapseConfig
from agent.lapse.field import Lapse
from agent.lapse.light import Light
from agent.plan import Frame, Note, Plan, Rebuilt
from agent.recording import LAPSE
from devices.shot import Field, Shot


def timelapse(config: TimelapseConfig, fields: Sequence[Field]) -> Plan:
    """Visit the fields at every time point, and wait for the next one."""
    for t in range(config.frames):
        for field in fields[: config.fields]:
            yield Shot(
                config.mode, {}, field, at_s=t * config.interval_s, purpose=f"time point {t}"
            )


def skipping(config: TimelapseConfig, lapses: Sequence[Lapse], light: Light) -> Plan:
    """Take the frames that are due at each time point, and decide when each field's next one is.

    Nothing is waited for before all frames of a time point are taken: what an audit takes is a part
    of the wait for the next time point.

    Parameters
    ----------
    config
        Time points, interval and mode.
    lapses
        The fields, each of which says when it is due.
    light
        How many more frames the budget allows.
    """
    for t in range(config.frames):
        taken = []
        for lapse in lapses:
            if lapse.due(t):
                at_s, purpose = t * config.interval_s, lapse.purpose(t)
                frame = yield Shot(config.mode, {}, lapse.place, at_s=at_s, purpose=purpose)
                assert isinstance(frame, Frame)
                light.spend(frame.settings, frame.pixels.size, lapse.field)
                taken.append((lapse, frame))
        for lapse, frame in taken:
            for request in lapse.see(frame, t):
                answer = yield request
                if isinstance(answer, Rebuilt):
                    lapse.learn(request, answer)
            yield Note(LAPSE, lapse.decide(light.frames(lapse.field)))
