"""What a time-lapse that skips left out, how well that was rebuilt, and how it knows."""

from __future__ import annotations

import math
from typing import Any

from agent.config.plans import TimelapseConfig
from agent.plan import LAPSE
from agent.record import text
from agent.ui.report import charts, elements
from agent.ui.report.axis import Axis
from agent.ui.report.run_data import Run
from agent.ui.report.svg import Chart
from devices.config import Value

_MOST_ROWS = 60
_MOST_AUDITS = 300
"""Audits and events that one chart marks; more would hide each other."""
WHY = {
    "learning": "too few frames were compared yet",
    "error": "more would exceed the bound",
    "most": "the largest gap",
    "step": "one more than the last",
    "event": "something happened",
    "budget": "the light would not last",
    "blind": "frames could not be rebuilt",
    "end": "the last time point",
    "fixed": "as the config says",
}
Note = dict[str, Any]


def skipped(run: Run) -> str:
    """Light saved, errors and gaps over time, and the table of comparisons."""
    summary = run.summary["lapse"]
    if summary is None:
        return ""
    notes = run.recording.notes_on(LAPSE)
    head = f"<h2>Skipped frames</h2>\n{_account(run, summary)}"
    if not notes:
        return head
    plots = elements.plot(gaps(notes), "Time points from one frame to the next.")
    table = ""
    if summary["acquire"] == "adaptive":
        signs = [
            ("within", None, "expected of rebuilt frames"),
            ("within", "dot", "measured by a comparison"),
            ("best", "diamond", "measured by an audit"),
            ("limit", None, "bound"),
        ]
        table = _audits(notes)
        if summary["error"] is not None:
            said = "Relative root-mean-square error of the structure, photon noise aside."
            plots = elements.plot(errors(run.config.timelapse, notes), said) + plots
            table = f"{elements.legend(signs)}\n{table}"
    return f'{head}\n<div class="grid">{plots}</div>\n{table}'


def _account(run: Run, summary: dict[str, Any]) -> str:
    frames, missing = run.summary["frames"], ""
    if (left := frames["skipped"] - frames["reconstructed"]) > 0:
        missing = f" {left} of them could not be rebuilt, and are marked missing."
    saved = text.percent(summary["light_saved"]) if summary["light_saved"] else "none"
    said = f"{frames['skipped']} frames were skipped; light saved: {saved}.{missing}"
    if (error := summary["error"]) is not None:
        said += (
            f" By {summary['compared']} frames that were compared with what others make of"
            f" them, {summary['audits']} of which would have been skipped, the error at the end is"
            f" {text.number(error[0])} ± {text.number(error[1])}"
        )
        said += f" (bound {text.number(summary['bound'])})." if summary["bound"] else "."
    if (tuned := summary["tuned"]) is not None:
        said += _tuned(tuned)
    events = len(summary["events"])
    if events:
        said += f" Events: {events}."
    return f"<p>{said} Rebuilt frames are a network’s estimate and no measurement.</p>"


def _tuned(tuned: dict[str, Any]) -> str:
    said = f" The interpolator was tuned {_times(tuned['attempts'])} to audits of this run"
    if not tuned["attempts"]:
        return ""
    if tuned["error"] is None:
        return f"{said}; it was not better for it, and the weights stayed."
    before, after = (text.number(error) for error in tuned["error"])
    return (
        f"{said}, and {_times(tuned['kept'])} better for it on later ones, which it had not"
        f" learned from: by the {tuned['judged']} that judged last its error was {after} instead"
        f" of {before}."
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def errors(asked: TimelapseConfig, notes: list[Note], **size: float) -> str:
    """Chart of expected and measured errors of rebuilt frames over time."""
    marks = [(mark, note["field"]) for note in notes for mark in note["frames"]]
    compared = [mark for mark, _ in marks if "error" in mark]
    bound = asked.error
    values = [0.0, 1.2 * bound, *(mark["error"] for mark in compared)]
    values += [m["expected_error"] for m, _ in marks if m["expected_error"] is not None]
    chart = Chart(
        Axis.linear("time point", [0, max(asked.frames - 1, 1)], whole=True),
        Axis.linear("relative error", values),
        "Error of rebuilt frames over time",
        **size,
    )
    chart.level(bound, "limit")
    expected: dict[int, list[tuple[Value, float]]] = {note["field"]: [] for note in notes}
    for mark, field in marks:
        if mark["frame"] is None and mark["expected_error"] is not None:
            expected[field].append((mark["point"], mark["expected_error"]))
    for line in expected.values():
        chart.line(sorted(line), "within")
    for kind, shape, audited, most in (
        ("within", "dot", False, _MOST_ROWS),
        ("best", "diamond", True, _MOST_AUDITS),
    ):
        chart.points(
            [
                (one["point"], one["error"], f"time point {one['point']}, gap {one['gap']}")
                for one in charts.spaced(
                    [one for one in compared if (one["kind"] == "audited") == audited], most
                )
            ],
            kind,
            shape,
        )
    return chart.svg()


def gaps(notes: list[Note], **size: float) -> str:
    """Chart of the time points from one frame to the next, of each field."""
    notes = [note for note in notes if note["gap"]]  # after the last time point there is none
    points = [note["point"] for note in notes]
    chart = Chart(
        Axis.linear("time point", [0, max([*points, 1])], whole=True),
        Axis.linear("gap (time points)", [0, *(note["gap"] for note in notes)], whole=True),
        "Gap over time",
        **size,
    )
    by_field: dict[int, list[Note]] = {}
    for note in notes:
        by_field.setdefault(note["field"], []).append(note)
    for position, mine in enumerate([*by_field.values()][: len(charts.FIELD_KINDS)]):
        kind, shape = charts.field_sign(position)
        chart.line([(note["point"], note["gap"]) for note in mine], kind, steps=True)
        events = [(n["point"], n["gap"], f"event: {n['event']}") for n in mine if n.get("event")]
        chart.points(charts.spaced(events, _MOST_AUDITS), kind, shape)
    return chart.svg()


def _audits(notes: list[Note]) -> str:
    rows = []
    for note in notes:
        for mark in note["frames"]:
            if "error" not in mark or (mark["kind"] != "audited" and not note["event"]):
                continue
            sd = mark["error_squared_sd"] / (2 * mark["error"]) if mark["error"] > 0 else None
            around = f" ± {text.number(sd)}" if sd and math.isfinite(sd) else ""
            why = f"{note['event']}: " if note["event"] else ""
            rows.append(
                [
                    str(mark["point"]),
                    str(note["field"]),
                    str(mark["gap"]),
                    text.number(mark["expected_error"]),
                    f"{text.number(mark['error'])}{around}",
                    f"{note['gap']}: {why}{WHY.get(note['why'], note['why'])}",
                ]
            )
    if not rows:
        return "<p>No gap was audited.</p>"
    more = len(rows) - _MOST_ROWS
    rest = f'<p class="quiet">And {more} more in the ledger.</p>' if more > 0 else ""
    head = ["time point", "field", "gap", "expected error", "measured error", "next gap"]
    table = elements.table(head, rows[:_MOST_ROWS], numbers=range(5))
    return f"<h3>Audits and events</h3>\n{table}\n{rest}"
