"""A sample that drifts out of focus: what a time-lapse keeps of its score.

Whole runs on the virtual STED microscope, scored by the quality network. The sample rises by 200 nm
from one time point to the next. The same sample without a drift, imaged without a search for the
focus, is what each run is compared with.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from agent.bench.measurement import Check, Figures
from agent.bench.microscopes.failing_autofocus import FailingAutofocus
from agent.config import load
from agent.record.folder import new_folder
from agent.record.load import read
from agent.run import Session, open_microscope
from agent.workers.score import Compute

_POINTS = 40
_QUICK_POINTS = 12
_INTERVAL_S = 10.0
_DRIFT_UM_S = 0.02
_SIDE = 96
_SHARE = 0.1
"""Of an autofocus device's searches that fail."""
_KEPT = 0.9
"""Least share of the score without a drift that a run with focus keeps."""
_LOST = 0.5
"""Most of it that a run without focus keeps: a frame of half the score shows little structure."""
_PFS: Mapping[str, Any] = {"device": "PFS", "tries": 1, "timeout_s": 0.3}

_STILL, _WITHOUT = "no drift", "no focus"
_SWEEPS, _ONCE, _LOCKED, _FAILING = (
    "sweeps",
    "autofocus, full",
    "autofocus, continuous",
    "autofocus, failing",
)
_CASES: Mapping[str, Mapping[str, Any] | None] = {
    _STILL: None,
    _WITHOUT: None,
    _SWEEPS: {"every": 5},
    _ONCE: {"device": "Autofocus"},
    _LOCKED: {"device": "Autofocus", "using": "continuous"},
    _FAILING: _PFS,
}


@dataclass(frozen=True, slots=True)
class _Ran:
    """A run.

    Parameters
    ----------
    status
        How it ended.
    scores
        Of its time points.
    missing
        Time points without a frame.
    searches, failed
        How many there were, and how many found no focus.
    injected
        How many searches of the device were made to fail.
    marked
        Frames that say that the focus was not found, or not held.
    unmarked
        Time points of failed searches whose frames do not say so.
    """

    status: str
    scores: list[float]
    missing: int
    searches: int
    failed: int
    injected: int
    marked: int
    unmarked: int

    @property
    def score(self) -> float:
        return fmean(self.scores) if self.scores else 0.0


def measure(seeds: Sequence[int], *, quick: bool) -> Figures:
    """Every way to keep the focus, on the sample of each seed."""
    points = _QUICK_POINTS if quick else _POINTS
    found: dict[str, list[_Ran]] = {name: [] for name in _CASES}
    for seed in seeds:
        for name, focus in _CASES.items():
            found[name].append(_ran(name, focus, seed, points))
    kept = {
        name: [one.score / still.score for one, still in zip(ran, found[_STILL], strict=True)]
        for name, ran in found.items()
    }
    every = [one for ran in found.values() for one in ran]
    failing = found[_FAILING]
    checks = [
        Check(f"least score kept, {name}", min(kept[name]), ">=", _KEPT)
        for name in (_SWEEPS, _ONCE, _LOCKED, _FAILING)
    ]
    checks += [
        Check(f"most score kept, {_WITHOUT}", max(kept[_WITHOUT]), "<=", _LOST),
        Check("failures that are injected", sum(one.injected for one in failing), ">=", 1),
    ]
    none = {
        "runs that did not complete": sum(one.status != "completed" for one in every),
        "time points without a frame": sum(one.missing for one in every),
        "time points of failed searches without a mark": sum(one.unmarked for one in every),
    }
    checks += [Check(what, count, "<=", 0) for what, count in none.items()]
    return Figures(
        rows=[(name, _said(found[name], kept[name])) for name in _CASES],
        checks=checks,
        raw={name: [asdict(one) for one in ran] for name, ran in found.items()},
    )


def _said(ran: Sequence[_Ran], kept: Sequence[float]) -> str:
    scores = [one.score for one in ran]
    said = (
        f"score {fmean(scores):.3f} ({min(scores):.3f} … {max(scores):.3f}), "
        f"{fmean(kept):.2f} of that without a drift ({min(kept):.2f} … {max(kept):.2f})"
    )
    if searches := sum(one.searches for one in ran):
        failed, marked = sum(one.failed for one in ran), sum(one.marked for one in ran)
        said += f"; {failed} of {searches} searches failed, {marked} frames marked"
    return said


def _ran(name: str, focus: Mapping[str, Any] | None, seed: int, points: int) -> _Ran:
    """A whole run of its own, whose folder is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="stedfast-bench-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(yaml.safe_dump(_config(name, focus, seed, points)), encoding="utf-8")
        config = load(file)
        run = new_folder(config, Path(folder), Path(folder) / "run")
        with open_microscope(config, file) as microscope:
            device = FailingAutofocus.made[-1]
            device.scope = microscope.core
            session = Session(config, file, run, microscope=microscope, scorer=_scorer())
            result = session.run()
        _, recording = read(run)
    taken = [one for _, one in sorted(recording.taken.items()) if one.shot["mode"] == "sted"]
    notes = recording.notes_on("refocus")
    lost = {note["point"] for note in notes if not note["found"]}
    marked = {
        one.shot["point"]
        for one in taken
        if "focus not found" in one.shot["purpose"] or (one.frame.get("held") or {}).get("why")
    }
    return _Ran(
        result.status,
        [one.score.value for one in taken if one.score is not None],
        points - len({one.shot["point"] for one in taken}),
        len(notes),
        len(lost),
        len(device.failed),
        len(marked),
        len(lost - marked),
    )


@cache
def _scorer() -> Compute:
    from models.quality import QualityScorer

    return QualityScorer().score_batch


def _config(name: str, focus: Mapping[str, Any] | None, seed: int, points: int) -> dict[str, Any]:
    def power(device: str, prop: str, unit: str, top: float, start: float) -> dict[str, Any]:
        return {
            "device": device,
            "property": prop,
            "unit": unit,
            "range": [0, top],
            "start": start,
            "safe": 0,
            "laser": device.lower(),
        }

    drift_um_s = 0.0 if name == _STILL else _DRIFT_UM_S
    options = {"drift_um_s": drift_um_s, "share": _SHARE, "seed": seed}
    config: dict[str, Any] = {
        "plan": "timelapse",
        "seed": seed,
        "timelapse": {"frames": points, "interval_s": _INTERVAL_S},
        "analysis": {"score": True, "modes": ["sted"]},
        "microscope": {
            "virtual_sted": {
                "structure": "tubulin",
                "dye": "robust",
                "width_px": _SIDE,
                "height_px": _SIDE,
                "size_um": 16,
                "z_drift_nm_per_s": drift_um_s * 1e3,
                "focus_reach_um": 30,
            },
            "python_devices": {
                "PFS": {
                    "class": f"{FailingAutofocus.__module__}:{FailingAutofocus.__name__}",
                    "options": options,
                }
            },
            "timeout_s": 120,
            "pixel_size_nm": 20,
            "clock": {"device": "Scan", "property": "Clock_s"},
            "exposure": {"dwell_time": "dwell_time"},
            "settings": {
                "excitation_power": power("Excitation", "Power_uW", "µW", 30, 6),
                "depletion_power": power("Depletion", "Power_mW", "mW", 350, 30),
                "dwell_time": {
                    "device": "Scan",
                    "property": "DwellTime_us",
                    "unit": "µs",
                    "range": [1, 100],
                    "start": 10,
                },
            },
            "modes": {"sted": {}, "confocal": {"excitation_power": 5, "depletion_power": 0}},
        },
    }
    return config if focus is None else {**config, "focus": dict(focus)}
