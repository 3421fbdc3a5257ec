"""Fine-tuning of the interpolator in a process of its own, which has the time that others leave.

It reads raw frames from disk, and writes weights into the run's folder only where they are better.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.plans.adaptive.frame_noise import Detector
from agent.record.raw import RawFrames
from agent.workers.fine_tuning import (
    RECIPE,
    AuditExample,
    AuditTriplet,
    TuningVerdict,
    affordable,
    compare_weights,
    fine_tune,
    split_audits,
    write_rescaled,
)
from agent.workers.process import WorkerDied
from agent.workers.restarted_process import RestartedProcess
from models.interpolation.recipe import Recipe

FOLDER = "interpolator"
"""Where a run keeps the weights that it adopted."""
_TRYING = "trying"
LOWEST = 19
"""Priority: also the interpolator, which a plan waits for, comes before it."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What an attempt came to.

    Parameters
    ----------
    audits
        How many there were.
    learned
        From how many of them it learned; `verdict.audits` judged.
    verdict
        On the latest ones, of the old weights and the new ones.
    started_from
        SHA-256 of the old weights.
    sha256
        Of the new ones; None where they are not better.
    file
        Where they are, from the run's folder.
    steps, seconds
        Of the training, and of all of it.
    """

    audits: int
    learned: int
    verdict: TuningVerdict
    started_from: str
    sha256: str | None
    file: str | None
    steps: int
    seconds: float


MakeTuner = Callable[[Path, Detector, float], Any]
"""Makes an object with `tune`, as `Tuner` has, from the run's folder, the detector's noise and the
side of a pixel (µm); called in the tuner's process."""


class TuneProcess:
    """Fine-tunes in another process, which is started when there is something to do.

    Parameters
    ----------
    tuner
        Makes what does it, there.
    folder
        The run's.
    detector
        What the noise of its frames is like.
    pixel_size_um
        Of its images.
    """

    def __init__(
        self, tuner: MakeTuner, folder: Path, detector: Detector, pixel_size_um: float
    ) -> None:
        self._made_of = (tuner, folder, detector, pixel_size_um)
        self._folder = folder
        self._process: RestartedProcess | None = None
        self._killed = threading.Event()

    @property
    def pid(self) -> int | None:
        """Number of the process; None where it is not there yet."""
        return self._process.pid if self._process is not None else None

    @property
    def over(self) -> bool:
        """Whether it has ended so often that it is not started again."""
        return self._process is not None and self._process.over

    def tune(
        self, model: str | Path, audits: Sequence[AuditTriplet], number: int, timeout_s: float
    ) -> Tuned:
        """See `Tuner.tune`; errors are those of `RestartedProcess.work`."""
        if self._process is None:
            self._process = RestartedProcess(*self._made_of, nicer=LOWEST)
        if self._killed.is_set():
            # It was not there to be killed when it should have been.
            self._process.kill()
            raise WorkerDied("the run is over")
        found: Tuned = self._process.work(
            "tune", str(model), list(audits), number, timeout_s=timeout_s
        )
        return found

    def kill(self) -> None:
        """End the process now; unfinished work is gone."""
        self._killed.set()
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self._folder / FOLDER / _TRYING, ignore_errors=True)


def open_tuner(folder: Path, detector: Detector, pixel_size_um: float) -> Tuner:
    """A tuner that takes one core."""
    import torch

    torch.set_num_threads(1)
    return Tuner(folder, detector, pixel_size_um)


class Tuner:
    """Tunes an interpolator to a run; see `open_tuner`."""

    def __init__(
        self, folder: Path, detector: Detector, pixel_size_um: float, recipe: Recipe = RECIPE
    ) -> None:
        self._folder, self._detector, self._recipe = folder, detector, recipe
        self._raw = RawFrames(folder, pixel_size_um=pixel_size_um)

    def tune(self, model: str, audits: Sequence[AuditTriplet], number: int) -> Tuned:
        """Learn from the older audits, be judged on the latest, and keep the weights if better.

        Parameters
        ----------
        model
            Weights in use.
        audits
            All so far, in order.
        number
            Of the attempt: names the weights.

        Raises
        ------
        ValueError
            Too few of them can be used.
        """
        from models.interpolation import Interpolation

        began = time.perf_counter()
        some = affordable(audits, self._raw.read(audits[-1].frame).shape)
        older, latest = split_audits(some)
        trying = self._folder / FOLDER / _TRYING
        shutil.rmtree(trying, ignore_errors=True)
        try:
            examples = [self._example(one) for one in older]
            card = fine_tune(model, examples, trying / "weights", self._recipe)
            old = Interpolation(model, "cpu")
            new = Interpolation(trying / "weights.safetensors", "cpu")
            verdict = compare_weights(
                old, new, [self._example(one) for one in latest], self._detector
            )
            sha256, file = None, f"{FOLDER}/tuned-{number}"
            if verdict.better:
                sha256 = write_rescaled(
                    trying / "weights.safetensors", verdict, self._folder / file
                )
        finally:
            shutil.rmtree(trying, ignore_errors=True)
        return Tuned(
            len(audits),
            len(older),
            verdict,
            old.weights_hash(),
            sha256,
            f"{file}.safetensors" if sha256 else None,
            card["training"]["epochs"] * card["recipe"]["steps_per_epoch"],
            round(time.perf_counter() - began, 1),
        )

    def _example(self, one: AuditTriplet) -> AuditExample:
        before, measured, after = map(self._raw.read, (one.before, one.frame, one.after))
        return AuditExample(before, measured, after, one.t, one.drift_px)
