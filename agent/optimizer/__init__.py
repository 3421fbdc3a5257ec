"""Which settings to try next, and which to recommend: engines behind one ask/tell protocol."""

from agent.optimizer.base import merit
from agent.optimizer.baselines import RandomSearch, SobolSearch
from agent.optimizer.explain import explain
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.protocol import Optimizer
from agent.optimizer.skopt import SkoptOptimizer
from agent.optimizer.space import Space
from agent.optimizer.stedfast import StedfastOptimizer

__all__ = [
    "Optimizer",
    "Outcome",
    "RandomSearch",
    "Settings",
    "SkoptOptimizer",
    "SobolSearch",
    "Space",
    "StedfastOptimizer",
    "explain",
    "merit",
]
