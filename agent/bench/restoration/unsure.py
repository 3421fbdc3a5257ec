"""Whether the uncertainty is right: how often the other label lies within its interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.measurement import BenchPart, Check
from agent.bench.restoration.measures import covered, error_where_unsure, fitted
from agent.bench.restoration.study import TRAINED, fields, weights
from models.restoration import Restorer


def measure(folder: Path) -> BenchPart:
    """Intervals around a measured frame, and where the filtered one really errs.

    An interval is for the other label as it would be measured, noise and all; with care, for its
    target. The squared error is that of the filtered frame against the clean structure; against
    the measured frame, whose noise and off-target signal cannot be foreseen, it is reported.
    """
    raw: dict[str, dict[str, float]] = {}
    for structure in TRAINED:
        restorer = Restorer(structure, device="cpu")
        raw[structure] = _mean(
            [
                _figures(restorer, f["label_a"], f["label_b"], f["clean"])
                for f in fields(folder, structure)
            ]
        )
    care = Restorer(weights(folder, TRAINED[0], "care"), device="cpu")
    raw["care"] = _mean(
        [
            # What care is to find is the whole mean image; of that there is a second exposure.
            _figures(care, f["label_a_low"], f["label_a"], f["label_a_again"])
            for f in fields(folder, TRAINED[0])
        ]
    )
    checks = []
    for name, found in raw.items():
        checks += [
            Check(f"{name}: 90% intervals cover", found["covered"], ">=", 0.85),
            Check(f"{name}: 90% intervals cover at most", found["covered"], "<=", 0.95),
            Check(f"{name}: squared error in the least sure tenth", found["unsure"], ">=", 0.3),
        ]
    return BenchPart("uncertainty", checks, raw)


def _figures(
    restorer: Restorer, frame: NDArray[Any], target: NDArray[Any], truth: NDArray[Any]
) -> dict[str, float]:
    found = restorer.restore(frame)
    # The target's brightness is its own: it is put on the prediction's scale, with its noise.
    measured, real = (found.image - fitted_to(other, found.image) for other in (target, truth))
    return {
        "covered": covered(measured, found.sd),
        "unsure": error_where_unsure(real, found.sd),
        "unsure, measured": error_where_unsure(measured, found.sd),
        # As far as pixels can be ordered by nothing but the mean of the target.
        "unsure, measured, at best": error_where_unsure(measured, truth),
    }


def fitted_to(target: NDArray[Any], image: NDArray[Any]) -> NDArray[np.float64]:
    """The target on the image's scale, so that fitting the image to it would change nothing."""
    line = fitted(image, target)
    gain = float(np.std(line) / max(float(np.std(image)), 1e-12))
    offset = float(np.mean(line) - gain * np.mean(image))
    return (np.asarray(target, float) - offset) / max(gain, 1e-12)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
