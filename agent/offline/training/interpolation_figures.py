"""The picture beside an interpolator's weights: curves, what its sd is worth, and examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.offline.training.restoration_figures import (
    TRAINING,
    VALIDATION,
    coverage_panel,
    image_panel,
    save_small,
)

_IMAGES = ("before", "after", "rebuilt", "target", "sd")
_SIDE, _MOST = 96, 3


def draw_interpolation(
    out: Path, card: dict[str, Any], examples: Sequence[dict[str, NDArray[np.float32]]]
) -> Path:
    """Draw `<out>.png`: learning curves, calibration, and a row of images for each example.

    Parameters
    ----------
    out
        Weights without ending.
    card
        As `models.interpolation.train` returned it.
    examples
        Validation frames, as that gave them to `examples`; the first few are drawn.

    Returns
    -------
    Path
        The picture.
    """
    from matplotlib.figure import Figure

    examples = examples[:_MOST]
    figure = Figure(figsize=(10, 3.2 + 2.2 * len(examples)), layout="constrained", dpi=70)
    heights = [3.2, 2.2 * len(examples)]
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
    loss, errors, coverage = above.subplots(1, 3)
    _loss(loss, card)
    _errors(errors, card)
    coverage_panel(coverage, card["metrics"]["validation"]["coverage"])
    panels = below.subplots(len(examples), len(_IMAGES), squeeze=False)
    for row, example in zip(panels, examples, strict=True):
        for axes, name in zip(row, _IMAGES, strict=True):
            image_panel(axes, name, example[name], _SIDE)
    picture = out.with_name(out.name + ".png")
    save_small(figure, picture)
    return picture


def _loss(axes: Any, card: dict[str, Any]) -> None:
    history = card["training"]
    epochs = range(1, len(history["train_loss"]) + 1)
    axes.plot(epochs, history["train_loss"], color=TRAINING)
    axes.set(
        xlabel="epoch",
        ylabel="training loss",
        title=f"{card['architecture']['network']}, {card['data']['name']}: {card['loss']}",
    )


def _errors(axes: Any, card: dict[str, Any]) -> None:
    history = card["training"]
    errors = [-value for value in history["validation_db"]]
    axes.plot(range(1, len(errors) + 1), errors, color=VALIDATION, label="network")
    if "started_db" in history:
        axes.plot(0, -history["started_db"], "o", color=VALIDATION, label="started from")
    blend = card["metrics"]["validation"]["linear_psnr"]
    axes.axhline(blend, color="0.6", label="linear blend")
    axes.axvline(history["best_epoch"], color="0.6", linestyle=":", label="kept")
    axes.set(xlabel="epoch", ylabel="PSNR (dB)", title="validation")
    axes.legend(frameon=False)
