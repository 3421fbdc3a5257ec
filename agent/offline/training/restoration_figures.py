"""The picture beside a restoration network's weights: curves, examples, and what sd is worth."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TRAINING, VALIDATION = "#0072B2", "#D55E00"
_IMAGES = ("input", "filtered", "target", "sd")
_LARGEST = 256
_COLORS = 48


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
    figure = Figure(figsize=(12, 3.2 * rows), layout="constrained", dpi=70)
    grid = figure.add_gridspec(rows, 4)
    _curve(figure.add_subplot(grid[0, :2]), card)
    _calibration(figure.add_subplot(grid[0, 2:]), card)
    for row, example in enumerate(examples, start=1):
        for column, name in enumerate(_IMAGES):
            axes = figure.add_subplot(grid[row, column])
            image_panel(axes, name, example[name], _LARGEST)
    picture = out.with_name(out.name + ".png")
    save_small(figure, picture)
    return picture


def save_small(figure: Any, picture: Path) -> None:
    """Save a figure with images of noise, which do not compress, in few colours, which do."""
    from PIL import Image

    drawn = BytesIO()
    figure.savefig(drawn)
    with Image.open(drawn) as full:
        full.convert("RGB").quantize(_COLORS, Image.Quantize.MAXCOVERAGE).save(
            picture, optimize=True
        )


def _curve(axes: Any, card: dict[str, Any]) -> None:
    for number, history in enumerate(card["training"]["members"]):
        epochs = range(1, len(history["train_loss"]) + 1)
        names = ("training", "validation") if number == 0 else (None, None)
        axes.plot(epochs, history["train_loss"], color=TRAINING, label=names[0])
        axes.plot(epochs, history["validation_loss"], color=VALIDATION, label=names[1])
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
    found = card["metrics"]["validation"]
    coverage_panel(axes, found["coverage"])
    axes.set_title(
        "uncertainty: the least certain 10% of pixels\nhold"
        f" {found['most_uncertain_10']:.0%} of the squared error"
    )


def coverage_panel(axes: Any, coverage: dict[str, float]) -> None:
    """Share of the targets in their intervals over the share that there should be."""
    nominal = [float(level) for level in coverage]
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.plot(nominal, list(coverage.values()), "o-", color=TRAINING, markersize=4)
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
        xlabel="nominal coverage",
        ylabel="targets covered",
        title="uncertainty",
    )


def image_panel(axes: Any, name: str, image: NDArray[np.float32], largest: int) -> None:
    """The middle of an image, at most so many pixels on a side; 0 is black and 1 white.

    Only one that is called `sd` has a scale of its own.
    """
    middle = tuple(
        slice(max(0, (size - largest) // 2), max(0, (size - largest) // 2) + largest)
        for size in image.shape
    )
    shown = image[middle]
    limit = float(np.percentile(shown, 99.8)) if name == "sd" else 1.0
    axes.imshow(shown, cmap="magma" if name == "sd" else "gray", vmin=0, vmax=max(limit, 1e-6))
    axes.set_axis_off()
    axes.set_title(f"sd (white: {limit:.2f})" if name == "sd" else name, fontsize=9)
