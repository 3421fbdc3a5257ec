"""`stedfast check`: what a run would do, without any light, and why it would not get far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from agent.config import RunConfig
from agent.config.reading import UserError, located
from agent.record.dose import ROUNDING
from agent.run.space import FILTERED_BYTES, free_bytes, in_words
from devices.config import Value
from devices.microscope import Microscope


@dataclass(frozen=True, slots=True)
class Expected:
    """What to expect of a run; None where the plan has no end.

    Parameters
    ----------
    frames
        How many, if no flagged trial is taken again; the highest values below are for all repeats.
    exposure_s
        Time that light is on the sample (s), lowest and highest: at the starting settings for
        `live` and `timelapse`, between the cheapest and the dearest trial where settings are
        searched.
    duration_s
        The same with the waits between time points; moving and computing come on top.
    bytes
        Raw, filtered and rebuilt pixels on disk, at most.
    dose_J
        Light on the sample by laser (J), lowest and highest.
    fewest
        The lowest number of frames, where a time-lapse skips as many as it may and never searches.
    least_J
        The least light that a run takes (J), by laser: of its one frame at least where the plan has
        no end.
    field_J
        The same of each field that it looks at; None where it looks at none in particular.
    """

    frames: int | None
    exposure_s: tuple[float, float] | None
    duration_s: tuple[float, float] | None
    bytes: int | None
    dose_J: dict[str, tuple[float, float]] | None
    fewest: int | None = None
    least_J: dict[str, float] = field(default_factory=dict)
    field_J: dict[str, float] | None = None


def check_parts(config: RunConfig, source: Path) -> None:
    """Make the scorer that a run makes before it takes a frame.

    Engine, filter and interpolator are looked at when the microscope is opened.

    Raises
    ------
    UserError
        Its weights are missing, or cannot be used.
    """
    if config.analysis.score:
        from models.quality import QualityScorer

        weights = config.analysis.weights
        try:
            QualityScorer(source.parent / weights if weights else None)
        except (OSError, ValueError) as error:
            raise located(source, ("analysis", "weights"), str(error)) from None


def check_light(config: RunConfig, expected: Expected, source: Path) -> None:
    """Check that the light budgets allow the least that the run takes.

    Raises
    ------
    UserError
        One does not.
    """
    for section, least in (("budget_J", expected.least_J), ("per_field_J", expected.field_J or {})):
        for laser, joules in getattr(config.dose, section).items():
            if (needed := least.get(laser, 0.0)) > joules * (1 + ROUNDING):
                raise located(
                    source,
                    ("dose", section, laser),
                    f"{joules:g} J, and the run takes at least {needed:.3g} J; accepted: more, or "
                    "a run that takes less",
                )


def check_disk(
    config: RunConfig, expected: Expected, source: Path, folder: Path | None = None
) -> str:
    """Check that the frames fit where they are to be stored.

    Parameters
    ----------
    config, source
        What to do, and the file that says so.
    expected
        What to expect of it.
    folder
        The run's; in the config's `runs` if absent.

    Returns
    -------
    str
        How much the run needs, and what is free.

    Raises
    ------
    UserError
        They do not.
    """
    place = folder or config.runs
    free = free_bytes(place)
    needed = "no fixed size" if expected.bytes is None else in_words(expected.bytes)
    if free is None:
        return f"{needed}; it is not known how much is free"
    if (expected.bytes or 0) > free:
        what = f"the run needs {needed}, and the disk of {place} has {in_words(free)} left"
        if folder is not None:
            raise UserError(f"{source}: {what}")
        raise located(source, ("runs",), what)
    return f"{needed}, {in_words(free)} are free"


def expect(config: RunConfig, microscope: Microscope) -> Expected:
    """What the config's run would cost on this microscope."""
    plan = config.section
    points, fewest, frames = plan.planned_frames(), plan.fewest_frames(), plan.expected_frames()
    modes = plan.modes()
    if points is None or fewest is None or frames is None:
        start = {**config.microscope.start(), **config.microscope.modes[modes[0]]}
        return Expected(None, None, None, None, None, least_J=microscope.dose_j(start))
    low, high = _extremes(config)
    waits = plan.waits_s()
    each = plan.fewest_frames_of_a_field()
    most = frames + plan.repeated_frames()
    # Of each mode and its settings, how many frames there are at least and at most.
    edges: list[tuple[str, Mapping[str, Value], float, float]] = [
        (mode, told, fewest * share, most * share)
        for mode, told, share in plan.shares(config.microscope)
    ]
    trial, searching = config.optimize.modes(), plan.searching_frames()
    edges += [(mode, {}, 0.0, searching / len(trial)) for mode in trial if searching]
    swept = (0, 0)
    if (focus := config.focus) is not None and focus.sweeps:
        lapse = config.timelapse
        least, largest = focus.frames(lapse.frames)
        least = focus.planes if lapse.rebuilds() else least
        swept = lapse.fields * least, lapse.fields * largest
        edges.append((focus.looks_at(config.microscope.modes, lapse.mode), {}, *swept))
    depth = microscope.frame_bytes // microscope.pixels
    seconds, disk = [0.0, 0.0], 0.0
    dose: dict[str, list[float]] = {laser: [0.0, 0.0] for laser in config.microscope.lasers}
    for mode, told, *counts in edges:
        pinned = {**told, **config.microscope.modes[mode]}
        pixels = _pixels(config, microscope, mode)
        for edge, (tuned, count) in enumerate(zip((low, high), counts, strict=True)):
            settings = {**config.microscope.start(), **tuned, **pinned}
            seconds[edge] += count * config.microscope.exposure_s(settings, pixels)
            for laser, joules in config.microscope.dose_j(settings, pixels).items():
                dose[laser][edge] += count * joules
        each_bytes = depth * microscope.frames_a_shot
        each_bytes += FILTERED_BYTES if mode in config.filtered_modes() else 0
        disk += counts[-1] * each_bytes * pixels
    if plan.rebuilds():
        disk += points * depth * _pixels(config, microscope, modes[0])
    return Expected(
        frames + searching + swept[0],
        (seconds[0], seconds[1]),
        (max(seconds[0], waits), max(seconds[1], waits)),
        round(disk),
        {laser: (joules[0], joules[1]) for laser, joules in dose.items()},
        fewest + swept[0],
        {laser: joules[0] for laser, joules in dose.items()},
        None
        if each is None
        else {laser: joules[0] * each / fewest for laser, joules in dose.items()},
    )


def _pixels(config: RunConfig, microscope: Microscope, mode: str) -> int:
    """Pixels of a frame of a mode, at most: the largest one's where its size may change."""
    changing = set(config.adjustable())
    if config.section.searches() or config.section.reoptimizes():
        changing |= set(config.tuned())
    if changing & set(microscope.sizing) - set(config.microscope.modes[mode]):
        return microscope.pixels
    rows, columns = microscope.shapes[mode]
    return rows * columns


def _extremes(config: RunConfig) -> tuple[dict[str, Value], dict[str, Value]]:
    """Settings of the cheapest and the dearest frame that the plan may take."""
    low: dict[str, Value] = {}
    high: dict[str, Value] = {}
    scope = config.microscope
    start = scope.start()

    def light(name: str, value: Value) -> tuple[float, float]:
        """How long light would be on, and how much of it; choices are in no order."""
        settings = {**start, name: value}
        return scope.exposure_s(settings, 1), sum(scope.watts(settings).values())

    if config.section.searches() or config.section.reoptimizes():
        for name in config.tuned():
            setting = scope.settings[name]
            span = config.optimize.search.get(name, setting.range or setting.choices or ())
            ordered = sorted(span, key=partial(light, name))
            low[name], high[name] = ordered[0], ordered[-1]
    return low, high
