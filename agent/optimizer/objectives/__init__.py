"""What a trial is judged by, measured from its frames.

Frame time and light dose need no measurement: `devices.config.MicroscopeConfig.exposure_s` and
`dose_j` give them exactly, from the settings.
"""

from __future__ import annotations

from agent.optimizer.objectives.bleaching import bleaching
from agent.optimizer.objectives.estimate import Estimate
from agent.optimizer.objectives.resolution import resolution_nm
from agent.optimizer.objectives.saturation import saturated_share
from agent.optimizer.objectives.signal import signal_to_noise

__all__ = ["Estimate", "bleaching", "resolution_nm", "saturated_share", "signal_to_noise"]
