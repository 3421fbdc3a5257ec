"""What a long time-lapse that skips keeps of its frames: their marks, and what audits teach."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from agent.optimizer.objectives.estimate import Estimate
from agent.plans.adaptive.error_model import ErrorModel
from agent.record.reconstructed import ReconstructedStore

_GAPS = 4
"""Gaps that are weighed for each decision."""
_KEPT = 2000
"""Audits that came before: about as many as are kept of any number."""


def of_a_time_lapse(folder: Path, points: int) -> dict[str, float]:
    """Mark and audit this many time points, one after the other (s)."""
    folder.mkdir(parents=True)
    movie = ReconstructedStore(folder, [0], points, pixel_size_um=0.02)
    movie.put(0, 0, np.zeros((8, 8), np.uint16))
    began = time.process_time()
    for point in range(points):
        mark = {"point": point, "kind": "reconstructed", "frame": None, "expected_error": 0.1}
        movie.mark([{**mark, "field": 0}])
    movie.settle()
    marked = time.process_time()
    belief = ErrorModel()
    for _ in range(_KEPT):
        belief.learn(0.1, Estimate(0.01, 0.001))
    learned = time.process_time()
    for _ in range(points):
        belief.learn(0.1, Estimate(0.01, 0.001))
        for steps in range(_GAPS):
            belief.at_most(0.1 * (1 + steps), 0.65)
        belief.running([0.1, 0.2])
    return {"marks": marked - began, "audits": time.process_time() - learned}
