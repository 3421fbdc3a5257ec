"""The charts of a run in progress, drawn as in the report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.config import RunConfig
from agent.plan import STACK
from agent.record import text
from agent.ui.report import reconstruction
from agent.ui.report.axis import Axis
from agent.ui.report.depth import profile
from agent.ui.report.svg import Chart
from agent.ui.view.run_state import RunState, verdict
from agent.ui.view.timelapse_state import RECONSTRUCTED

_SHAPES = {"failed": "cross", "flagged": "plus", "over": "diamond", "within": "dot"}
_MOST_MARKED = 120
_SIZE = {"width": 440.0, "height": 236.0}


def score(course: RunState, config: RunConfig) -> str | None:
    """Score with its standard deviation: by trial in a search, over time elsewhere."""
    by_trial = config.section.searches()
    return _by_trial(course, config) if by_trial else _over_time(course, config)


def _by_trial(course: RunState, config: RunConfig) -> str | None:
    found = [
        (number, trial, verdict(trial, config)) for number, trial in enumerate(course.trials, 1)
    ]
    assert course.standing is not None
    planned = max(course.standing.trials, len(found), 1)
    if not found:
        return None
    values = [trial["objectives"]["score"] for _, trial, _ in found if trial["objectives"]]
    chart = Chart(
        Axis.linear("trial", [0.5, planned + 0.5], whole=True),
        Axis.linear("score", [0.0, 1.0, *values]),
        "Score of each trial",
        **_SIZE,
    )
    best, levels = None, []
    for number, trial, kind in found:
        if kind == "within":
            value = trial["objectives"]["score"]
            best = value if best is None else max(best, value)
        if best is not None:
            levels.append((number, best))
    chart.line(levels, "within", steps=True)
    for number, trial, kind in found:
        got = trial["objectives"] or {"score": 0.0}
        words = f"trial {number}: {kind}"
        if "bleaching" in got:
            words = (
                f"trial {number}: score {text.score(got['score'])}, "
                f"bleaching {text.percent(got['bleaching'])}{text.flagged(got.get('flags', ()))}"
            )
        chart.bars([(number, got["score"], got.get("score_sd", 0.0))])
        chart.points([(number, got["score"], words)], kind, _SHAPES[kind])
    return chart.svg()


def _over_time(course: RunState, config: RunConfig) -> str | None:
    points = course.scores.points
    if not points:
        return None
    last = points[-1][1]
    unit, seconds = next((u for u in (("h", 3600.0), ("min", 60.0)) if last > 3 * u[1]), ("s", 1.0))
    clock = "simulated time" if config.microscope.clock else "time"
    chart = Chart(
        Axis.linear(f"{clock} ({unit})", [points[0][1] / seconds, last / seconds]),
        Axis.linear("score", [0.0, 1.0, *(value for _, _, value, *_ in points)]),
        "Score over time",
        **_SIZE,
    )
    rows = [(time_s / seconds, value, sd) for _, time_s, value, sd, _ in points]
    chart.area([(x, max(0.0, y - sd), y + sd) for x, y, sd in rows], "within")
    chart.line([(x, y) for x, y, _ in rows], "within")
    marked = points[-_MOST_MARKED:] if len(points) <= _MOST_MARKED else points[-1:]
    chart.points(
        [
            (time_s / seconds, value, f"frame {index}: score {text.score(value)}")
            for index, time_s, value, *_ in marked
        ],
        "within",
    )
    flagged = [p for p in points if p[4]]
    chart.points(
        [(t / seconds, v, f"frame {index}: flagged") for index, t, v, *_ in flagged],
        "flagged",
        "plus",
    )
    return chart.svg()


def bleaching(course: RunState, config: RunConfig) -> str | None:
    """What each trial bleached, with the limit."""
    rows = [
        (number, 100 * trial["objectives"]["bleaching"], verdict(trial, config))
        for number, trial in enumerate(course.trials, 1)
        if trial["objectives"] is not None
    ]
    if not rows:
        return None
    assert course.standing is not None
    limit = 100 * config.optimize.bleaching_limit
    chart = Chart(
        Axis.linear("trial", [0.5, max(course.standing.trials, len(course.trials)) + 0.5]),
        Axis.linear(
            f"bleached by one {text.mode(config.optimize.mode)} frame (%)",
            [0, 1.2 * limit, *(y for _, y, _ in rows)],
        ),
        "Bleaching of each trial",
        **_SIZE,
    )
    chart.level(limit, "limit")
    for number, share, kind in rows:
        words = f"trial {number}: {text.number(share)} %"
        chart.points([(number, max(0.0, share), words)], kind, _SHAPES[kind])
    return chart.svg()


def light(course: RunState, config: RunConfig) -> str | None:
    """The share of each budget that is spent; the light itself where there is no budget."""
    points = course.light.points
    budgets = config.dose.budget_J
    lasers = list(budgets) or list(config.microscope.lasers)
    if not points or not lasers:
        return None
    curves = {
        laser: [(index, total.get(laser, 0.0)) for index, total in points] for laser in lasers
    }
    if budgets:
        label = "light spent (% of its budget)"
        scale = {laser: budget / 100 for laser, budget in budgets.items()}
    else:
        most = max(value for curve in curves.values() for _, value in curve) or 1e-6
        factor, prefix = text.prefix_of(most)
        label, scale = f"light ({prefix}J on the sample)", dict.fromkeys(lasers, factor)
    shown = {
        laser: [(index, value / scale[laser]) for index, value in curve]
        for laser, curve in curves.items()
    }
    top = max(value for curve in shown.values() for _, value in curve)
    chart = Chart(
        Axis.linear("frame", [0, max(points[-1][0], 1)], whole=True),
        Axis.linear(label, [0.0, top or 1.0, *([100.0] if budgets and top > 20 else [])]),
        "Light over frames",
        **_SIZE,
    )
    if budgets and top > 20:
        chart.level(100.0, "limit")
    for at, curve in enumerate(shown.values()):
        chart.line(curve, f"field{at % 6}", steps=True)
    return chart.svg()


def error(course: RunState, config: RunConfig) -> str | None:
    """Expected and measured errors of rebuilt frames."""
    notes = _notes(course)
    rebuilt = course.lapsed is not None and course.lapsed.counts[RECONSTRUCTED]
    return reconstruction.errors(config.timelapse, notes, **_SIZE) if notes and rebuilt else None


def gap(course: RunState, config: RunConfig) -> str | None:
    """Time points from one frame to the next, of each field."""
    notes = _notes(course)
    return reconstruction.gaps(notes, **_SIZE) if notes else None


def _notes(course: RunState) -> list[dict[str, Any]]:
    kept = course.lapsed.notes.values() if course.lapsed is not None else ()
    return [note for series in kept for (note,) in series.points]


def depth(course: RunState, config: RunConfig) -> str | None:
    """The score over z, in the stacks of retests."""
    notes = course.notes.get(STACK, ())
    return profile(notes, **_SIZE) if notes else None


CHARTS: dict[str, Callable[[RunState, RunConfig], str | None]] = {
    "score": score,
    "bleaching": bleaching,
    "depth": depth,
    "light": light,
    "error": error,
    "gap": gap,
}
"""By name; None where there is nothing to show yet."""
