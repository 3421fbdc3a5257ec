"""Knowledge from other sessions: bundled simulated ones, and earlier runs of this microscope."""

from agent.optimizer.memory.library import CALIBRATIONS, Control, Library, obstacle
from agent.optimizer.memory.past import Combined, PriorError, past_sessions
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
