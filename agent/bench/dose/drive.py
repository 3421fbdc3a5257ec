"""Time-lapses on the quick virtual microscope: the real plan, led through frames in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.dose.stage import FilmStage
from agent.config.plans import TimelapseConfig
from agent.plan import Answer, Due, Frame, Late, Note, Rebuild, Rebuilt
from agent.plans.adaptive.alignment import Interpolates, audit, between
from agent.plans.adaptive.error import UNKNOWN
from agent.plans.adaptive.frame_noise import PHOTONS, smooth
from agent.plans.adaptive.light_budget import LightBudget
from agent.plans.adaptive.schedule import Schedule
from agent.plans.timelapse import skipping
from devices.shot import Shot
from models.quality.score import Score

Map = NDArray[np.float64]


@dataclass(slots=True)
class Filmed:
    """A time-lapse that was led to its end.

    Attributes
    ----------
    movie
        The frame of each time point, measured or rebuilt (counts).
    taken
        Time points that were acquired.
    true_error
        Squared error of each rebuilt frame, by time point: relative to the structure, against what
        the sample showed at that time, without noise. Unbiased, so that it may be negative.
    between
        Time points of the two frames that each rebuilt one was made from, by its own.
    audits
        (time point, gap, squared error as it was estimated, true one) of every comparison.
    notes
        What the plan noted.
    """

    movie: dict[int, Map] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)
    true_error: dict[int, float] = field(default_factory=dict)
    between: dict[int, tuple[int, int]] = field(default_factory=dict)
    audits: list[tuple[int, int, float, float]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)


def film(
    stage: FilmStage,
    lapse: Schedule,
    interpolation: Interpolates,
    *,
    judged: bool = True,
) -> Filmed:
    """Lead a time-lapse of one field to its end.

    Parameters
    ----------
    stage
        The microscope.
    lapse
        Decides.
    interpolation
        Rebuilds.
    judged
        Whether rebuilt frames are compared with the truth, which takes as long again.
    """
    points = stage.scene.points
    light = LightBudget(lambda settings, pixels: {}, {}, {})
    plan = skipping(TimelapseConfig(frames=points, interval_s=1.0), [lapse], light)
    done = Filmed()
    means = _Means(stage) if judged else None
    frames: list[NDArray[Any]] = []
    answer: Answer = None
    while True:
        try:
            step = plan.send(answer)
        except StopIteration:
            return done
        answer = None
        if isinstance(step, Shot):
            point = int(step.at_s or 0.0)
            if means is not None:
                means.up_to(point)
            pixels = stage.take(point)
            frames.append(pixels)
            done.movie[point] = pixels.astype(float)
            done.taken.append(point)
            answer = Frame(len(frames) - 1, step, {}, pixels, float(point), _no_score)
        elif isinstance(step, Note):
            done.notes.append(dict(step.data))
        elif isinstance(step, Rebuild):
            answer = _rebuild(step, frames, means, interpolation, done)
        elif isinstance(step, Due):
            answer = Late()  # scenes are filmed without a clock: nothing is late


class _Means:
    """Frames without noise, each from before the light of the frame that is taken then."""

    def __init__(self, stage: FilmStage) -> None:
        self._stage = stage
        self._known: list[Map] = []

    def up_to(self, point: int) -> None:
        while len(self._known) <= point:
            self._known.append(self._stage.mean(len(self._known)))

    def __getitem__(self, point: int) -> Map:
        return self._known[point]


def _rebuild(
    request: Rebuild,
    frames: Sequence[NDArray[Any]],
    means: _Means | None,
    interpolation: Interpolates,
    done: Filmed,
) -> Rebuilt:
    (first, start), (last, end) = request.before, request.after
    pair = frames[first], frames[last]
    unsure, errors = [], []
    for point in request.points:
        t = (point - start) / (end - start)
        made = between(interpolation, *pair, t, request.drift_px)
        done.movie[point] = made.image.astype(float)
        done.between[point] = start, end
        if means is not None:
            done.true_error[point] = _true(request, made.image, point, means, interpolation)
        unsure.append(made.uncertainty)
    for index, point in request.audits:
        t = (point - start) / (end - start)
        made, found = audit(interpolation, *pair, t, request.drift_px, frames[index], PHOTONS)
        unsure.append(made.uncertainty)
        errors.append(None if found is UNKNOWN else (found.value, found.sd))
        if found is not UNKNOWN and means is not None:
            truth = _true(request, made.image, point, means, interpolation)
            done.audits.append((point, end - start, found.value, truth))
    return Rebuilt(tuple(unsure), tuple(errors)) if request.wait else Rebuilt()


def _true(
    request: Rebuild,
    image: NDArray[Any],
    point: int,
    means: _Means,
    interpolation: Interpolates,
) -> float:
    """Squared error of a rebuilt frame without the noise it inherited, relative to the structure.

    A second one, rebuilt from the same moments with other noise, is wrong by the same: the mean
    product of their errors is the squared error that they share.
    """
    (first, start), (last, end) = request.before, request.after
    rng = np.random.default_rng((first, last))
    again = rng.poisson(means[start]), rng.poisson(means[end])
    t = (point - start) / (end - start)
    other = between(interpolation, again[0], again[1], t, request.drift_px).image
    mean = means[point]
    shared = np.mean(smooth(image - mean) * smooth(other - mean))
    return float(shared / max(float(np.var(smooth(mean))), 1e-12))


def _no_score() -> Score:
    raise AssertionError("these runs have no scorer")
