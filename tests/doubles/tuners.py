"""Tuners that dawdle, die or change weights without a training, made in the tuner's process."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.optimizer.objectives.estimate import Estimate
from agent.plans.adaptive.frame_noise import Detector
from agent.workers.fine_tuning import AuditTriplet, TuningVerdict
from agent.workers.tune_process import FOLDER, Tuned


@dataclass
class Pretends:
    """Calls every attempt better, and writes weights that hardly differ.

    Parameters
    ----------
    seconds
        How long an attempt takes (s).
    dies
        Whether its process ends instead.
    """

    seconds: float = 0.0
    dies: bool = False

    def __call__(self, folder: Path, detector: Detector, pixel_size_um: float) -> Pretends:
        """Make it, as the tuner's process does."""
        self.folder = folder
        return self

    def tune(self, model: str, audits: Sequence[AuditTriplet], number: int) -> Tuned:
        time.sleep(self.seconds)
        if self.dies:
            os._exit(9)
        from models.interpolation.weights import read_interpolator, save

        found = read_interpolator(model)
        before, card = found.card["weights_sha256"], found.card
        for part in found.network.parameters():
            part.data *= 1.0001
        save(self.folder / FOLDER / f"tuned-{number}", found.network, card)
        better = TuningVerdict(
            4, Estimate(0.04, 0.0), Estimate(0.01, 0.0), Estimate(0.03, 0.0), 1.0
        )
        file = f"{FOLDER}/tuned-{number}.safetensors"
        return Tuned(len(audits), 5, better, before, card["weights_sha256"], file, 10, 0.5)
