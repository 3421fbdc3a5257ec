"""The same runs on the double and on the virtual STED microscope itself, with the same seeds.

What the double scans is that very microscope at the values that it has accepted. Whatever gets lost
or changed on the way through the driver shows as another result: a setting, the place, the light.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import fmean, variance
from typing import Any

import yaml

from agent.bench.imspector.client import specpy_of
from agent.bench.imspector.sample import LASER_UNITS, SampleClock, VirtualSample
from agent.bench.imspector.server import FakeImspector
from agent.bench.imspector.tree import tree
from agent.bench.measurement import Check, Figures
from agent.config import load
from agent.record.folder import new_folder
from agent.record.load import read
from agent.record.summary import summary_of
from agent.run import Session
from agent.workers.score import Compute
from devices.sources import VirtualStedConfig

_SIDE = 64
_NOISE = 2.0
"""Standard errors of a difference of two means that are within the noise."""
_TRIALS, _QUICK_TRIALS = 10, 3
_POINTS, _QUICK_POINTS = 20, 6
_DIRECT, _THROUGH = "virtual microscope", "through Imspector"
_SAMPLES: Mapping[str, Mapping[str, Any]] = {
    "optimize": {"structure": "actin", "dye": "atto647n"},
    "timelapse": {
        "structure": "tubulin",
        "dye": "robust",
        "motion_nm_per_s": 0.5,
        "drift_nm_per_s": 0.3,
    },
}


@dataclass(frozen=True, slots=True)
class Ran:
    """A run.

    Parameters
    ----------
    status
        How it ended.
    figures
        What it found, and what it cost, by name.
    frames
        Checksums of its frames, in their order.
    """

    status: str
    figures: dict[str, float]
    frames: list[int]


def measure(seeds: Sequence[int], *, quick: bool, share: float = 1.0) -> Figures:
    """Both plans with each seed, in both ways.

    Parameters
    ----------
    seeds
        Of sample, noise and plan; at least two.
    quick
        Short runs: shows that it works.
    share
        Of the power that it is told, the power of the double's depletion laser.
    """
    rows, checks, raw = [], [], {}
    for plan in _SAMPLES:
        direct = [run(plan, seed, quick=quick) for seed in seeds]
        through = [run(plan, seed, quick=quick, through=True, share=share) for seed in seeds]
        for name in direct[0].figures:
            ours, theirs = (
                [found for one in ran if not math.isnan(found := one.figures[name])]
                for ran in (through, direct)
            )
            if not (ours or theirs):
                continue  # nothing was rebuilt, or the start was the best
            off = apart(ours, theirs)
            rows.append(
                (
                    f"{plan}: {name}",
                    f"{fmean(ours):.4g} {_THROUGH}, {fmean(theirs):.4g} on the {_DIRECT}"
                    f" ({off:.2g} standard errors apart)",
                )
            )
            checks.append(
                Check(f"{plan}: {name}, difference in standard errors", off, "<=", _NOISE)
            )
        done = sum(one.status == "completed" for one in [*direct, *through])
        checks.append(Check(f"{plan}: runs completed", done, ">=", 2 * len(seeds), "runs"))
        same = sum(
            a == b
            for one, other in zip(direct, through, strict=True)
            for a, b in zip(one.frames, other.frames, strict=False)
        )
        total = sum(len(one.frames) for one in direct)
        rows.append((f"{plan}: frames", f"{same} of {total} are the same, pixel for pixel"))
        checks.append(Check(f"{plan}: frames that are the same", same, ">=", total, "frames"))
        raw[plan] = {
            _DIRECT: [asdict(one) for one in direct],
            _THROUGH: [asdict(one) for one in through],
        }
    return Figures(rows, checks, raw)


def apart(ones: Sequence[float], others: Sequence[float]) -> float:
    """Difference of two means, in standard errors of that difference.

    Examples
    --------
    >>> round(apart([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]), 3)
    1.225
    >>> apart([1.0, 1.0], [1.0, 1.0]), apart([1.0, 1.0], [2.0, 2.0])
    (0.0, inf)
    """
    if min(len(ones), len(others)) < 2:
        return 0.0 if list(ones) == list(others) else math.inf
    off = abs(fmean(ones) - fmean(others))
    error = math.sqrt(sum(variance(values) / len(values) for values in (ones, others)))
    return off / error if error else math.inf if off else 0.0


def run(plan: str, seed: int, *, quick: bool, through: bool = False, share: float = 1.0) -> Ran:
    """One run, whose folder is gone afterwards."""
    server: AbstractContextManager[None] = nullcontext()
    if through:
        server = specpy_of(double(plan, seed, share))
    with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as folder, server:
        file = Path(folder) / "config.yaml"
        data = config_of(plan, seed, quick=quick, through=through)
        file.write_text(yaml.safe_dump(data), encoding="utf-8")
        config = load(file)
        place = new_folder(config, Path(folder), Path(folder) / "run")
        status = Session(config, file, place, scorer=_scorer()).run().status
        _, recording = read(place)
        summary = summary_of(place, config, recording)
    frames = [one.frame["crc32"] for _, one in sorted(recording.taken.items())]
    return Ran(str(status), _figures(plan, summary), frames)


def double(plan: str, seed: int, share: float = 1.0) -> FakeImspector:
    """The server that scans the sample of a plan's runs."""
    sample = VirtualSample(plan, VirtualStedConfig.model_validate(_virtual(plan)), seed, share)
    return FakeImspector(values=tree(_SIDE, units=LASER_UNITS), pixels=sample)


def _virtual(plan: str) -> dict[str, Any]:
    return {**_SAMPLES[plan], "width_px": _SIDE, "height_px": _SIDE, "size_um": 16}


def _figures(plan: str, summary: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, Any] = {
        "dose of excitation (J)": summary["dose"]["excitation_J"],
        "dose of depletion (J)": summary["dose"]["depletion_J"],
    }
    if plan == "optimize":
        found |= {
            "score at the start": summary["start"]["score"]["mean"],
            "score as recommended": summary["best"]["score"]["mean"],
        }
    else:
        found |= {
            "frames taken": summary["frames"]["acquired"],
            "error of rebuilt frames": (summary["lapse"]["error"] or [None])[0],
        }
    return {name: math.nan if value is None else float(value) for name, value in found.items()}


@cache
def _scorer() -> Compute:
    from models.quality import QualityScorer

    return QualityScorer().score_batch


def config_of(plan: str, seed: int, *, quick: bool, through: bool) -> dict[str, Any]:
    """The config of a run, in either way."""

    def bound(device: tuple[str, str], unit: str, most: float, start: float) -> dict[str, Any]:
        at = {"device": device[0], "property": device[1], "unit": unit}
        return {**at, "range": [0, most], "start": start, "safe": 0}

    excitation, depletion = ("Excitation", "Power_uW"), ("Depletion", "Power_mW")
    source: dict[str, Any] = {
        "virtual_sted": _virtual(plan),
        "clock": {"device": "Scan", "property": "Clock_s"},
    }
    if through:
        excitation, depletion = ("Exc_640", "Power"), ("STED_775", "Power")
        clock = {
            "class": f"{SampleClock.__module__}:{SampleClock.__name__}",
            "options": {"sample": plan},
        }
        source = {
            "imspector": {},
            "shutter": "Beam",
            "python_devices": {"Clock": clock},
            "clock": {"device": "Clock", "property": "Clock_s"},
        }
    sections: dict[str, Any] = {
        "optimize": {
            "trials": _QUICK_TRIALS if quick else _TRIALS,
            "bleaching_limit": 0.2,
            "retest_fields": 1 if quick else 3,
            "search": {
                "excitation_power": [0.5, 15],
                "depletion_power": [10, 300],
                "dwell_time": [2, 30],
            },
        },
        "timelapse": {
            "frames": _QUICK_POINTS if quick else _POINTS,
            "interval_s": 30,
            "acquire": "adaptive",
            "gap": 3,
            "error": 0.3,
            "drift": "measure",
        },
    }
    scanned = {"device": "Scan", "unit": "µs", "property": "DwellTime_us"}
    return {
        "plan": plan,
        "seed": seed,
        plan: sections[plan],
        "analysis": {"score": True},
        "microscope": {
            **source,
            "timeout_s": 120,
            "pixel_size_nm": 20,
            "fields": {"rows": 4, "columns": 4, "pitch_um": 2.5},
            "exposure": {"dwell_time": "dwell_time"},
            "settings": {
                "excitation_power": {**bound(excitation, "µW", 30, 6), "laser": "excitation"},
                "depletion_power": {**bound(depletion, "mW", 350, 30), "laser": "depletion"},
                "dwell_time": {**scanned, "range": [1, 100], "scale": "log", "start": 10},
            },
            "modes": {
                "sted": {},
                "confocal": {"excitation_power": 5, "depletion_power": 0, "dwell_time": 10},
            },
        },
    }
