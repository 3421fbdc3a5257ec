"""Movies of spots that drift, and an interpolator that learned next to nothing from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from numpy.typing import NDArray

from models.interpolation import (
    Recipe,
    train,
)

SIDE = 40
TINY = {"network": "flow", "widths": [4, 6], "hidden": 8, "synthesis": [4, 6]}


def drifting(seed: int, count: int = 9, noise: float = 20) -> tuple[NDArray[Any], NDArray[Any]]:
    """A measured movie (uint16, offset 100) of spots that drift, and the same without noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    spots, angle = rng.uniform(0, SIDE, (12, 2)), rng.uniform(0, 2 * np.pi)
    step = 1.5 * np.array([np.cos(angle), np.sin(angle)])
    clean = np.stack(
        [
            sum(
                np.exp(-((y - row - i * step[0]) ** 2 + (x - column - i * step[1]) ** 2) / 18)
                for row, column in spots
            )
            for i in range(count)
        ]
    )
    clean = 100 + 1000 * clean
    frames = clean + noise * rng.standard_normal(clean.shape)
    return np.rint(frames).astype(np.uint16), clean.astype(np.float32)


def small(**more: Any) -> Recipe:
    """A recipe for a training that takes no time."""
    values: dict[str, Any] = {
        "architecture": TINY,
        "epochs": 2,
        "steps_per_epoch": 3,
        "batch": 2,
        "patch": 32,
        "learning_rate": 1e-3,
        "validation_frames": 4,
    }
    return Recipe(**(values | more))


def write_movies(folder: Path) -> Path:
    """A folder with five movies, of all but one of which it is known what is noise."""
    (folder / "clean").mkdir()
    for i in range(5):
        frames, clean = drifting(i)
        tifffile.imwrite(folder / f"{i}.tif", frames)
        if i < 4:
            tifffile.imwrite(folder / "clean" / f"{i}.tif", clean)
    return folder


def train_tiny(data: Path, out: Path) -> Path:
    """Weights after a training that takes no time, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(data, out, small(), command="stedfast train interpolation X")
    torch.set_num_threads(threads)
    return out.with_suffix(".safetensors")
