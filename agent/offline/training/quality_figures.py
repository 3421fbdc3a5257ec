"""The picture beside trained weights: learning curve, and scores against labels."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


def draw_training(out: Path, card: dict[str, Any]) -> Path:
    """Draw `<out>.png` from a model card and the predictions in `<out>.csv`.

    Parameters
    ----------
    out
        Weights without ending.
    card
        As `models.quality.train` returned it.

    Returns
    -------
    Path
        The picture.
    """
    from matplotlib.figure import Figure

    with out.with_name(out.name + ".csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["set"] for row in rows))
    figure = Figure(figsize=(4.2 * (1 + len(names)), 4.2), layout="constrained", dpi=100)
    axes = figure.subplots(1, 1 + len(names), squeeze=False)[0]
    history = card["training"]
    epochs = range(1, len(history["train_rmse"]) + 1)
    curve = axes[0]
    curve.plot(epochs, history["train_rmse"], color="#0072B2", label="training")
    curve.plot(epochs, history["validation_rmse"], color="#D55E00", label="validation")
    if history["best_epoch"]:
        curve.axvline(history["best_epoch"], color="0.6", linestyle=":", label="kept")
    curve.set(xlabel="epoch", ylabel="RMSE", ylim=(0, None), title="learning curve")
    curve.legend(frameon=False)
    for panel, name in zip(axes[1:], names, strict=True):
        mine = [row for row in rows if row["set"] == name]
        label, score, sd = ([float(row[key]) for row in mine] for key in ("label", "score", "sd"))
        panel.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        panel.errorbar(
            label, score, yerr=sd, fmt="o", color="#0072B2", ecolor="#0072B233", markersize=3
        )
        found = card["metrics"][name]
        panel.set(
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            xlabel="label",
            ylabel="score ± sd",
            aspect="equal",
            title=f"{name}: RMSE {found['rmse']:.3f}, Spearman {found['spearman']:.3f}",
        )
    picture = out.with_name(out.name + ".png")
    figure.savefig(picture)
    return picture
