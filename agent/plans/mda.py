"""`plan: mda`: the frames of a useq sequence."""

from __future__ import annotations

from agent.config.mda import MdaConfig
from agent.plan import Plan
from devices.config import MicroscopeConfig


def mda(config: MdaConfig, scope: MicroscopeConfig) -> Plan:
    """Take the frames one after the other; looks at none of them, so waits for nothing.

    Parameters
    ----------
    config
        The sequence, and the modes of its channels.
    scope
        The microscope's config.
    """
    yield from config.shots(scope)
