"""What the pages show, as plain data: the state of a run, its trials, frames, settings and log."""

from __future__ import annotations

from typing import Any

from agent.config import RunConfig
from agent.plan import PLACE
from agent.record import text
from agent.record.summary import origin_of
from agent.record.trials import retested
from agent.steering.control_file import FILTERING
from agent.steering.instructions import place_axes
from agent.steering.roi import FULL
from agent.ui.report.reconstruction import WHY
from agent.ui.view.places import Share, marks, place_of, region_of
from agent.ui.view.reader import Reader
from agent.ui.view.run_state import FrameState, RunState, verdict
from agent.ui.view.timelapse_state import (
    AUDITED,
    MEASURED,
    MISSING,
    RECONSTRUCTED,
    SKIPPED,
    TimePoint,
)

MOST_FRAMES = 300
"""Frames that the strip of a page gets at once."""


def state(reader: Reader) -> dict[str, Any]:
    """What changes all the time; small."""
    course, config = reader.course, reader.config
    head: dict[str, Any] = {
        "version": reader.version,
        "news": reader.news,
        "run": reader.name,
        "phase": reader.phase,
        "over": reader.over,
        "damage": reader.damage,
        "silent_s": round(reader.silent_s(), 1),
        "doing": reader.status.get("doing"),
    }
    if course is None or config is None:
        return head
    counts = course.counts
    raw = course.newest.get("raw", -1)
    newest = course.frames.get(course.newest.get("seen", raw))
    decides = course.frames.get(course.newest.get("decides", -1))
    scored = course.frames.get(course.newest.get("scored", -1))
    end = course.end or {}
    faults = [line for line in course.log if line["kind"] == "fault"]
    return head | {
        "plan": config.plan,
        "origin": origin_of(config, course.sessions[-1] if course.sessions else {}),
        "sessions": len(course.sessions),
        "started": course.sessions[0]["at"] if course.sessions else None,
        "pixel_um": config.microscope.pixel_size_nm * 1e-3,
        "reason": end.get("reason"),
        "ended": end.get("at"),
        "planned": course.planned,
        "acquired": course.acquired,
        "done": course.done,
        "scoring": config.analysis.score,
        "counts": _kinds(course)
        | {key: counts[key] for key in ("filtered", "flagged", "scored", "faults")},
        "left_s": course.left_s(),
        "newest": course.newest,
        "frame": newest.as_dict() if newest else None,
        "decides": decides.as_dict() if decides else None,
        "planes": len(config.section.planes()),
        "cameras": list(config.microscope.camera_channels),
        "seen_camera": config.microscope.seen_channel,
        "mode": config.section.decides(),
        "only_one": decides is not None and len(course.modes) > 1,
        "scored": scored.as_dict() if scored else None,
        "under_way": course.under_way,
        "light": _light(course, config),
        "lit": _lit(course),
        "bleaching": _bleaching(course, config),
        "search": _search(reader, course, config),
        "lapse": _lapse(course),
        "filter": _filter(course, config),
        "safe_state": course.safe_state,
        "fault": faults[-1] if faults else None,
        "versions": dict(course.versions),
    }


def trials(reader: Reader) -> dict[str, Any]:
    """The trials of a search, and what it came to: the same as report and `show` say."""
    course, config = reader.course, reader.config
    if course is None or config is None:
        return {"settings": [], "objective": None, "trials": [], "best": None, "result": None}
    names = config.tuned() if config.section.searches() else []
    return {
        "settings": [_setting(config, name) for name in names],
        "objective": _objective(config),
        "limit": config.optimize.bleaching_limit,
        "mode": text.mode(config.optimize.mode),
        "trials": [
            {**trial, "verdict": verdict(trial, config), "number": number}
            for number, trial in enumerate(course.trials, 1)
        ],
        "best": course.best(),
        "result": _result(reader, course, config) if course.notes.get("recommendation") else None,
    }


def settings(reader: Reader) -> dict[str, Any]:
    """The settings that may be changed during the run, and those that were."""
    course, config = reader.course, reader.config
    nothing: dict[str, Any] = {"place": [], "roi": False}
    if course is None or config is None:
        return {"settings": [], "filter": None, "why_not": "The run has not begun.", **nothing}
    made = []
    for name in config.adjustable():
        bound = config.microscope.settings[name]
        made.append(
            _setting(config, name)
            | {
                "kind": bound.kind,
                "edges": list(config.edges(name)),
                "scale": bound.scale,
                "start": config.microscope.start()[name],
                "told": course.spans.get(name),
            }
        )
    why_not = (
        ""
        if made
        else "No setting of this run's config can be changed."
        if config.section.listens()
        else f"The settings of a {config.plan} are fixed by its config."
    )
    return {
        "settings": made,
        "filter": _filter(course, config),
        "why_not": why_not,
        "place": list(place_axes(config)),
        "roi": not config.refuses_roi(),
    }


def log(reader: Reader) -> list[dict[str, Any]]:
    """Instructions and faults, newest first."""
    return list(reversed(reader.course.log)) if reader.course is not None else []


def stack(reader: Reader, index: int) -> list[int]:
    """Numbers of the frames that are planes of the same z-stack as one, itself among them."""
    return reader.course.stack(index) if reader.course is not None else [index]


def frames(reader: Reader) -> dict[str, Any]:
    """The latest frames, old to new: number, kind, mode, score, flagged, filtered.

    Of a time-lapse that skips, the latest time points of all fields: the same, where a frame that
    was not taken has no number, and then number in the movie, field, time point, expected error.
    """
    course = reader.course
    if course is None:
        return {"fields": [], "frames": []}
    if course.lapsed is None:
        latest = list(course.frames.values())[-MOST_FRAMES:]
        return {"fields": [], "frames": [_row(shown, shown.kind) for shown in latest]}
    points = list(course.lapsed.points())[-MOST_FRAMES:]
    rows = []
    for one in points:
        index = one.mark["frame"]
        found = _row(course.frames.get(index), _kind(one, course))
        made = [one.number, one.field, one.mark["point"], one.mark["expected_error"]]
        rows.append([index, *found[1:], *made])
    return {"fields": course.lapsed.fields, "frames": rows}


def rebuilt(reader: Reader, number: int) -> str | None:
    """The description of a rebuilt frame of the movie; None for other frames."""
    lapsed = reader.course.lapsed if reader.course is not None else None
    found = lapsed.point(number) if lapsed is not None else None
    if found is None or found.kind != RECONSTRUCTED:
        return None
    error = found.mark["expected_error"]
    words = f", expected error {error:.2f}" if error is not None else ""
    return f"time point {found.mark['point']}, field {found.field}{words}"


def frame(reader: Reader, index: int) -> dict[str, Any] | None:
    """All that is known of one frame; None if there is none of that number."""
    found = frame_state(reader, index)
    return found.as_dict() if found is not None else None


def frame_state(reader: Reader, index: int) -> FrameState | None:
    """The same, also of one that is no longer among the latest."""
    if reader.course is not None and (found := reader.course.frames.get(index)) is not None:
        return found
    found = None
    shot: dict[str, Any] = {}
    for entry in reader.entries_of(index):
        if entry.kind == "shot":
            shot = entry.data
        elif entry.kind == "frame":
            found = FrameState.measured(entry, index, shot)
        elif entry.kind == "score" and found is not None:
            found.score = entry.data
        elif entry.kind == "filtered" and found is not None:
            found.filtered = entry.data
    return found


def scale(reader: Reader, index: int) -> tuple[float, list[tuple[int, float, float]]]:
    """Side of a pixel of a measured frame (µm), and the added places that lie in it.

    The pixel size is the config's unless the frame had another.
    """
    config, course = reader.config, reader.course
    assert config is not None and course is not None
    found = frame_state(reader, index)
    own = found.pixel_size_nm if found is not None else None
    added = course.notes.get(PLACE, ())
    inside = marks(config, found, added, course.whole) if found is not None and added else []
    return (own or config.microscope.pixel_size_nm) * 1e-3, inside


def place(reader: Reader, index: int, point: Share | None) -> list[float] | None:
    """Where on the stage a point of a frame is (µm); None if there is no such frame.

    Raises
    ------
    UserError
        That is not known.
    """
    found = frame_state(reader, index)
    if found is None or reader.config is None or reader.course is None:
        return None
    return place_of(reader.config, found, point, reader.course.whole)


def region(
    reader: Reader, index: int, corners: tuple[Share, Share] | None
) -> dict[str, Any] | None:
    """What to tell of a part of a frame, {mode: region}; without a part of the whole frame.

    None if there is no such frame.

    Raises
    ------
    UserError
        It is not known where that is in the camera's frame.
    """
    found = frame_state(reader, index)
    if found is None or reader.config is None or reader.course is None:
        return None
    mode = str(found.shot.get("mode"))
    if corners is None:
        return {mode: FULL}
    return {mode: region_of(reader.config, found, corners, reader.course.whole)}


def _setting(config: RunConfig, name: str) -> dict[str, Any]:
    bound = config.microscope.settings[name]
    return {"name": name, "words": text.words(name), "unit": bound.unit}


def _row(shown: FrameState | None, kind: str) -> list[Any]:
    if shown is None:
        return [None, kind, None, None, False, False]
    score = shown.score
    flagged = bool(score and score.get("flags"))
    mode, value = shown.shot.get("mode"), score["value"] if score else None
    return [shown.index, kind, mode, value, flagged, shown.filtered is not None]


def _kind(point: TimePoint, course: RunState) -> str:
    """A frame that is not rebuilt by the end of the run is missing."""
    return MISSING if point.kind == SKIPPED and course.end is not None else point.kind


def _kinds(course: RunState) -> dict[str, int]:
    """Frames by kind; those that are only just skipped are none of them."""
    found = course.lapsed.counts if course.lapsed is not None else {}
    of = {kind: found.get(kind, 0) for kind in (RECONSTRUCTED, AUDITED, MISSING, SKIPPED)}
    waiting = of.pop(SKIPPED)
    of[MISSING] += waiting if course.end is not None else 0
    return {MEASURED: course.acquired - of[AUDITED], **of}


def _lapse(course: RunState) -> dict[str, Any] | None:
    if course.lapsed is None:
        return None
    lapsed, latest = course.lapsed, course.lapsed.latest or {}
    adaptive = lapsed.asked.acquire == "adaptive"
    return {
        "acquire": lapsed.asked.acquire,
        "bound": lapsed.asked.error if adaptive else None,
        "skipped": lapsed.skipped,
        "light_saved": lapsed.skipped / course.done if course.done else None,
        "error": lapsed.error if lapsed.counts[RECONSTRUCTED] else None,
        "gap": latest.get("gap"),
        "why": WHY.get(latest.get("why", ""), latest.get("why")),
        "event": latest.get("event"),
    }


def _light(course: RunState, config: RunConfig) -> list[dict[str, Any]]:
    assert course.gate is not None
    budgets, spent = config.dose.budget_J, course.gate.total
    return [
        {"laser": laser, "spent_J": spent.get(laser, 0.0), "budget_J": budgets.get(laser)}
        for laser in config.microscope.lasers
    ]


def _lit(course: RunState) -> dict[str, float] | None:
    """How long light was on (s), measured and expected; None where nothing was measured yet."""
    assert course.gate is not None
    seconds = {"measured_s": course.gate.lit_s, "expected_s": course.gate.expected_s}
    return seconds if any(seconds.values()) else None


def _bleaching(course: RunState, config: RunConfig) -> dict[str, Any] | None:
    if not config.section.searches():
        return None
    found = [trial["objectives"] for trial in course.trials if trial["objectives"] is not None]
    last = found[-1] if found else {}
    return {
        "limit": config.optimize.bleaching_limit,
        "last": last.get("bleaching"),
        "sd": last.get("bleaching_sd"),
    }


def _result(reader: Reader, course: RunState, config: RunConfig) -> dict[str, Any]:
    """The verdict, and start and best as they were measured again, written as the report does."""
    both, shown = _scores(course), config.objective()
    # What stays as it was is not compared with itself.
    sides = ["start"] if course.notes["recommendation"][-1].get("same_as_start") else [*both]
    return course.result(going_on=not reader.over).as_dict() | {
        "sides": sides,
        **{
            which: {
                "settings": part["settings"] or config.microscope.start(),
                "score": text.spread_of_scores(part["score"]),
                "bleaching": text.spread_of_shares(part["bleaching"]),
                "measured": {
                    name: text.spread_of(values, shown.unit if shown is not None else "")
                    for name, values in part["measured"].items()
                },
            }
            for which, part in both.items()
        },
    }


def _objective(config: RunConfig) -> dict[str, Any] | None:
    """An objective of one's own, and what its scores mean."""
    if (shown := config.objective()) is None:
        return None
    data = shown.as_dict()
    return data | {"title": text.words(shown.name), "words": text.scored_by(data)}


def _scores(course: RunState) -> dict[str, dict[str, Any]]:
    """Start and best, as they were measured again."""
    return retested(course.notes.get("recommendation", ()), course.notes.get("retest", ()))


def _search(reader: Reader, course: RunState, config: RunConfig) -> dict[str, Any] | None:
    if not config.section.searches():
        return None
    assert course.standing is not None
    best = course.best()
    found = course.result(going_on=not reader.over)
    return {
        "done": len(course.trials),
        "trials": course.standing.trials,
        "over": course.standing.over,
        "best": best,
        "best_score": course.trials[best - 1]["objectives"]["score"] if best else None,
        "recommended": found.recommended,
        "recommended_score": _scores(course)[found.recommended]["score"]["mean"]
        if found.recommended
        else None,
        "ok": found.ok,
    }


def _filter(course: RunState, config: RunConfig) -> dict[str, Any] | None:
    if config.filter is None:
        return None
    return {"model": config.filter.model, "frames": course.filtering, "accepted": list(FILTERING)}
