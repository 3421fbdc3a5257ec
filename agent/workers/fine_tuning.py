"""Fine-tuning of an interpolator on the audits of the time-lapse that it rebuilds.

Every audit is a triplet of measured frames: two, and one between them that shows what the rebuilt
one should have been. The interpolator learns from the older audits and is judged on the latest,
by the error that the time-lapse itself goes by.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agent.optimizer.objectives.estimate import Estimate
from agent.plans.adaptive.error import UNKNOWN
from agent.plans.adaptive.frame_noise import Detector
from models.interpolation.recipe import Recipe

if TYPE_CHECKING:
    from agent.plans.adaptive.alignment import Interpolates

FIRST, MORE = 12, 4
"""Audits before the first attempt, and new ones before each other one."""
JUDGES = 4
"""The latest audits, which judge: one in three, and no fewer than these."""
_OF_ALL = 3
"""One audit in so many judges; chosen."""
_MOST = 48
"""Audits that are learned from, the latest ones; chosen."""
_MOST_PIXELS = 100_000_000
"""Pixels that are learned from, at most, where frames are large; chosen for memory."""
_FEWEST = 4
"""Audits that are learned from, at least; chosen."""
_LIMIT = (
    "Tuned to one time-lapse by its own audits, and for that one. As unsure, on average, as the"
    " weights it began with: how far that is from its errors, the time-lapse learns."
)
_LEAST = 1e-6
"""Smallest error that is told from none (squared counts over the frame's variance)."""
RECIPE = Recipe(
    loss="structure",
    epochs=4,
    steps_per_epoch=15,
    batch=4,
    patch=96,
    learning_rate=1.5e-4,
    validation_frames=6,
)
"""As `configs/interpolation/finetune.yaml`, but shorter: there will be another attempt."""


@dataclass(frozen=True, slots=True)
class AuditTriplet:
    """Which frames an audit compared.

    Parameters
    ----------
    before, frame, after
        Numbers of the measured frames.
    t
        When between the outer two, 0 to 1.
    drift_px
        From the first to the last (rows, columns).
    """

    before: int
    frame: int
    after: int
    t: float
    drift_px: tuple[float, float] = (0.0, 0.0)

    @property
    def frames(self) -> frozenset[int]:
        """All of them."""
        return frozenset((self.before, self.frame, self.after))


@dataclass(frozen=True, slots=True)
class AuditExample:
    """An audit with its frames (rows × columns each)."""

    before: NDArray[Any]
    measured: NDArray[Any]
    after: NDArray[Any]
    t: float
    drift_px: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class TuningVerdict:
    """Two sets of weights on the same audits.

    Parameters
    ----------
    audits
        How many.
    before, after
        Squared error with the old and with the new weights (see
        `agent.plans.adaptive.error.squared_error`): mean over the audits, and its standard
        deviation.
    gain
        The same of what each audit's squared error fell by.
    unsure
        How many times as unsure as with the new weights one was with the old: geometric mean.
    """

    audits: int
    before: Estimate
    after: Estimate
    gain: Estimate
    unsure: float

    @property
    def better(self) -> bool:
        """Whether the error fell by more than the uncertainty of that."""
        return self.gain.value > self.gain.sd


def split_audits(audits: Sequence[AuditTriplet]) -> tuple[list[AuditTriplet], list[AuditTriplet]]:
    """Older audits to learn from, and the latest to judge by; no frame is in both."""
    judges = max(JUDGES, len(audits) // _OF_ALL)
    latest = list(audits[-judges:])
    seen = frozenset[int]().union(*(one.frames for one in latest))
    return [one for one in audits[:-judges] if not one.frames & seen], latest


def affordable(audits: Sequence[AuditTriplet], shape: tuple[int, ...]) -> list[AuditTriplet]:
    """As many of the latest audits as there is memory for."""
    most = min(_MOST, _MOST_PIXELS // (3 * math.prod(shape)))
    return list(audits[-max(most, FIRST) :])


def fine_tune(
    model: str | Path, examples: Sequence[AuditExample], out: Path, recipe: Recipe = RECIPE
) -> dict[str, Any]:
    """Train a copy of some weights on audits; its model card.

    Parameters
    ----------
    model
        Weights to begin with.
    examples
        In the order in which they were measured. The last quarter, and no fewer than two, choose
        the epoch, and how far to go from the old weights to the new ones.
    out
        Where to write, without ending.
    recipe
        How.

    Raises
    ------
    ValueError
        There are too few examples, frames are too small, or the training diverges.
    """
    from agent.plans.adaptive.alignment import comparable
    from models.interpolation.movies import Movie
    from models.interpolation.training import train
    from models.interpolation.triplets import Division, Triplet

    if len(examples) < _FEWEST:
        raise ValueError(f"{len(examples)} audits to learn from; needed are {_FEWEST} and more")
    movies, triplets = [], []
    for number, one in enumerate(examples):
        frames = comparable(one.before, one.after, one.t, one.drift_px, one.measured)
        movies.append(Movie(f"audit {number}", np.stack(frames), None, (0, 1, 2)))
        triplets.append(Triplet(number, 0, 1, 2, one.t))
    aside = max(2, len(triplets) // 4)
    side = min(recipe.patch, *(min(one.frames.shape[1:]) for one in movies))
    return train(
        movies,
        out,
        replace(recipe, start_from=Path(model), patch=side),
        command="stedfast run, timelapse.tune",
        division=Division([[one] for one in triplets[:-aside]], triplets[-aside:]),
    )


def compare_weights(
    old: Interpolates, new: Interpolates, examples: Sequence[AuditExample], detector: Detector
) -> TuningVerdict:
    """Compare two sets of weights on audits that neither learned from.

    Raises
    ------
    ValueError
        Too few of them show a structure.
    """
    from agent.plans.adaptive.alignment import audit

    found = []
    for one in examples:
        pair = one.before, one.after, one.t, one.drift_px, one.measured, detector
        (was, wrong), (now, less) = audit(old, *pair), audit(new, *pair)
        if wrong is not UNKNOWN and less is not UNKNOWN:
            found.append((wrong.value, less.value, was.uncertainty, now.uncertainty))
    if len(found) < 2:
        raise ValueError(f"{len(found)} audits with a structure to judge by; needed are 2 and more")
    ratios = [math.log(max(was, _LEAST) / max(now, _LEAST)) for _, _, was, now in found]
    return TuningVerdict(
        len(found),
        _mean([wrong for wrong, *_ in found]),
        _mean([less for _, less, *_ in found]),
        _mean([wrong - less for wrong, less, *_ in found]),
        math.exp(fmean(ratios)),
    )


def _mean(values: Sequence[float]) -> Estimate:
    return Estimate(fmean(values), stdev(values) / math.sqrt(len(values)))


def write_rescaled(weights: Path, verdict: TuningVerdict, out: Path) -> str:
    """Write weights again, as unsure on average as those before were; their SHA-256.

    A time-lapse predicts errors from the interpolator's uncertainty. So a swap does not change the
    predictions, and its gain is learned from the audits that follow.

    Parameters
    ----------
    weights
        A file.
    verdict
        Of them and those before.
    out
        Where to, without ending.
    """
    from models.interpolation.weights import read_interpolator, save

    found = read_interpolator(weights)
    card = found.card
    one_way, both_ways, blend = found.calibration
    factors = {"one_way": one_way * verdict.unsure, "both_ways": both_ways * verdict.unsure}
    card["calibration"] = {**factors, "blend": blend}
    card["audits"] = asdict(verdict)
    card["limits"] = [_LIMIT]
    save(out, found.network, card)
    sha256: str = card["weights_sha256"]
    return sha256
