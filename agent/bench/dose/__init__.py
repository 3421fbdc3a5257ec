"""The same light, spent in three ways on a moving, bleaching sample, against its known truth.

Every frame with less light each, every second or third with more, or as few as the error bound
allows. What there is to compare is the whole movie, measured and rebuilt, on the virtual
microscope. Less light is a shorter dwell time: less power would cost resolution as well.

The bound is for rebuilt frames, and is held or not by these alone. Those between two frames that an
event falls between are counted apart: no method can know of it.

The adaptive time-lapse is led first, at full light a frame; the others get its total. Then
it is led with less light a frame, to find where it is as good as every frame at full light.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.dose.drive import Filmed, film
from agent.bench.dose.stage import FilmedSample, FilmStage, ScanLight
from agent.bench.measurement import Check, Measurement
from agent.bench.restoration.measures import fitted
from agent.config.reading import UserError
from agent.plans.adaptive.adaptive_schedule import AdaptiveGaps
from agent.plans.adaptive.alignment import Interpolates
from agent.plans.adaptive.drift_tracking import DriftTracker
from agent.plans.adaptive.schedule import FixedGaps, Rules, Schedule
from devices.affine import Affine
from devices.shot import Field

BOUND, CONFIDENCE, MOST = 0.3, 0.65, 3
"""Error bound, its confidence and the largest gap of the time-lapses; chosen."""
WINDOW = 10
"""Time points over which the error is to stay within the bound."""
# Scenes before this one were looked at while the time-lapse was developed.
_FIRST_SEED = 7
_SEEDS = 10
"""Scenes of each sort; chosen."""
_FIXED = (2, 3)
"""Fixed gaps that are compared (time points); chosen."""
_LESS = (0.4,)
"""Shares of the light of a full frame that are compared; chosen."""
_STRUCTURES = ("tubulin", "actin")
_QUICK_POINTS, _QUICK_SIDE = 20, 48
_FULL = ScanLight(excitation_w=8e-6, depletion_w=50e-3, dwell_s=4e-6)
Frame = NDArray[np.float64]


def measure(
    *, quick: bool, seeds: int | None, model: str | Path = "flow", first: int = _FIRST_SEED
) -> Measurement:
    """Film ten scenes in all ways.

    Parameters
    ----------
    quick
        One short scene: shows that it runs, and judges nothing.
    seeds
        How many scenes.
    model
        The interpolator.
    first
        Seed of the first scene.

    Raises
    ------
    UserError
        There is no such interpolator.
    """
    from models.interpolation import Interpolation

    try:
        # Asked with time running forwards only, which takes half as long.
        interpolation = Interpolation(model, "cpu", both_ways=False)
    except (OSError, ValueError) as error:
        raise UserError(f"bench dose: {error}") from None
    used = [first + i for i in range(seeds or (1 if quick else _SEEDS))]
    found = [one(scene_of(seed, quick=quick), interpolation) for seed in used]
    return judged(found, used)


def scene_of(seed: int, *, quick: bool = False) -> FilmedSample:
    """The filmed sample."""
    scene = FilmedSample(seed=seed, structure=_STRUCTURES[seed % len(_STRUCTURES)])
    if quick:
        return replace(scene, points=_QUICK_POINTS, side_px=_QUICK_SIDE, events=0)
    return scene


def one(scene: FilmedSample, interpolation: Interpolates) -> dict[str, Any]:
    """One scene filmed in all ways; light is that of every time point at full light."""
    truth = [FilmStage(scene, _FULL).truth(point) for point in range(scene.points)]
    rules = Rules(scene.points, gap=MOST, bound=BOUND, confidence=CONFIDENCE)
    done = film(FilmStage(scene, _FULL), _field(AdaptiveGaps, rules), interpolation)
    spent = len(done.taken) / scene.points
    fidelity = {
        "adaptive": _fidelity(done, truth),
        "every": _every(scene, spent, truth),
        "every, full light": _every(scene, 1.0, truth),
    }
    held = {}
    for gap in _FIXED:
        lapse = _field(FixedGaps, Rules(scene.points, gap=gap))
        taken = -(-(scene.points - 1) // gap) + 1
        fixed = film(FilmStage(scene, _light(spent * scene.points / taken)), lapse, interpolation)
        fidelity[f"skip {gap}"] = _fidelity(fixed, truth)
        held[f"skip {gap}"] = _windows(fixed, scene)["rebuilt"]
    curve = [(spent, fidelity["adaptive"])]
    for less in _LESS:
        lapse = _field(AdaptiveGaps, rules)
        again = film(FilmStage(scene, _light(less)), lapse, interpolation, judged=False)
        curve.append((less * len(again.taken) / scene.points, _fidelity(again, truth)))
    windows = _windows(done, scene)
    marks = [m for note in done.notes for m in note["frames"] if m["kind"] == "reconstructed"]
    expected = [mark["expected_error"] ** 2 for mark in marks if mark["expected_error"] is not None]
    return {
        "seed": scene.seed,
        "events": [(event.kind, event.at, event.lasts) for event in scene.happenings()],
        "noticed": [(n["point"], n["event"]) for n in done.notes if n["event"]],
        "gaps": [note["gap"] for note in done.notes],
        "taken": len(done.taken),
        "light": spent,
        "fidelity": fidelity,
        "curve": curve,
        "windows": windows,
        "windows of fixed skips": held,
        "back": [
            _back(done, event.at) for event in scene.happenings() if event.at < scene.points - 1
        ],
        "expected": expected,
        "true": list(done.true_error.values()),
        "audits": done.audits,
    }


def judged(found: Sequence[dict[str, Any]], seeds: Sequence[int]) -> Measurement:
    """The table, and whether the targets are met."""
    ways = ("every", *(f"skip {gap}" for gap in _FIXED), "adaptive")
    mean = {way: fmean(one["fidelity"][way] for one in found) for way in found[0]["fidelity"]}
    fixed = max(mean[f"skip {gap}"] for gap in _FIXED)
    held = [window <= BOUND for one in found for window in one["windows"]["rebuilt"]]
    surprised = [error <= BOUND for one in found for error in one["windows"]["of events"]]
    audits = [audit for one in found for audit in one["audits"]]
    estimated, true = (math.sqrt(max(fmean(a[i] for a in audits), 0.0)) for i in (2, 3))
    expected = math.sqrt(fmean([e for one in found for e in one["expected"]] or [0.0]))
    really = math.sqrt(max(fmean([e for one in found for e in one["true"]] or [0.0]), 0.0))
    back = [frames for one in found for frames in one["back"]]
    checks = [
        Check(
            "adaptive over every frame, same light",
            mean["adaptive"] - mean["every"],
            ">=",
            1.0,
            "dB",
        ),
        Check("adaptive over the best fixed skip", mean["adaptive"] - fixed, ">=", -0.1, "dB"),
        Check("windows within the bound, rebuilt frames alone", _share(held), ">=", 0.95),
        Check("light for every frame's fidelity", _light_for(found, mean), "<=", 1 / 3),
        Check("error by audits, over the true one: off by", abs(estimated / true - 1), "<=", 0.2),
        Check(
            "error expected of rebuilt frames: off by",
            abs(expected / max(really, 1e-9) - 1),
            "<=",
            0.2,
        ),
        Check(
            "frames until every time point is taken, after an event", max(back, default=0), "<=", 2
        ),
    ]
    rows = [
        (
            one["seed"],
            one["taken"],
            f"{one['light']:.2f}",
            *(f"{one['fidelity'][way]:.2f}" for way in ways),
            f"{_share([w <= BOUND for w in one['windows']['rebuilt']]):.2f}",
            _counted([error <= BOUND for error in one["windows"]["of events"]]),
            ", ".join(f"{kind} {at}" for kind, at, _ in one["events"]),
        )
        for one in found
    ]
    means = [f"{mean[way]:.2f}" for way in ways]
    rows.append(("mean", "", "", *means, f"{_share(held):.2f}", _counted(surprised), ""))
    for gap in _FIXED:
        windows = [
            w <= BOUND for one in found for w in one["windows of fixed skips"][f"skip {gap}"]
        ]
        rows.append((f"skip {gap}", *[""] * (2 + len(ways)), f"{_share(windows):.2f}", "", ""))
    return Measurement(
        (
            "seed",
            "frames",
            "light",
            *(f"{way} (dB)" for way in ways),
            "windows held",
            "of events",
            "events",
        ),
        rows,
        checks,
        raw={"scenes": list(found), "mean": mean},
        seeds=seeds,
    )


def _field(kind: Callable[[DriftTracker, Rules], Schedule], rules: Rules) -> Schedule:
    return kind(DriftTracker(Field(0, 0.0, 0.0), Affine.square(0.02), 1.0), rules)


def _light(share: float) -> ScanLight:
    """Less or more light than full: another dwell time."""
    return ScanLight(
        excitation_w=_FULL["excitation_w"],
        depletion_w=_FULL["depletion_w"],
        dwell_s=_FULL["dwell_s"] * share,
    )


def _every(scene: FilmedSample, share: float, truth: Sequence[Frame]) -> float:
    """Fidelity of every time point at a share of the full light."""
    stage = FilmStage(scene, _light(share))
    return fmean(decibels(stage.take(point), truth[point]) for point in range(scene.points))


def _fidelity(done: Filmed, truth: Sequence[Frame]) -> float:
    return fmean(decibels(done.movie[point], frame) for point, frame in enumerate(truth))


def decibels(frame: NDArray[Any], truth: Frame) -> float:
    """Peak signal-to-noise ratio (dB) of a frame, fitted by a line to the truth.

    The peak is the truth's range, from its darkest to its 99.8 percentile.
    """
    span = float(np.percentile(truth, 99.8) - truth.min())
    error = float(np.mean((fitted(frame, truth) - truth) ** 2))
    return 10 * math.log10(max(span, 1e-12) ** 2 / max(error, 1e-12))


def _windows(done: Filmed, scene: FilmedSample) -> dict[str, list[float]]:
    """Root-mean-square errors of rebuilt frames.

    `rebuilt`: of those in each window of time points that has any, but for those of events.
    `of events`: of each frame between two that an event falls between, alone.
    """
    events = scene.happenings()
    surprised = {
        point
        for point, ends in done.between.items()
        if any(event.falls_between(*ends) for event in events)
    }
    foreseeable = {p: e for p, e in done.true_error.items() if p not in surprised}
    windows: list[float] = []
    for start in range(scene.points - WINDOW + 1):
        known = [foreseeable[p] for p in range(start, start + WINDOW) if p in foreseeable]
        if known:
            windows.append(math.sqrt(max(fmean(known), 0.0)))
    of_events = [math.sqrt(max(done.true_error[p], 0.0)) for p in sorted(surprised)]
    return {"rebuilt": windows, "of events": of_events}


def _share(held: Sequence[bool]) -> float:
    """Share that holds; NaN of none, which no check takes for held."""
    return fmean(held) if held else float("nan")


def _counted(held: Sequence[bool]) -> str:
    return f"{sum(held)} of {len(held)}"


def _back(done: Filmed, event: int) -> int:
    """How many frames were taken, from the first that shows an event, until none was skipped."""
    after = [point for point in done.taken if point >= event]
    for count, (this, following) in enumerate(pairwise(after), 1):
        if following == this + 1:
            return count
    return len(after)


def _light_for(found: Sequence[dict[str, Any]], mean: dict[str, float]) -> float:
    """Light at which the adaptive movie is as good as every frame at full light, over that light.

    On the line through the mean fidelities at the logarithms of the mean lights.
    """
    light = [fmean(one["curve"][i][0] for one in found) for i in range(1 + len(_LESS))]
    fidelity = [fmean(one["curve"][i][1] for one in found) for i in range(1 + len(_LESS))]
    slope, offset = np.polyfit(fidelity, np.log(light), 1)
    return float(np.exp(slope * mean["every, full light"] + offset))
