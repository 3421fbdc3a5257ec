"""Restoration against the clean structure, which the virtual microscope knows.

All networks are of one size and trained on the same fields, whose structures and labels the test
fields do not have. That takes an hour or two on a CPU: with `--keep FOLDER` data and networks stay
there, and a second call continues from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from agent.bench.measurement import Check, Measurement, kept_in
from agent.bench.restoration import denoising, seams, speed, unsure
from agent.bench.restoration.classical import CLASSICAL, Filter
from agent.bench.restoration.measures import (
    contrast,
    energy,
    off_target_left,
    recall,
    similarity,
)
from agent.bench.restoration.study import DENOISING, FOREIGN, METHODS, TRAINED, StudyField, prepare
from agent.bench.restoration.study import fields as test_fields
from agent.bench.restoration.study import weights as weights_of
from models.restoration import Restorer

RAW = "raw"
SHIPPED, SMALL = "shipped", "shipped, small"
"""The bundled networks."""
_FIGURES = ("similarity", "contrast", "off-target left", "recall", "hallucinated")
_ASKED: tuple[tuple[str, str, Literal["<=", ">="], float], ...] = (
    ("off-target energy left", "off-target left", "<=", 0.2),
    ("recall of the skeleton", "recall", ">=", 0.95),
    ("energy without structure", "hallucinated", "<=", 0.02),
)


def measure(*, quick: bool, seeds: int | None, keep: Path | None = None) -> Measurement:
    """Simulate, train, filter and compare.

    Parameters
    ----------
    quick
        Few fields and a training of ten steps: shows that it runs, and judges nothing.
    seeds
        Not used: fields and networks have fixed seeds.
    keep
        Folder for data and networks.
    """
    with kept_in(keep) as folder:
        prepare(folder, quick=quick)
        found = {
            structure: {
                name: [_figures(run, field) for field in test_fields(folder, structure)]
                for name, run in _filters(folder, structure).items()
            }
            | {
                name: [_best_figures(runs, field) for field in test_fields(folder, structure)]
                for name, runs in CLASSICAL.items()
            }
            for structure in TRAINED
        }
        foreign = _foreign(folder)
        measured = [
            denoising.measure(folder, quick=quick),
            unsure.measure(folder),
            seams.measure(),
            speed.measure(quick=quick),
        ]
    checks = [check for structure in TRAINED for check in _checks(structure, found[structure])]
    return Measurement(
        columns=("structure", "filter", *_FIGURES),
        rows=[
            (structure, name, *(_pm([row[key] for row in rows]) for key in _FIGURES))
            for structure, filters in found.items()
            for name, rows in filters.items()
        ],
        checks=checks + [check for part in measured for check in part.checks],
        raw={"fields": found, "foreign": foreign, **{p.name: p.raw for p in measured}},
        seeds=(),
        left_out=[absent for part in measured for absent in part.left_out],
    )


def _filters(folder: Path, structure: str) -> dict[str, Filter]:
    """Raw, the methods' networks and the shipped ones."""
    models: dict[str, str | Path] = {
        name: weights_of(folder, structure, name) for name in METHODS if name not in DENOISING
    }
    models |= {SHIPPED: structure, SMALL: f"{structure}-small"}
    return {RAW: np.asarray} | {name: _filter(model) for name, model in models.items()}


def _filter(model: str | Path) -> Filter:
    restorer = Restorer(model, device="cpu")
    return lambda frame: restorer.restore(frame).image


def _figures(run: Filter, field: StudyField) -> dict[str, float]:
    raw, clean, off_target = field["label_a"], field["clean"], field["off_target_a"]
    image = run(raw)
    return {
        "similarity": similarity(image, clean),
        "contrast": contrast(image, clean),
        "off-target left": off_target_left(image, raw, clean, off_target),
        "recall": recall(image, clean),
        "hallucinated": energy(run(field["empty_a"])) / max(energy(image), 1e-12),
    }


def _best_figures(runs: Sequence[Filter], field: StudyField) -> dict[str, float]:
    """Those of the one that comes closest to the clean structure, which favours it."""
    return max((_figures(run, field) for run in runs), key=lambda figures: figures["similarity"])


def _foreign(folder: Path) -> dict[str, dict[str, float]]:
    """Effect of networks for one structure on another, and on a frame with shuffled pieces."""
    reported = {}
    for structure in TRAINED:
        run = _filter(structure)
        rows = [_figures(run, field) for field in test_fields(folder, FOREIGN)]
        shuffled = [_gained_shuffled(run, field) for field in test_fields(folder, structure)]
        reported[structure] = {
            f"{FOREIGN}: {key}": float(np.nanmean([row[key] for row in rows])) for key in _FIGURES
        } | {"shuffled: similarity gained": float(np.mean(shuffled))}
    return reported


def _gained_shuffled(run: Filter, field: StudyField) -> float:
    """What filtering adds to the similarity where the field's pieces are in another order."""
    frame, clean = _shuffled(field["label_a"]), _shuffled(field["clean"])
    return similarity(run(frame), clean) - similarity(frame, clean)


def _shuffled(frame: NDArray[Any], side: int = 32) -> NDArray[Any]:
    """The frame's squares in another order, always the same."""
    rows, columns = (n // side for n in frame.shape)
    squares = [
        frame[r * side : (r + 1) * side, c * side : (c + 1) * side]
        for r in range(rows)
        for c in range(columns)
    ]
    order = np.random.default_rng(0).permutation(len(squares))
    mixed = [squares[at] for at in order]
    return np.block([[mixed[r * columns + c] for c in range(columns)] for r in range(rows)])


def _checks(structure: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> list[Check]:
    def mean(name: str, key: str) -> float:
        return float(np.nanmean([row[key] for row in found[name]]))

    gained = mean("l2l, MS-SSIM", "contrast") - mean("l2l, MAE", "contrast")
    checks = [
        Check(
            f"{structure}: off-target energy left, n2n", mean("n2n", "off-target left"), ">=", 0.8
        ),
        Check(f"{structure}: contrast, MS-SSIM − MAE", gained, ">=", 0.0),
    ]
    checks += [
        Check(f"{structure}: {what}, {SHIPPED}", mean(SHIPPED, key), relation, target)
        for what, key, relation, target in _ASKED
    ]
    return checks


def _pm(values: Sequence[float]) -> str:
    """Mean ± standard error over the fields."""
    known = np.array([value for value in values if np.isfinite(value)])
    if not len(known):
        return "–"
    error = known.std(ddof=1) / np.sqrt(len(known)) if len(known) > 1 else float("nan")
    return f"{known.mean():.3f} ± {error:.3f}"
