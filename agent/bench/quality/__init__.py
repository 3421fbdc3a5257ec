"""The quality score against ground truth, on structures and dyes that it was not trained on."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from rich.progress import Progress
from scipy.ndimage import gaussian_filter

from agent.bench.measurement import Absent, Check, Measurement
from agent.bench.quality.sampling import CHANGES, after_changes, by_pixel_size, draw_scene
from agent.cli.terminal import err
from agent.offline.simulate import SetName, read_table, simulate_quality

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "sted"
"""Real STED frames, which are not part of the project; without them that part is left out."""

_SETS: tuple[tuple[SetName, int], ...] = (
    ("actin", 60),
    ("tubulin", 40),
    ("psd95", 40),
    ("dyes", 40),
)
_SCENES = 24
_TRAINING = 100
"""Frames of the training set whose labels the random system draws from."""
_SEEDS = 3
_FIRST_SEED = 1001
_TASTE = 0.5
"""The simulated person whose ratings are learned gives label ** 0.5: milder than the label."""


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """Score fresh test frames of several seeds; quick: one seed, a quarter of the frames."""
    import torch

    from models.quality import QualityScorer
    from models.quality.data import load
    from models.quality.scorer import PAPERS, SHIPPED

    used = [_FIRST_SEED + i for i in range(seeds or (1 if quick else _SEEDS))]
    scorers = {"stedfast": QualityScorer(SHIPPED), "robitaille": QualityScorer(PAPERS)}
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        system: {name: [] for name, _ in _SETS} for system in (*scorers, "random")
    }
    with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as place:
        folder = Path(place)
        _simulate(folder, used, quick)
        for seed in used:
            for name, _ in _SETS:
                rated = load(folder / f"{name}-{seed}")
                for system, scorer in scorers.items():
                    found[system][name].append(_judge(scorer, rated))
                known = np.array([float(row["score"]) for row in read_table(folder / _KNOWN)])
                found["random"][name].append(_random(rated.score.numpy(), known, seed))
        tuned = _fine_tuning(folder, used[0], quick)
    scenes = [draw_scene(used[0], i) for i in range(_SCENES // 3 if quick else _SCENES)]
    sizes = by_pixel_size(scorers["stedfast"], scenes, used[0])
    changes = after_changes(scorers["stedfast"], scenes, used[0])
    real = _real_frames(scorers["stedfast"]) if REAL.is_dir() else {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    cost = _cost(scorers["stedfast"])
    torch.set_num_threads(threads)
    return Measurement(
        columns=("system", "set", "RMSE", "Spearman", "90% intervals cover", "flagged"),
        rows=[
            (system, name, *(_spread(results, key) for key in _SHOWN))
            for system, sets in found.items()
            for name, results in sets.items()
        ]
        + [
            ("stedfast", f"{name} against 20 nm", *(_spread([one], key) for key in _SHOWN))
            for name, one in sizes.items()
        ]
        + [
            ("stedfast", f"{name} against itself", *(_spread([one], key) for key in _SHOWN))
            for name, one in changes.items()
        ],
        checks=[*_checks(found["stedfast"], real, cost, tuned), *_scan_checks(sizes, changes)],
        raw={
            "sets": found,
            "pixel_sizes": sizes,
            "changes": changes,
            "real": real,
            "cost": cost,
            "fine_tuning": tuned,
        },
        seeds=used,
        left_out=[] if real else [Absent(name, "no real frames") for name in _OF_REAL],
    )


_KNOWN = "training"
_OF_REAL = ("real frames that score above all spoiled copies", "real frames: steps that lower it")
_SHOWN = ("rmse", "spearman", "coverage_90", "flagged")


def _simulate(folder: Path, seeds: Sequence[int], quick: bool) -> None:
    """Make all test frames with pySTED's raster scan, and 50 to learn a person's taste from."""
    jobs = [
        (f"{name}-{seed}", name, max(10, count // 4) if quick else count, seed)
        for seed in seeds
        for name, count in _SETS
    ]
    jobs.append(("ratings", "robitaille", 50, seeds[0]))
    jobs.append((_KNOWN, "training", _TRAINING // 4 if quick else _TRAINING, seeds[0]))
    with Progress(console=err, transient=True) as bar:
        task = bar.add_task("simulating", total=sum(job[2] for job in jobs))
        for where, name, count, seed in jobs:
            for _ in simulate_quality(folder / where, count, seed, os.cpu_count(), name):
                bar.advance(task)


def _judge(scorer: Any, rated: Any) -> dict[str, float]:
    """Figures of one scorer on one set."""
    import torch

    from models.quality.figures import covered, rmse, spearman

    scores = [scorer.score(tifffile.imread(rating.path), 20.0) for rating in rated.ratings]
    value = torch.tensor([score.value for score in scores])
    sd = torch.tensor([score.sd for score in scores])
    return {
        "frames": len(scores),
        "rmse": rmse(value, rated.score),
        "spearman": spearman(value, rated.score),
        "coverage_90": covered(value, sd, rated.score),
        "flagged": fmean(bool(score.flags) for score in scores),
    }


def _random(label: NDArray[np.float32], known: NDArray[np.float64], seed: int) -> dict[str, float]:
    """The paper's random system: a score drawn from the training labels (`known`)."""
    drawn = np.random.default_rng(seed).choice(known, (1000, len(label)))
    return {
        "frames": len(label),
        "rmse": float(np.sqrt(((drawn - label) ** 2).mean())),
        "spearman": 0.0,
        "coverage_90": float("nan"),
        "flagged": 0.0,
    }


def _spread(results: Sequence[dict[str, float]], key: str) -> str:
    values = [result[key] for result in results]
    if np.isnan(values).any():
        return "-"
    return f"{fmean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")


def spoiled(frame: NDArray[Any], seed: int = 0) -> dict[str, list[NDArray[Any]]]:
    """Copies of a frame (counts), each list from slightly to badly spoiled in one way."""
    rng = np.random.default_rng(seed)
    counts = frame.astype(np.int64)
    mean = float(frame.mean())
    return {
        "blurred": [gaussian_filter(frame.astype(np.float32), sigma) for sigma in (1, 2, 4)],
        "thinned": [rng.binomial(counts, share) for share in (0.5, 0.25, 0.1)],
        "background": [counts + rng.poisson(more * mean, frame.shape) for more in (0.5, 1, 2, 4)],
    }


def _real_frames(scorer: Any) -> dict[str, Any]:
    """Each real frame against spoiled copies of itself, in its eight orientations.

    Orientations of a frame are no samples of their own: a frame counts once.
    """
    first, falling, scores = [], [], {}
    for path in sorted(REAL.glob("*.tif")):
        frame = tifffile.imread(path)
        wins: list[bool] = []
        falls: list[bool] = []
        for turn in range(8):
            turned = np.rot90(frame, turn % 4)
            turned = np.ascontiguousarray(turned[:, ::-1] if turn > 3 else turned)
            original = scorer.score(turned, 20.0).value
            for kind, copies in spoiled(turned, seed=turn).items():
                values = [scorer.score(copy, 20.0).value for copy in copies]
                wins += [original > value for value in values]
                falls += [a > b for a, b in zip([original, *values], values, strict=False)]
                if turn == 0:
                    scores[f"{path.stem} {kind}"] = [round(v, 3) for v in (original, *values)]
        first.append(all(wins))
        falling.append(fmean(falls))
    return {
        "frames": len(first),
        "first": fmean(first),
        "falls": fmean(falling),
        "falls_of_each": falling,
        "scores": scores,
    }


def _cost(scorer: Any) -> dict[str, Any]:
    """One frame's whole score over the bare forward pass, by turns, in time of one processor.

    Others on the machine then change it little.
    """
    import torch

    from models.quality.preparing import prepare

    frame = np.random.default_rng(0).poisson(3.0, (224, 224)).astype(np.uint16)
    tiles = torch.from_numpy(prepare(frame, 20.0)[0][:, None])

    def bare() -> None:
        with torch.inference_mode():
            scorer.network(tiles)

    def whole() -> None:
        scorer.score(frame, 20.0)

    ratios, times = [], []
    for _ in range(7):
        pair = [_seconds(work) for work in (bare, whole)]
        times.append(pair)
        ratios.append(pair[1] / pair[0])
    batch = [frame] * 8
    together = _seconds(lambda: scorer.score_batch(batch, 20.0), 10) / 8
    return {
        "ratio": median(ratios),
        "ratios": ratios,
        "bare_ms": median(pair[0] for pair in times) * 1e3,
        "score_ms": median(pair[1] for pair in times) * 1e3,
        "score_in_batch_of_8_ms": together * 1e3,
    }


def _seconds(work: Callable[[], object], repeats: int = 40) -> float:
    work()
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return median(taken)


def _fine_tuning(folder: Path, seed: int, quick: bool) -> dict[str, float]:
    """RMSE against another (simulated) person's taste, before and after 50 of their ratings."""
    import torch

    from agent.offline.training.quality import recipe_of
    from models.quality import QualityScorer
    from models.quality.data import load
    from models.quality.figures import rmse
    from models.quality.scorer import SHIPPED
    from models.quality.training import train

    table = folder / "ratings" / "frames.csv"
    lines = table.read_text().splitlines()
    rng = np.random.default_rng(seed)
    rated = ["file,score"]
    for line in lines[1:]:
        name, label = line.split(",")[:2]
        rating = np.clip(float(label) ** _TASTE + rng.normal(0, 0.08), 0, 1)
        rated.append(f"{name},{rating}")
    ratings = folder / "ratings" / "taste.csv"
    ratings.write_text("\n".join(rated) + "\n")
    test = load(folder / f"actin-{seed}")
    wanted = test.score**_TASTE

    def error(weights: Path) -> float:
        scorer = QualityScorer(weights)
        scores = [scorer.score(tifffile.imread(r.path), 20.0).value for r in test.ratings]
        return rmse(torch.tensor(scores), wanted)

    errors = {"shipped": error(SHIPPED)}
    for name in ("finetune", "default"):
        if quick and name == "default":
            continue
        train(ratings, folder / name, recipe_of(name))
        errors[name] = error(folder / f"{name}.safetensors")
    return errors


def _checks(
    ours: dict[str, list[dict[str, float]]],
    real: dict[str, Any],
    cost: dict[str, Any],
    tuned: dict[str, float],
) -> list[Check]:
    def mean(name: str, key: str) -> float:
        return fmean(result[key] for result in ours[name])

    checks = [
        Check("actin, held-out fields: RMSE", mean("actin", "rmse"), "<=", 0.05),
        Check("actin, held-out fields: Spearman", mean("actin", "spearman"), ">=", 0.95),
    ]
    for name in ("tubulin", "psd95", "dyes"):
        checks.append(Check(f"{name}, never seen: RMSE", mean(name, "rmse"), "<=", 0.08))
        checks.append(Check(f"{name}, never seen: Spearman", mean(name, "spearman"), ">=", 0.93))
    for name, _ in _SETS:
        share = mean(name, "coverage_90")
        checks.append(Check(f"{name}: 90% intervals cover at least", share, ">=", 0.85))
        checks.append(Check(f"{name}: 90% intervals cover at most", share, "<=", 0.95))
    if real:
        checks.append(Check(_OF_REAL[0], real["first"], ">=", 1.0))
        checks.append(Check(_OF_REAL[1], real["falls"], ">=", 1.0))
    checks.append(Check("score / bare forward pass", cost["ratio"], "<=", 1.3, "×"))
    ratio = tuned["finetune"] / tuned["shipped"]
    checks.append(Check("50 ratings: RMSE after / before fine-tuning", ratio, "<=", 1.0, "×"))
    return checks


def _scan_checks(
    sizes: dict[str, dict[str, float]], changes: dict[str, dict[str, float]]
) -> list[Check]:
    """Scores that do not depend on the scan, and scans that are named where they do."""
    checks = [
        Check(f"{name}: score against 20 nm, rms", one["rmse"], "<=", 0.05)
        for name, one in sizes.items()
    ]
    checks.append(Check("good frames flagged for their scan", changes["none"]["named"], "<=", 0.02))
    for name, (flag, _) in CHANGES.items():
        if flag:
            share = changes[name]["named"]
            checks.append(Check(f"{name}: flagged `{flag}`", share, ">=", 0.9))
        else:
            checks.append(
                Check(f"{name}: score against itself, rms", changes[name]["rmse"], "<=", 0.05)
            )
    return checks
