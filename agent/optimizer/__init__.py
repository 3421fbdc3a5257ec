"""Which settings to try next, and which to recommend: engines behind one ask/tell protocol."""

from agent.optimizer.baselines import RandomSearch, SobolSearch
from agent.optimizer.engine import Optimizer
from agent.optimizer.explain import explain
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.scikit import SkoptOptimizer
from agent.optimizer.space import Space
from agent.optimizer.stedfast import StedfastOptimizer
from agent.optimizer.told import merit

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
