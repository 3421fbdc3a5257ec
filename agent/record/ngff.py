"""What an OME-Zarr image of a run says of its frames: where they are, and how far apart in time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def interval_of(image: Path) -> float:
    """From one time point to the next (s), as an image says; 0: not always the same."""
    try:
        time, scale, _ = _described(image)
        return float(scale["scale"][0]) if "unit" in time else 0.0
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return 0.0


def centre_of(image: Path) -> tuple[float, float] | None:
    """Where an image says that the middle of its frames is (µm, along rows and columns)."""
    try:
        _, scale, moved = _described(image)
        shape = json.loads((image / "0" / "zarr.json").read_bytes())["shape"]
        sides = zip(moved["translation"], scale["scale"], shape, strict=True)
        *_, row, column = (begin + step * (size - 1) / 2 for begin, step, size in sides)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None  # there is none, or it says nothing
    return row, column


def _described(image: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The time axis of an image, its scales, and its translations, if it has some."""
    ome = json.loads((image / "zarr.json").read_bytes())["attributes"]["ome"]
    (multiscale,) = ome["multiscales"]
    scale, *moved = multiscale["datasets"][0]["coordinateTransformations"]
    return multiscale["axes"][0], scale, moved[0] if moved else {}


def limits_of(pixels: NDArray[Any]) -> tuple[float, float]:
    """Least and largest value that is a number; what JSON has no word for is none."""
    finite = pixels[np.isfinite(pixels)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def is_json(file: Path) -> bool:
    """Whether a file is there, and holds a JSON object."""
    try:
        return isinstance(json.loads(file.read_bytes()), dict)
    except (OSError, ValueError):
        return False
