"""Whether the uncertainty is right: how often the other label lies within its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.measurement import Check
from agent.bench.restoration.measures import covered, error_where_unsure, fitted
from agent.bench.restoration.part import Part
from agent.bench.restoration.study import TRAINED, fields, weights
from models.restoration import Restorer


def measure(folder: Path) -> Part:
    """Intervals of the shipped networks around the other label, and of care around its target."""
    raw: dict[str, dict[str, float]] = {}
    for structure in TRAINED:
        restorer = Restorer(structure, device="cpu")
        raw[structure] = _mean(
            [_figures(restorer, f["label_a"], f["label_b"]) for f in fields(folder, structure)]
        )
    care = Restorer(weights(folder, TRAINED[0], "care"), device="cpu")
    raw["care"] = _mean(
        [_figures(care, f["label_a_low"], f["label_a"]) for f in fields(folder, TRAINED[0])]
    )
    checks = []
    for name, found in raw.items():
        checks += [
            Check(f"{name}: 90% intervals cover", found["covered"], ">=", 0.85),
            Check(f"{name}: 90% intervals cover at most", found["covered"], "<=", 0.95),
            Check(f"{name}: squared error in the least sure tenth", found["unsure"], ">=", 0.3),
        ]
    return Part("uncertainty", checks, raw)


def _figures(restorer: Restorer, frame: NDArray[Any], target: NDArray[Any]) -> dict[str, float]:
    found = restorer.restore(frame)
    # The target's brightness is its own: it is put on the prediction's scale, with its noise.
    error = found.image - fitted_to(target, found.image)
    return {"covered": covered(error, found.sd), "unsure": error_where_unsure(error, found.sd)}


def fitted_to(target: NDArray[Any], image: NDArray[Any]) -> NDArray[np.float64]:
    """The target on the image's scale, so that fitting the image to it would change nothing."""
    line = fitted(image, target)
    gain = float(np.std(line) / max(float(np.std(image)), 1e-12))
    offset = float(np.mean(line) - gain * np.mean(image))
    return (np.asarray(target, float) - offset) / max(gain, 1e-12)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
