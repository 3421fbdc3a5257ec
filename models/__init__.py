"""Networks that see: they know tensors, and no microscope.

Names are fetched when they are first used, so that ``import models`` needs neither torch nor
the time that importing it takes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.quality import QualityNet, QualityScorer, Score, train

_HOMES = dict.fromkeys(("QualityNet", "QualityScorer", "Score", "train"), "models.quality")

__all__ = ["QualityNet", "QualityScorer", "Score", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
