"""What a trial is judged by, measured from its frames.

Frame time and light dose need no measurement: `devices.config.MicroscopeConfig.exposure_s` and
`dose_j` give them exactly, from the settings.
"""

from __future__ import annotations

from agent.optimizer.objectives.estimate import Estimate

__all__ = ["Estimate"]
