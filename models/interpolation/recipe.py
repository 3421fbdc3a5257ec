"""How an interpolator is trained, as one frozen record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training depends on, beside its data.

    Parameters
    ----------
    architecture
        `network` (`flow`, `zs` or `dain`) and its sizes; with `start_from`, those of its weights.
    loss
        Of the location: `charbonnier`, the published networks', or `mse`. A Charbonnier loss learns
        the median, which of few photons lies below the mean: `auto` takes it where all
        targets are clean, and `mse` else, so that intensities are kept. `mean` is `mse` with more
        weight, for targets of which two frames say little: what may be in either of two places is
        shown in both, and its intensity is kept. `structure` leaves
        pixels' noise and the uncertainty alone, for few noisy targets and trained weights.
    epochs, steps_per_epoch
        How long.
    batch, patch
        Crops a step, and pixels on a side of each.
    learning_rate, weight_decay
        Of AdamW, which is Adam without decay.
    schedule
        `cosine` lets the rate fall to zero over the training, `constant` leaves it.
    warm_up
        Share of the training in which the rate rises to `learning_rate`.
    gaps
        How many frames lie from the frame before to the one after: 2 rebuilds the one between,
        4 any of three.
    stages
        Weight of the loss of the stages (see `interface.Stage`) beside that of the frame.
    anywhere
        Share of the crops drawn anywhere; the others are where something happens.
    jitter
        How much the brightness of crops varies.
    wobble
        How unevenly things move between frames, as a share of the gap; see `movies.Crops`.
    low, high
        Percentiles of the normalization.
    screen
        Leave out copied and blended frames.
    start_from
        Weights to begin with. They are kept if no epoch is better on the validation part.
    validation_frames
        At most so many frames measure each epoch, and calibrate.
    precision
        Of the convolutions in training; see `models.precision.trained_in`.
    seed
        Of division, initial weights and crops.

    Raises
    ------
    ValueError
        A value cannot be.

    Examples
    --------
    >>> Recipe(architecture={"network": "zs"}, epochs=5).gaps
    (2, 3, 4)
    """

    architecture: dict[str, Any] = field(default_factory=lambda: {"network": "flow"})
    loss: Literal["auto", "charbonnier", "mse", "mean", "structure"] = "auto"
    epochs: int = 20
    steps_per_epoch: int = 200
    batch: int = 4
    patch: int = 128
    learning_rate: float = 4e-4
    weight_decay: float = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    warm_up: float = 0.02
    gaps: tuple[int, ...] = (2, 3, 4)
    stages: float = 0.5
    anywhere: float = 0.25
    jitter: float = 0.1
    wobble: float = 0.0
    low: float = 1.0
    high: float = 99.8
    screen: bool = True
    start_from: Path | None = None
    validation_frames: int = 24
    precision: Literal["auto", "single", "bfloat16"] = "auto"
    seed: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "gaps", tuple(self.gaps))
        for name in ("epochs", "steps_per_epoch", "batch", "validation_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}; accepted: 1 or more")
        if self.patch < 16:
            raise ValueError(f"patch: found {self.patch}; accepted: 16 or more")
        if not self.gaps or any(not isinstance(gap, int) or gap < 2 for gap in self.gaps):
            raise ValueError(f"gaps: found {list(self.gaps)}; accepted: whole numbers from 2")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate: found {self.learning_rate}; accepted: more than 0")
        for name in ("anywhere", "jitter", "wobble", "warm_up"):
            if not 0 <= getattr(self, name) < 1 and not (name == "anywhere" and self.anywhere == 1):
                raise ValueError(f"{name}: found {getattr(self, name)}; accepted: 0 to below 1")
        for name in ("stages", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: found {getattr(self, name)}; accepted: 0 or more")
        if not 0 <= self.low < self.high <= 100:
            raise ValueError(
                f"low, high: found {self.low} and {self.high}; accepted: 0 ≤ low < high ≤ 100"
            )
