"""Label2label and its kin: a filter that leaves of a frame what two labels of it share."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.restoration.engine import Restorer
    from models.restoration.frame_filter import Restored
    from models.restoration.network import RestorationNet
    from models.restoration.opening import check_model, open_filter, unlike_pixels
    from models.restoration.recipe import Recipe
    from models.restoration.training import train
    from models.restoration.weights import read_restoration

_HOMES = {
    "Recipe": "models.restoration.recipe",
    "RestorationNet": "models.restoration.network",
    "Restored": "models.restoration.frame_filter",
    "Restorer": "models.restoration.engine",
    "check_model": "models.restoration.opening",
    "open_filter": "models.restoration.opening",
    "read_restoration": "models.restoration.weights",
    "train": "models.restoration.training",
    "unlike_pixels": "models.restoration.opening",
}

__all__ = [
    "Recipe",
    "RestorationNet",
    "Restored",
    "Restorer",
    "check_model",
    "open_filter",
    "read_restoration",
    "train",
    "unlike_pixels",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
