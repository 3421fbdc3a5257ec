"""How a restoration network is trained, as one frozen record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from models.refusals import refused
from models.restoration.losses import SMALLEST

Method = Literal["l2l", "n2n", "n2v", "care", "cyclegan"]
LossName = Literal["mae", "mse", "ms_ssim3", "ms_ssim5", "mix", "laplace"]

METHODS: dict[str, str] = {
    "l2l": "pairs of two labels of one structure",
    "n2n": "pairs of two exposures of one label",
    "n2v": "single exposures, blind spots",
    "care": "pairs of low and high exposure",
    "cyclegan": "unpaired frames of two labels",
}
CHANNELS: dict[str, tuple[str, str]] = {
    "l2l": ("label_a", "label_b"),
    "n2n": ("label_a", "label_a_again"),
    "n2v": ("label_a", "label_a"),
    "care": ("label_a_low", "label_a"),
    "cyclegan": ("label_a", "label_b"),
}
"""Folders of input and target where the recipe names none."""
# Losses that are sums over pixels, so that they can be taken over some of them.
_BY_PIXEL = ("mae", "mse", "laplace")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that a training depends on, beside its data.

    Parameters
    ----------
    method
        Key of `METHODS`. `l2l`, `n2n` and `care` train alike and differ in their data.
    loss
        Of the location: `mae`, `mse`, `ms_ssim3`, `ms_ssim5`, `mix` (0.84 MS-SSIM + 0.16 MAE) or
        `laplace`, the likelihood of location and scale. With `cyclegan` it plays no part.
    architecture
        Parameters of `network.RestorationNet`.
    input, target
        Folders of the data with the frames; None for those of `CHANNELS`.
    members
        Networks of the ensemble, each from random weights and patches of its own.
    epochs, steps_per_epoch
        The published training has 100 × 400.
    batch, patch
        Patches a step, and pixels on a side of each.
    learning_rate
        Of Adam, at the beginning.
    schedule
        `plateau` halves the rate when `patience` epochs brought nothing; `cosine` lets it fall to
        zero over the training, `constant` leaves it.
    patience
        See `schedule`.
    anywhere
        Share of the patches drawn anywhere in a frame; the others have structure in their middle.
    low, high
        Percentiles of the normalization.
    register
        Find and correct shifts between input and target.
    distil_from
        Weights of a teacher: the network learns its output for the input, and no target.
    validation_frames
        At most so many frames measure each epoch; all of them calibrate and are in the card.
    pixel_nm
        Side of the frames' pixels (nm), which the card names; None: not known.
    precision
        Of the convolutions in training; see `models.precision.trained_in`.
    discriminator
        `cyclegan`: filters of the discriminators' first level.
    cycle, identity
        `cyclegan`: weights of the two losses beside the adversarial one.
    seed
        Of split, initial weights and patches.

    Raises
    ------
    ValueError
        The values do not go together.

    Examples
    --------
    >>> Recipe(method="n2n", loss="mse").channels
    ('label_a', 'label_a_again')
    """

    method: Method = "l2l"
    loss: LossName = "mix"
    architecture: dict[str, Any] = field(
        default_factory=lambda: {"depth": 2, "kernel": 3, "first": 16}
    )
    input: str | None = None
    target: str | None = None
    members: int = 1
    epochs: int = 20
    steps_per_epoch: int = 100
    batch: int = 8
    patch: int = 128
    learning_rate: float = 4e-4
    schedule: Literal["plateau", "cosine", "constant"] = "cosine"
    patience: int = 10
    anywhere: float = 0.25
    low: float = 2.0
    high: float = 99.8
    register: bool = True
    distil_from: Path | None = None
    validation_frames: int = 16
    pixel_nm: float | None = None
    precision: Literal["auto", "single", "bfloat16"] = "auto"
    discriminator: int = 32
    cycle: float = 10.0
    identity: float = 5.0
    seed: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method: {refused(self.method, METHODS)}")
        for name in ("members", "epochs", "steps_per_epoch", "batch", "validation_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: found {getattr(self, name)}; accepted: 1 or more")
        if self.pixel_nm is not None and not 0 < self.pixel_nm < math.inf:
            raise ValueError(f"pixel_nm: found {self.pixel_nm:g}; accepted: above 0")
        multiple = 2 ** self.architecture.get("depth", 2)
        if self.patch < 16 or self.patch % multiple:
            raise ValueError(
                f"patch: found {self.patch}; accepted: 16 and more, in multiples of {multiple}"
            )
        if self.patch < SMALLEST.get(self.loss, 0) and self.method != "cyclegan":
            raise ValueError(
                f"patch: found {self.patch}; accepted with the loss {self.loss}:"
                f" {SMALLEST[self.loss]} or more"
            )
        if self.method == "n2v" and self.loss not in _BY_PIXEL:
            raise ValueError(
                f"loss: found {self.loss!r}; accepted with n2v, which looks at single pixels:"
                f" {', '.join(_BY_PIXEL)}"
            )
        if self.distil_from is not None and self.method in ("n2v", "cyclegan"):
            raise ValueError(
                f"distil_from: not with the method {self.method}; accepted: l2l, n2n and care"
            )

    @property
    def channels(self) -> tuple[str, str]:
        """Folders of input and target."""
        own_input, own_target = CHANNELS[self.method]
        source = self.input or own_input
        if self.method == "n2v":
            return source, source
        return source, self.target or own_target
