"""Time-lapses on the quick virtual microscope: the real plan, led through frames in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.dose.stage import Stage
from agent.config import TimelapseConfig
from agent.lapse.aligned import Interpolates, between
from agent.lapse.error import UNKNOWN, Detector, seen, squared_error
from agent.lapse.field import Lapse
from agent.lapse.light import Light
from agent.plan import Answer, Frame, Note, Rebuild, Rebuilt
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
        Of each rebuilt frame, by time point: relative root-mean-square error against the mean that
        the sample had at that time.
    audits
        (time point, gap, estimated squared error, true one) of every frame that was compared.
    notes
        What the plan noted.
    """

    movie: dict[int, Map] = field(default_factory=dict)
    taken: list[int] = field(default_factory=list)
    true_error: dict[int, float] = field(default_factory=dict)
    audits: list[tuple[int, int, float, float]] = field(default_factory=list)
    notes: list[dict[str, Any]] = field(default_factory=list)


def film(
    stage: Stage,
    lapse: Lapse,
    interpolation: Interpolates,
    *,
    budget: Mapping[str, float] | None = None,
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
    budget
        Of `frames`, if there is one: how many.
    """
    points = stage.scene.points
    light = Light(lambda settings, pixels: {"frames": 1.0}, budget or {}, {})
    plan = skipping(TimelapseConfig(frames=points, interval_s=0.0), [lapse], light)
    done = Filmed()
    means = _Means(stage)
    frames: list[NDArray[Any]] = []
    answer: Answer = None
    while True:
        try:
            step = plan.send(answer)
        except StopIteration:
            return done
        answer = None
        if isinstance(step, Shot):
            point = int(step.at_s or 0) if not step.purpose else _point(step.purpose)
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


class _Means:
    """Frames without noise, each from before the light of the frame that is taken then."""

    def __init__(self, stage: Stage) -> None:
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
    means: _Means,
    interpolation: Interpolates,
    done: Filmed,
) -> Rebuilt:
    (first, start), (last, end) = request.before, request.after

    def at(point: int) -> tuple[Map, float]:
        t = (point - start) / (end - start)
        made = between(interpolation, frames[first], frames[last], t, request.drift_px)
        return made.image.astype(float), made.uncertainty

    unsure, errors = [], []
    for point in request.points:
        image, uncertainty = at(point)
        done.movie[point] = image
        done.true_error[point] = float(np.sqrt(_true(image, means[point])))
        unsure.append(uncertainty)
    for index, point in request.audits:
        image, uncertainty = at(point)
        found = squared_error(image, frames[index], Detector())
        unsure.append(uncertainty)
        errors.append(None if found is UNKNOWN else (found.value, found.sd))
        done.audits.append((point, end - start, found.value, _true(image, means[point])))
    return Rebuilt(tuple(unsure), tuple(errors)) if request.wait else Rebuilt()


def _true(image: Map, mean: Map) -> float:
    """Squared error of a rebuilt frame, as `agent.lapse.error.squared_error` would have it."""
    return float(np.mean(seen(image - mean) ** 2) / max(float(np.var(seen(mean))), 1e-12))


def _point(purpose: str) -> int:
    return int(purpose.removeprefix("time point ").split(",")[0])


def _no_score() -> Score:
    raise AssertionError("nobody scores here")
