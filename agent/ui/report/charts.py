"""The report's charts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from agent.optimizer.build import filling_trials
from agent.record import text
from agent.record.recording import Taken
from agent.ui.report.axis import Axis
from agent.ui.report.measured import Measured
from agent.ui.report.run_data import Run, Series, series_of
from agent.ui.report.svg import Chart
from devices.config import Value

FIELD_KINDS = tuple(f"field{i}" for i in range(6))
_SHAPES = ("dot", "diamond", "square", "triangle", "cross", "dot")
TRIAL_SHAPES = {"failed": "cross", "flagged": "plus", "over": "diamond", "within": "dot"}
"""Marks of the trials by their kind; what comes last is drawn on top."""
MOST_MARKED = 150
"""Markers in one chart; hundreds of them hide the line."""
_MOST_READ = 120
"""Frames opened for one chart; a night's worth of them would take minutes."""


def convergence(run: Run) -> str:
    """Score of each trial, the best so far within the bleaching limit, and the start."""
    count = max(run.config.optimize.trials, len(run.trials), 1)
    chart = Chart(
        Axis.linear("trial", [0.5, count + 0.5], whole=True),
        _score_axis(run, "score"),
        "Score of each trial",
    )
    _start_band(chart, run)
    initial = filling_trials(run.config)
    if 0 < initial < len(run.trials):
        chart.border(initial + 0.5, "phase", "model decides →")
    best, levels = None, []
    for at, trial in enumerate(run.trials, 1):
        if trial.score is not None and run.kind(trial) == "within":
            best = trial.score if best is None else max(best, trial.score)
        if best is not None:
            levels.append((at, best))
    chart.line(levels, "within", steps=True)
    _trials(chart, run, lambda number, trial: number)
    return chart.svg()


def trade_off(run: Run) -> str:
    """Score against bleaching, with the limit."""
    shares = [100 * m.bleaching for m in run.trials if m.bleaching is not None]
    limit = 100 * run.limit
    chart = Chart(
        Axis.linear(
            f"bleached by one {run.mode_names()[0]} frame (%)", [0, limit * 1.2, *shares], room=0.02
        ),
        _score_axis(run, "score"),
        "Score of each trial against its bleaching",
    )
    chart.border(limit, "limit", f"limit {text.number(limit)} %")
    _trials(chart, run, lambda number, trial: 100 * (trial.bleaching or 0.0))
    for which, shape in (("start", "square"), ("best", "triangle")):
        part = run.summary[which]
        if part["score"]["n"]:
            score, share = part["score"], part["bleaching"]
            words = (
                f"{which}: score {text.spread_of_scores(score)}, "
                f"bleaching {text.spread_of_shares(share)}"
            )
            chart.spread(
                100 * share["mean"],
                score["mean"],
                100 * (share["sd"] or 0),
                score["sd"] or 0,
                which,
                shape,
                words,
            )
    return chart.svg()


def setting(run: Run, name: str) -> str:
    """One tuned setting against score."""
    bound = run.config.microscope.settings[name]
    start = run.config.microscope.start()[name]
    best = (run.summary["best"]["settings"] or {}).get(name)
    marks = [value for value in (start, best) if value is not None]
    span = run.config.optimize.search.get(name, bound.range or bound.choices or ())
    values = [*span, *marks, *(m.settings[name] for m in run.trials)]
    label = text.axis_label(name, bound)
    if bound.kind == "choice":
        axis = Axis.of(label, list(dict.fromkeys(values)))
    else:
        numbers = [float(value) for value in values]
        if bound.scale == "log" and min(numbers) > 0:
            axis = Axis.logarithmic(label, numbers)
        else:
            axis = Axis.linear(label, numbers, whole=bound.kind == "integer", room=0.03)
    chart = Chart(
        axis, _score_axis(run, "score"), f"Score against {text.words(name)}", width=270, height=220
    )
    chart.border(start, "start")
    if best is not None:
        chart.border(best, "best")
    _trials(chart, run, lambda number, trial: trial.settings[name])
    return chart.svg()


def dose(run: Run, laser: str) -> str:
    """Light of one laser, summed over the frames, with its budget where it is in reach."""
    spent = list(accumulate(taken.shot["dose_J"].get(laser, 0.0) for _, taken in run.frames))
    budget = run.config.dose.budget_J.get(laser) if budget_in_reach(run, laser) else None
    shown = [0.0, max(spent, default=0.0) or 1e-6, *([budget] if budget else [])]
    scale, prefix = text.prefix_of(max(shown))
    chart = Chart(
        Axis.linear("frame", [0, max(len(spent), 1)], whole=True),
        Axis.linear(f"{laser} ({prefix}J on the sample)", [v / scale for v in shown], room=0.03),
        f"Light of {laser} over frames",
        height=240,
    )
    if budget is not None:
        chart.level(budget / scale, "limit")
    chart.line([(0, 0.0), *((i, j / scale) for i, j in enumerate(spent, 1))], "within", steps=True)
    return chart.svg()


def time_lit(run: Run) -> str:
    """How long light was on, summed over the frames: measured, and expected of the settings."""
    rows = [taken.frame for _, taken in run.frames]
    sums = {
        key: list(accumulate(row.get(key, 0.0) for row in rows)) for key in ("lit_s", "expected_s")
    }
    longest = max((spent[-1] for spent in sums.values() if spent), default=0.0)
    scale, prefix = text.prefix_of(longest or 1e-6)
    chart = Chart(
        Axis.linear("frame", [0, max(len(rows), 1)], whole=True),
        Axis.linear(f"light on ({prefix}s)", [0.0, longest / scale], room=0.03),
        "Time that light was on over frames, measured and expected",
        height=240,
    )
    for key, kind in (("expected_s", "start"), ("lit_s", "within")):
        points = [(0, 0.0), *((i, seconds / scale) for i, seconds in enumerate(sums[key], 1))]
        chart.line(points, kind, steps=True)
    return chart.svg()


def budget_in_reach(run: Run, laser: str) -> bool:
    """Whether a chart can show the budget; far from it the curve would lie flat on the ground."""
    budget = run.config.dose.budget_J.get(laser)
    return budget is not None and run.gate.total.get(laser, 0.0) > 0.2 * budget


def scores_over_time(run: Run) -> str | None:
    """Scores of `live` and `timelapse`, by field; None where nothing was scored."""
    rows = [(i, taken, taken.score.value) for i, taken in run.watched if taken.score is not None]
    if not rows:
        return None
    label, seconds = _time_unit(run)
    chart = Chart(
        Axis.linear(label, _times(run, seconds), room=0.02),
        Axis.linear("score", [0, 1, *(value for *_, value in rows)]),
        "Score over time",
    )
    if len(rows) <= MOST_MARKED:
        drawn = series(run)
        shown = [taken for _, taken, _ in rows if series_of(taken) in drawn]
        chart.bars(
            (taken.frame["time_s"] / seconds, taken.score.value, taken.score.sd)
            for taken in shown
            if taken.score is not None
        )
    _by_series(run, chart, rows, seconds, "score")
    return chart.svg()


def signal_over_time(run: Run) -> str | None:
    """Mean counts of the frames over time, by field; None without frames."""
    times: dict[float, list[tuple[int, Taken]]] = defaultdict(list)
    shown = series(run)
    for row in run.watched:
        if series_of(row[1]) in shown:
            planned = row[1].shot["at_s"]
            times[row[1].frame["time_s"] if planned is None else planned].append(row)
    chosen = spaced(sorted(times), max(2, _MOST_READ // max(1, len(shown))))
    rows = []
    for index, taken in (row for moment in chosen for row in times[moment]):
        if (pixels := run.pixels(index)) is not None:
            rows.append((index, taken, float(np.mean(pixels))))
    if not rows:
        return None
    label, seconds = _time_unit(run)
    chart = Chart(
        Axis.linear(label, _times(run, seconds), room=0.02),
        Axis.linear("mean of the frame (counts)", [0, *(v for *_, v in rows)], room=0.03),
        "Mean counts over time",
    )
    _by_series(run, chart, rows, seconds, "mean")
    return chart.svg()


def uncertainty_over_time(run: Run) -> str:
    """How unsure the filter was of the frames it filtered, by field."""
    rows = [
        (i, taken, float(taken.filtered["uncertainty"]))
        for i, taken in run.frames
        if taken.filtered is not None
    ]
    label, seconds = _time_unit(run)
    chart = Chart(
        Axis.linear(label, _times(run, seconds), room=0.02),
        Axis.linear("uncertainty", [0, *(value for *_, value in rows)], room=0.03),
        "Uncertainty of the filter over time",
    )
    _by_series(run, chart, rows, seconds, "uncertainty")
    return chart.svg()


def series(run: Run) -> list[Series]:
    """Fields and channels that the charts over time show: the first few."""
    return run.series[: len(FIELD_KINDS)]


def field_sign(position: int) -> tuple[str, str]:
    """Kind and shape of the marks for a field at this position of those shown."""
    return FIELD_KINDS[position], _SHAPES[position]


def spaced(values: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the values, evenly spaced, the first and the last among them."""
    if len(values) <= count:
        return list(values)
    return [values[round(i * (len(values) - 1) / (count - 1))] for i in range(count)]


def _by_series(
    run: Run, chart: Chart, rows: Sequence[tuple[int, Taken, float]], seconds: float, what: str
) -> None:
    """Draw a line for each field and channel, in all charts with the sign of the legend."""
    groups: dict[Series, list[tuple[int, Taken, float]]] = defaultdict(list)
    for row in rows:
        groups[series_of(row[1])].append(row)
    known = list(dict.fromkeys([*run.series, *groups]))
    for position, where in enumerate(known[: len(FIELD_KINDS)]):
        if where not in groups:
            continue
        kind, shape = field_sign(position)
        line = [(taken.frame["time_s"] / seconds, value) for _, taken, value in groups[where]]
        chart.line(line, kind)

        def marks(
            some: Iterable[tuple[int, Taken, float]],
        ) -> list[tuple[Value, float, str]]:
            return [
                (
                    taken.frame["time_s"] / seconds,
                    value,
                    f"frame {index}: {what} {text.number(value)}{text.flagged(_flags(taken))}",
                )
                for index, taken, value in some
            ]

        if len(rows) <= MOST_MARKED:
            chart.points(marks(groups[where]), kind, shape)
        doubted = [row for row in groups[where] if _flags(row[1])]
        chart.points(marks(spaced(doubted, MOST_MARKED)), "flagged", "plus")


def _flags(taken: Taken) -> tuple[str, ...]:
    return taken.score.flags if taken.score else ()


def _times(run: Run, seconds: float) -> list[float]:
    times = [taken.frame["time_s"] / seconds for _, taken in run.frames]
    return [0.0, max(times, default=1.0) or 1.0]


def _time_unit(run: Run) -> tuple[str, float]:
    """Label of the time axis, and the seconds in its unit."""
    last = max((taken.frame["time_s"] for _, taken in run.frames), default=0.0)
    units = (("h", 3600.0), ("min", 60.0))
    unit, seconds = next((pair for pair in units if last > 3 * pair[1]), ("s", 1.0))
    clock = "simulated time" if run.config.microscope.clock else "time"
    return f"{clock} ({unit})", seconds


def _score_axis(run: Run, label: str) -> Axis:
    return Axis.linear(label, [0.0, 1.0, *(m.score for m in run.trials if m.score is not None)])


def _start_band(chart: Chart, run: Run) -> None:
    part = run.summary["start"]["score"]
    if part["n"]:
        if part["sd"] is not None:
            chart.band(part["mean"] - part["sd"], part["mean"] + part["sd"], "band")
        chart.level(part["mean"], "start")


def _trials(chart: Chart, run: Run, x: Callable[[int, Measured], Value]) -> None:
    """Draw all trials by kind, the kept ones on top."""
    groups: dict[str, list[tuple[Value, float, str]]] = defaultdict(list)
    for number, trial in enumerate(run.trials, 1):
        point = (x(number, trial), trial.score or 0.0, _words(run, number, trial))
        groups[run.kind(trial)].append(point)
        chart.bars([(*point[:2], trial.score_sd)])
    for kind, shape in TRIAL_SHAPES.items():
        chart.points(groups[kind], kind, shape)


def _words(run: Run, number: int, trial: Measured) -> str:
    settings = text.settings_line(trial.settings, run.config.microscope.settings)
    if trial.score is None or trial.bleaching is None:
        return f"trial {number}: failed; {settings}"
    return (
        f"trial {number}: score {text.score(trial.score)}, "
        f"bleaching {text.percent(trial.bleaching)}{text.flagged(trial.flags)}; {settings}"
    )
