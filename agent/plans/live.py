"""`plan: live`: frame after frame at the starting settings, where the stage is."""

from __future__ import annotations

from itertools import count

from agent.config import LiveConfig
from agent.plan import Plan
from devices.shot import Shot


def live(config: LiveConfig) -> Plan:
    """Take frames one after the other; looks at none of them, so waits for nothing."""
    for i in count() if config.frames is None else range(config.frames):
        yield Shot(config.mode, at_s=i * config.interval_s if config.interval_s else None)
