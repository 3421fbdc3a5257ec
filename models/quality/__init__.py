"""The quality score of a STED frame: network, scorer, training and the shipped weights."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.quality.score import Score
    from models.quality.scorer import QualityScorer
    from models.quality.spectral import QualityNet
    from models.quality.training import train

_HOMES = {
    "QualityNet": "models.quality.spectral",
    "QualityScorer": "models.quality.scorer",
    "Score": "models.quality.score",
    "train": "models.quality.training",
}

__all__ = ["QualityNet", "QualityScorer", "Score", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
