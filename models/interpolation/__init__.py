"""Content-aware frame interpolation: frames between two measured ones, rebuilt by what moves."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.interpolation.adjusting import LIT, Adjusted, Adjustment, Example, adjusted
    from models.interpolation.interface import Interpolator
    from models.interpolation.interpolate import Interpolation
    from models.interpolation.interpolated import Interpolated, MovieFrame
    from models.interpolation.movies import Movie, movie, read_movies
    from models.interpolation.networks import build
    from models.interpolation.recipe import Recipe
    from models.interpolation.screen import Screening, screen_movie
    from models.interpolation.training import train
    from models.interpolation.weights import read_interpolator

_HOMES = {
    "Adjusted": "models.interpolation.adjusting",
    "Adjustment": "models.interpolation.adjusting",
    "Example": "models.interpolation.adjusting",
    "LIT": "models.interpolation.adjusting",
    "Interpolated": "models.interpolation.interpolated",
    "Interpolation": "models.interpolation.interpolate",
    "Interpolator": "models.interpolation.interface",
    "Movie": "models.interpolation.movies",
    "MovieFrame": "models.interpolation.interpolated",
    "Recipe": "models.interpolation.recipe",
    "Screening": "models.interpolation.screen",
    "adjusted": "models.interpolation.adjusting",
    "build": "models.interpolation.networks",
    "movie": "models.interpolation.movies",
    "read_interpolator": "models.interpolation.weights",
    "read_movies": "models.interpolation.movies",
    "screen_movie": "models.interpolation.screen",
    "train": "models.interpolation.training",
}

__all__ = [
    "LIT",
    "Adjusted",
    "Adjustment",
    "Example",
    "Interpolated",
    "Interpolation",
    "Interpolator",
    "Movie",
    "MovieFrame",
    "Recipe",
    "Screening",
    "adjusted",
    "build",
    "movie",
    "read_interpolator",
    "read_movies",
    "screen_movie",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
