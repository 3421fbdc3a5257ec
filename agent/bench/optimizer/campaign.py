"""One engine on one task: its recommendation after every trial, and its merit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from agent.bench.optimizer.task import Task
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.protocol import Optimizer
from agent.optimizer.stedfast import StedfastOptimizer

FRONT_AFTER = 30
"""Trials before the Pareto fronts are compared."""


@dataclass(slots=True)
class EngineCourse:
    """An engine's way through a task.

    Attributes
    ----------
    at
        Numbers of trials after which it was asked for a recommendation.
    worth
        True merit of each recommendation.
    bleaching
        True share of the dye that those settings bleach.
    light
        Light that the trials had put on the sample by then.
    seconds
        Time of `ask` and `tell`, for every trial (s).
    front
        True (score, bleaching) of its Pareto-optimal settings after `FRONT_AFTER` trials.
    best
        The highest true merit that is known of the task.
    alike
        True merit of what one rule, the same for every engine, recommends from the same trials;
        none in files of earlier versions.
    """

    at: list[int] = field(default_factory=list)
    worth: list[float] = field(default_factory=list)
    bleaching: list[float] = field(default_factory=list)
    light: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    front: list[tuple[float, float]] = field(default_factory=list)
    best: float = 0.0
    alike: list[float] = field(default_factory=list)

    def regret(self, after: int, *, alike: bool = False) -> float:
        """What the settings recommended after so many trials are short of the best.

        Those that the engine recommends, or that the rule which is the same for all does.
        """
        return self.best - (self.alike if alike else self.worth)[self.at.index(after)]


def lead(engine: Optimizer, task: Task, trials: int, look_at: Sequence[int]) -> EngineCourse:
    """Let an engine work on a task; it is asked for a recommendation after `look_at` trials."""
    course, light = EngineCourse(), 0.0
    told: list[tuple[Settings, Outcome]] = []
    for number in range(1, trials + 1):
        started = time.perf_counter()
        settings = engine.ask()
        seconds = time.perf_counter() - started
        outcome = task.measure(settings, number)
        light += task.light(settings)
        started = time.perf_counter()
        engine.tell(settings, outcome)
        course.seconds.append(seconds + time.perf_counter() - started)
        told.append((settings, outcome))
        if number in look_at:
            course.alike.append(task.worth(_recommended(_knowing(told, task), task)))
            best = _recommended(engine, task)
            course.at.append(number)
            course.worth.append(task.worth(best))
            course.bleaching.append(task.truth(best).bleaching)
            course.light.append(light)
        if number == FRONT_AFTER:
            for settings in engine.front():
                true = task.truth(settings)
                course.front.append((true.score, true.bleaching))
    course.best = task.best_known
    return course


def _knowing(told: Sequence[tuple[Settings, Outcome]], task: Task) -> Optimizer:
    """The project's engine without memory, told the trials of another one."""
    engine = StedfastOptimizer(task.space, bleaching_limit=task.limit, seed=0)
    for settings, outcome in told:
        engine.tell(settings, outcome)
    return engine


def _recommended(engine: Optimizer, task: Task) -> Settings:
    try:
        return engine.recommend()
    except ValueError:  # every trial so far was flagged: it has to guess
        return task.space.sobol(1, 0)[0]
