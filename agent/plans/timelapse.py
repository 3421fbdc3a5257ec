"""`plan: timelapse`: the same fields at fixed intervals, all of them or as few as will do."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from agent.config.plans import TimelapseConfig
from agent.plan import (
    LAPSE,
    PLACE,
    Answer,
    Block,
    Due,
    Frame,
    Late,
    Listen,
    Note,
    Plan,
    Rebuilt,
    Step,
    apply_roi,
    is_roi,
)
from agent.plans.adaptive.light_budget import LightBudget
from agent.plans.adaptive.schedule import Schedule
from agent.plans.adaptive.series_beside import SeriesBeside
from agent.plans.focusing import Focusing
from agent.plans.time_points import point_shots, runs
from devices.shot import Field, Shot

if TYPE_CHECKING:
    from agent.plans.reoptimize import Reoptimizing

Added = Generator[Step, Answer, list[Field]]
Missed = Generator[Due, Answer, int]


def timelapse(
    config: TimelapseConfig,
    fields: Sequence[Field],
    light: LightBudget,
    better: Reoptimizing | None = None,
    focusing: Focusing | None = None,
) -> Plan:
    """Visit the fields at every time point, and wait for the next one.

    Time points that are too late are left out where the config says so. After the frames of each
    one it listens to a person, who may add places: they are taken at once, and from then on.
    Regions of interest that are told hold for the frames that follow.

    Parameters
    ----------
    config
        Time points, interval and mode.
    fields
        The microscope's; the first of them are looked at.
    light
        Told what frames cost.
    better
        Looks for better settings now and then; None without searches.

    Examples
    --------
    >>> light = LightBudget(lambda settings, pixels: {}, {}, {})
    >>> config = TimelapseConfig(frames=2, interval_s=60)
    >>> plan = timelapse(config, [Field(0, 0.0, 0.0)], light)
    >>> next(plan)
    Due(at_s=0.0, interval_s=60.0, skip=False, most=2, frames=1)
    """
    visited = list(fields[: config.fields])
    number = len(fields)
    rois: dict[str, tuple[int, ...]] = {}
    t = -1
    while (t := t + 1) < config.frames:
        each = len(visited) * config.frames_of_a_field()
        t += yield from _missed(config, t, config.frames - t, each)
        if t == config.frames:
            return
        settings = {config.mode: better.settings} if better else {}
        due = visited
        while due:
            at_s, purpose = t * config.interval_s, f"time point {t}"
            for together in runs(point_shots(config, due, t, settings, at_s, purpose, rois)):
                for at, shot in enumerate(together):
                    if focusing is not None:
                        shot = yield from _focused(focusing, shot, t, light)
                    if at == 0 and (block := _block(together, focusing, t)) is not None:
                        yield block
                    frame = yield shot
                    assert isinstance(frame, Frame) and shot.field is not None
                    light.spend(frame.settings, frame.pixels.size, shot.field.index, frame.dose_J)
                    if shot.mode == config.mode:
                        for watching in (better, focusing):
                            if watching is not None:
                                watching.see(frame)
            # Asked for after the wait for the time point, so that they are in it.
            due = yield from _told(config, number, t, rois)
            number += len(due)
            light.fields += len(due)
            visited = [*visited, *due]
        if better is not None and better.due(t):
            yield from better.search(t)


def skipping(
    config: TimelapseConfig,
    lapses: Sequence[Schedule],
    light: LightBudget,
    better: Reoptimizing | None = None,
    focusing: Focusing | None = None,
) -> Plan:
    """Take the frames that are due at each time point, and decide when each field's next one is.

    Nothing is waited for before all frames of a time point are taken: what an audit takes is a part
    of the wait for the next time point. No frame is rebuilt from two at different settings: all
    fields are looked at right before a search, and after one that changed them.

    Parameters
    ----------
    config
        Time points, interval and mode.
    lapses
        The fields, each of which says when it is due.
    light
        How many more frames the budget allows.
    better
        Looks for better settings now and then; None without searches.

    Examples
    --------
    >>> from agent.plans.adaptive.drift_tracking import DriftTracker
    >>> from agent.plans.adaptive.schedule import FixedGaps, Rules
    >>> light = LightBudget(lambda settings, pixels: {}, {}, {})
    >>> config = TimelapseConfig(frames=9, interval_s=60)
    >>> from devices.affine import Affine
    >>> straight = Affine.square(pixel_um=0.02)
    >>> follower = DriftTracker(Field(0, 0.0, 0.0), straight, reach_um=1.0)
    >>> plan = skipping(config, [FixedGaps(follower, Rules(points=9, gap=3))], light)
    >>> next(plan)
    Due(at_s=0.0, interval_s=60.0, skip=False, most=8, frames=0)
    """
    t = -1
    beside = {lapse.field: SeriesBeside(config) for lapse in lapses}
    while (t := t + 1) < config.frames:
        if any(lapse.due(t) for lapse in lapses):
            # The last time point is always taken: frames skipped before it are rebuilt from it.
            late = yield from _missed(config, t, config.frames - 1 - t)
            for lapse in lapses:
                if any(lapse.due(t + missed) for missed in range(late)):
                    lapse.hasten(t + late)
            t += late
        due = [lapse for lapse in lapses if lapse.due(t)]
        settings = {config.mode: better.settings} if better else {}
        purposes = {lapse.field: lapse.purpose(t) for lapse in due}
        at_s = t * config.interval_s
        found: dict[int, list[Frame]] = {lapse.field: [] for lapse in due}
        for aimed in runs(point_shots(config, [lapse.place for lapse in due], t, settings, at_s)):
            together = tuple(replace(shot, purpose=_of(purposes, shot)) for shot in aimed)
            for at, shot in enumerate(together):
                if focusing is not None:
                    shot = yield from _focused(focusing, shot, t, light)
                if at == 0 and (block := _block(together, focusing, t)) is not None:
                    yield block
                frame = yield shot
                assert isinstance(frame, Frame)
                mine = _of(found, shot)
                light.spend(frame.settings, frame.pixels.size, _field(shot), frame.dose_J)
                mine.append(frame)
        taken = [(lapse, _decisive(config, found[lapse.field])) for lapse in due]
        for lapse, frame in taken:
            each = beside[lapse.field]
            if len(found[lapse.field]) > 1:
                light.together((f.settings, f.pixels.size, f.dose_J) for f in found[lapse.field])
                each.take(t, found[lapse.field])
            asked = lapse.see(frame, t)
            for request in asked:
                answer = yield request
                if isinstance(answer, Rebuilt):
                    lapse.learn(request, answer)
            for request in asked:
                yield from each.requests(request)
            yield Note(LAPSE, each.noted(lapse.decide(light.frames(lapse.field))))
        for _, frame in taken:
            if focusing is not None:
                focusing.see(frame)
        if better is None:
            continue
        for _, frame in taken:
            better.see(frame)
        if not better.due(t):
            continue
        if len(taken) < len(lapses):
            for lapse in lapses:
                lapse.hasten(t + 1)
        elif (yield from better.search(t)):
            for lapse in lapses:
                lapse.change(t + 1)


def _told(
    config: TimelapseConfig, number: int, point: int, rois: dict[str, tuple[int, ...]]
) -> Added:
    """Places that a person has added since the last time, as fields from `number` on.

    Regions of interest are changed in `rois`.
    """
    told = yield Listen()
    assert isinstance(told, tuple)
    places: list[Field] = []
    for instruction in told:
        if is_roi(instruction):
            yield from apply_roi(instruction, rois, point=point)
            continue
        place = instruction.value
        field = Field(number + len(places), place["x_um"], place["y_um"], place["z_um"])
        frames = (config.frames - point) * config.frames_of_a_field()
        yield Note(PLACE, {"field": field.index, "point": point, **place, "planned": frames})
        places.append(field)
    return places


def _focused(
    focusing: Focusing, shot: Shot, point: int, light: LightBudget
) -> Generator[Step, Answer, Shot]:
    """A shot of a time point where the focus is, which is looked for if that is due."""
    assert shot.field is not None
    if focusing.due(shot.field, point):
        for frame in (yield from focusing.look(shot.field, point, shot.at_s)):
            light.spend_on(shot.field.index, frame.dose_J or {})
    return focusing.aimed(shot, point)


def _block(together: tuple[Shot, ...], focusing: Focusing | None, point: int) -> Block | None:
    """Shots of a field whose focus is not looked for between them; None if it may be."""
    if len(together) == 1:
        return None
    if focusing is None:
        return Block(together)
    if focusing.by_score:
        return None
    return Block(tuple(focusing.aimed(shot, point) for shot in together))


_T = TypeVar("_T")


def _field(shot: Shot) -> int:
    assert shot.field is not None
    return shot.field.index


def _of(by_field: dict[int, _T], shot: Shot) -> _T:
    """What is kept of the field of a shot."""
    return by_field[_field(shot)]


def _decisive(config: TimelapseConfig, frames: Sequence[Frame]) -> Frame:
    """Of a field's frames in a time point, the one that decides when the next ones are taken."""
    if len(frames) == 1:
        return frames[0]
    mode, plane = config.decisive()
    return next(f for f in frames if f.shot.mode == mode and plane in (None, _plane(f)))


def _plane(frame: Frame) -> int:
    return frame.shot.plane.index if frame.shot.plane else 0


def _missed(config: TimelapseConfig, point: int, most: int, frames: int = 0) -> Missed:
    """How many time points are left out from `point` on, because they are too late."""
    if not config.interval_s:
        return 0
    skip = config.late == "skip" and most > 0
    late = yield Due(point * config.interval_s, config.interval_s, skip, most, frames)
    assert isinstance(late, Late)
    return late.points
