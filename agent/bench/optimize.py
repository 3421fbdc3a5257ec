"""Start against best settings of the default config, over seeds."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from agent.bench.measurement import Check, Measurement
from agent.config import load
from agent.record.summary import summarize
from agent.run import Session

_SEEDS = 5


def measure(*, quick: bool, seeds: int | None) -> Measurement:
    """Run `configs/optimize.yaml` with several seeds; quick: fewer trials, two seeds."""
    source = Path(__file__).parents[2] / "configs" / "optimize.yaml"
    overrides = ["optimize.trials=10", "optimize.retest_fields=2"] if quick else []
    used = list(range(1, (seeds or (2 if quick else _SEEDS)) + 1))
    rows: list[tuple[Any, ...]] = []
    raw = []
    folder = Path(tempfile.mkdtemp(prefix="stedfast-bench-"))
    try:
        for seed in used:
            config = load(source, [*overrides, f"seed={seed}"])
            run = folder / str(seed)
            run.mkdir()
            started = time.perf_counter()
            result = Session(config, source, run).run()
            seconds = time.perf_counter() - started
            summary = summarize(run)
            raw.append({"seed": seed, "seconds": seconds, "status": result.status, **summary})
            rows.append((seed, *_row(summary), f"{seconds:.0f}"))
            shutil.rmtree(run)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    done = [run for run in raw if run["start"]["score"]["n"] and run["best"]["score"]["n"]]
    gains = [run["best"]["score"]["mean"] - run["start"]["score"]["mean"] for run in done]
    limit = load(source).optimize.bleaching_limit
    checks = [
        Check("runs completed", len(done), ">=", len(used), "runs"),
        Check("smallest gain in mean score", min(gains, default=-1.0), ">=", 1e-9),
        Check(
            "largest mean bleaching at the best settings",
            max((run["best"]["bleaching"]["mean"] for run in done), default=1.0),
            "<=",
            limit,
        ),
        Check("longest run", max(run["seconds"] for run in raw), "<=", 240, "s"),
    ]
    return Measurement(
        columns=("seed", "start score", "best score", "best bleaching", "best settings", "s"),
        rows=rows,
        checks=checks,
        raw={"runs": raw},
        seeds=used,
    )


def _row(summary: dict[str, Any]) -> tuple[str, str, str, str]:
    def pm(part: dict[str, Any]) -> str:
        return "-" if part["mean"] is None else f"{part['mean']:.3f} ± {part['sd'] or 0:.3f}"

    settings = summary["best"]["settings"] or {}
    named = ", ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in settings.values())
    return (
        pm(summary["start"]["score"]),
        pm(summary["best"]["score"]),
        pm(summary["best"]["bleaching"]),
        named,
    )
