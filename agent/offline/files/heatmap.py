"""`stedfast score --heatmap`: a frame, and which parts of it drive its score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agent.config.reading import UserError
from agent.offline.files.opening import opened, pixel_size_of
from agent.offline.files.scoring import open_scorer
from devices.recorded import Part


def draw_heatmap(
    files: Sequence[Path],
    pixel_size_nm: float | None,
    weights: Path | None,
    picture: Path,
    part: Part | None = None,
) -> None:
    """Draw one frame beside the score that it loses with the detail of each of its parts.

    Raises
    ------
    UserError
        More than one frame, a frame that cannot be scored, or a picture that cannot be written.
    """
    from matplotlib.figure import Figure

    from models.quality.heatmap import heatmap

    if len(files) != 1:
        raise UserError(f"--heatmap: found {len(files)} files; accepted: one, of one frame")
    with opened(files[0], part) as images:
        size, _ = pixel_size_of(images, pixel_size_nm)
        if len(images) != 1:
            raise UserError(f"--heatmap: {files[0]}: found {len(images)} frames; accepted: one")
        frame, scorer = images[0], open_scorer(weights)
    try:
        score, heat = scorer.score(frame, size), heatmap(scorer, frame, size)
    except ValueError as error:
        raise UserError(f"--heatmap: {files[0]}: {error}") from None
    figure = Figure(figsize=(11, 5), layout="constrained", dpi=110)
    plain, explained = figure.subplots(1, 2)
    height, width = (n * size * 1e-3 for n in frame.shape)
    extent = (0.0, width, height, 0.0)
    low, high = np.percentile(frame, (1, 99.8))
    for panel in (plain, explained):
        panel.imshow(frame, cmap="gray", vmin=low, vmax=high, extent=extent)
        panel.set(xlabel="µm", ylabel="µm")
    flagged = f", flagged: {', '.join(score.flags)}" if score.flags else ""
    plain.set_title(f"{files[0].name}: score {score.value:.2f} ± {score.sd:.2f}{flagged}")
    top = max(float(np.abs(heat).max()), 1e-6)
    drawn = explained.imshow(
        heat,
        cmap="PuOr_r",
        vmin=-top,
        vmax=top,
        alpha=np.clip(np.abs(heat) / top, 0, 0.7),
        extent=extent,
    )
    explained.set_title("score lost with the fine detail around each place")
    figure.colorbar(drawn, ax=explained)
    try:
        figure.savefig(picture)
    except (OSError, ValueError) as error:
        raise UserError(f"--heatmap {picture}: cannot be written: {error}") from None
