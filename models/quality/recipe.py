"""How a quality network is trained, as one frozen record."""

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
        Key `network` names one of `network.NETWORKS`, the others are its parameters; None
        with `start_from`, whose network it then is.
    column
        Column of the table with the scores to learn.
    start_from
        Weights to begin with (fine-tuning), instead of random ones.
    heads_only
        Leave the convolutions of `start_from` as they are: the way for few ratings.
    seed
        Of split, initial weights and augmentation.
    epochs
        At most.
    patience
        Epochs without a smaller validation error after which training ends; None for never.
    batch
        Frames per step.
    optimizer
        `adam` or `adamw`, with a one-cycle learning rate for the latter.
    learning_rate, weight_decay
        Of the optimizer; the rate is the highest of the cycle.
    augmentation
        `turned`: flips and quarter turns of every frame, each epoch others. `doubled`: every
        frame and one turned or flipped copy, the same in each epoch, as in Robitaille et al.
    blurred, empty
        Shares of frames shown blurred (with less of their score), and replaced by noise.
    processed
        Share of frames shown as exports and scans may change them; see `processing`.
    variants
        With `heads_only`: ways to show each frame, whose features are computed once; None for
        other ways in each epoch.

    Examples
    --------
    >>> recipe = Recipe(start_from=Path("quality.safetensors"), heads_only=True)
    >>> recipe.epochs, recipe.patience
    (16, 10)
    """

    architecture: dict[str, Any] | None = field(default_factory=lambda: {"network": "stedfast"})
    column: str = "score"
    start_from: Path | None = None
    heads_only: bool = False
    seed: int = 1
    epochs: int = 16
    patience: int | None = 10
    batch: int = 32
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    augmentation: Literal["turned", "doubled"] = "turned"
    blurred: float = 0.15
    empty: float = 0.03
    processed: float = 0.0
    variants: int | None = None
