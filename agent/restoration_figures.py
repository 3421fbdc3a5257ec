"""The picture beside a restoration network's weights: curves, examples, and what sd is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TRAINING, _VALIDATION = "#0072B2", "#D55E00"
_IMAGES = ("input", "filtered", "target", "sd")
_LARGEST = 256


def draw_restoration(
    out: Path, card: dict[str, Any], examples: Sequence[dict[str, NDArray[np.float32]]]
) -> Path:
    """Draw `<out>.png`: learning curve, calibration, and a row of images for each example.

    Parameters
    ----------
    out
        Weights without ending.
    card
        As `models.restoration.train` returned it.
    examples
        Validation frames, as that gave them to `examples`.

    Returns
    -------
    Path
        The picture.
    """
    from matplotlib.figure import Figure

    rows = 1 + len(examples)
    figure = Figure(figsize=(12, 3.2 * rows), layout="constrained", dpi=100)
    grid = figure.add_gridspec(rows, 4)
    _curve(figure.add_subplot(grid[0, :2]), card)
    _calibration(figure.add_subplot(grid[0, 2:]), card)
    for row, example in enumerate(examples, start=1):
        for column, name in enumerate(_IMAGES):
            axes = figure.add_subplot(grid[row, column])
            _image(axes, name, example)
    picture = out.with_name(out.name + ".png")
    figure.savefig(picture)
    return picture


def _curve(axes: Any, card: dict[str, Any]) -> None:
    for number, history in enumerate(card["training"]["members"]):
        epochs = range(1, len(history["train_loss"]) + 1)
        names = ("training", "validation") if number == 0 else (None, None)
        axes.plot(epochs, history["train_loss"], color=_TRAINING, label=names[0])
        axes.plot(epochs, history["validation_loss"], color=_VALIDATION, label=names[1])
        axes.axvline(
            history["best_epoch"],
            color="0.6",
            linestyle=":",
            label="kept" if number == 0 else None,
        )
    axes.set(
        xlabel="epoch",
        ylabel="loss",
        title=f"{card['method']}, {card['data']['name']}: {card['recipe']['loss']}",
    )
    axes.legend(frameon=False)


def _calibration(axes: Any, card: dict[str, Any]) -> None:
    """Share of the targets in their intervals over the share that there should be."""
    found = card["metrics"]["validation"]
    nominal = [float(level) for level in found["coverage"]]
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.plot(nominal, list(found["coverage"].values()), "o-", color=_TRAINING, markersize=4)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        xlabel="nominal coverage",
        ylabel="targets covered",
        title=(
            "uncertainty: the least certain 10% of pixels\nhold"
            f" {found['most_uncertain_10']:.0%} of the squared error"
        ),
    )


def _image(axes: Any, name: str, example: dict[str, NDArray[np.float32]]) -> None:
    """One image of an example; all but the sd on the scale of what the network sees as 0 to 1."""
    middle = tuple(
        slice(max(0, (size - _LARGEST) // 2), max(0, (size - _LARGEST) // 2) + _LARGEST)
        for size in example[name].shape
    )
    shown = example[name][middle]
    limit = float(np.percentile(shown, 99.8)) if name == "sd" else 1.0
    axes.imshow(shown, cmap="magma" if name == "sd" else "gray", vmin=0, vmax=max(limit, 1e-6))
    axes.set_axis_off()
    axes.set_title(f"sd (white: {limit:.2f})" if name == "sd" else name, fontsize=9)
