"""Knowledge from other sessions: bundled simulated ones, and earlier runs of this microscope."""

from agent.optimizer.memory.combined import Combined
from agent.optimizer.memory.control import Control, obstacle
from agent.optimizer.memory.earlier_runs import PriorError, past_sessions
from agent.optimizer.memory.library import CALIBRATIONS, Library
from agent.optimizer.memory.store import SHIPPED, Sessions

__all__ = [
    "CALIBRATIONS",
    "SHIPPED",
    "Combined",
    "Control",
    "Library",
    "PriorError",
    "Sessions",
    "obstacle",
    "past_sessions",
]
