"""`plan: timelapse`: the same fields at fixed intervals."""

from __future__ import annotations

from collections.abc import Sequence

from agent.config import TimelapseConfig
from agent.plan import Plan
from devices.shot import Field, Shot


def timelapse(config: TimelapseConfig, fields: Sequence[Field]) -> Plan:
    """Visit the fields at every time point, and wait for the next one."""
    for t in range(config.frames):
        for field in fields[: config.fields]:
            yield Shot(
                config.mode, {}, field, at_s=t * config.interval_s, purpose=f"time point {t}"
            )
