"""What an engine believes, in a form that a person can check: effects, importance, reasons.

Everything here is asked of `predict` alone; nothing is measured, and the engine stays as it is.
All of it is about the settings allowed now (`Space.restrict`), and a function of the engine and the
seeds.
"""

from agent.optimizer.explain.belief import Believer, Remembering
from agent.optimizer.explain.effects import Effect, marginal_effects
from agent.optimizer.explain.note import Compromise, explain, pareto
from agent.optimizer.explain.reasons import why
from agent.optimizer.explain.sensitivity import Importance, Share, importance

__all__ = [
    "Believer",
    "Compromise",
    "Effect",
    "Importance",
    "Remembering",
    "Share",
    "explain",
    "importance",
    "marginal_effects",
    "pareto",
    "why",
]
