"""What every report ends with: light, faults, the safe state, and where it all came from."""

from __future__ import annotations

from html import escape
from typing import Any

from agent.record import text
from agent.ui.report import charts, elements
from agent.ui.report.run_data import Run

_MOST_ROWS = 200


def light(run: Run) -> str:
    """Light on the sample by laser, against its budgets."""
    lasers = list(dict.fromkeys(run.config.microscope.lasers))
    if not lasers:
        return (
            "<h2>Light</h2>\n<p>The config names no light source, "
            "so the light on the sample was not counted.</p>"
        )
    gate, dose = run.gate, run.config.dose
    rows = []
    for laser in lasers:
        spent = gate.total.get(laser, 0.0)
        budget, per_field = dose.budget_J.get(laser), dose.per_field_J.get(laser)
        most = max((by.get(laser, 0.0) for by in gate.by_field.values()), default=None)
        rows.append(
            [
                laser,
                text.joules(spent),
                text.joules(budget) if budget else "none",
                text.percent(spent / budget) if budget else "–",
                text.joules(most) if most is not None else "–",
                text.joules(per_field) if per_field else "none",
            ]
        )
    head = ["laser", "on the sample", "budget", "share", "most on one field", "limit for a field"]
    plots = ""
    if run.recording.taken:
        for laser in lasers:
            budget = dose.budget_J.get(laser)
            share = gate.total.get(laser, 0.0) / budget if budget else None
            of = f"{text.percent(share)} of the budget" if share is not None else "no budget"
            plots += elements.plot(charts.dose(run, laser), of)
    lost = ""
    if run.recording.lost:
        lost = '<p class="quiet">The table counts shots that left no frame; the curves do not.</p>'
    near = any(charts.budget_in_reach(run, laser) for laser in lasers)
    legend = elements.legend([("within", None, "spent"), ("limit", None, "budget")]) if near else ""
    table = elements.table(head, rows, numbers=range(1, 6), first_is_head=True)
    light = f'<h2>Light</h2>\n{table}\n{lost}{legend}\n<div class="grid">{plots}</div>'
    return light + _time_lit(run)


def _time_lit(run: Run) -> str:
    """How long light was on, measured against expected; earlier versions did not measure it."""
    lit, expected = run.gate.lit_s, run.gate.expected_s
    if not lit and not expected:
        return ""
    signs = [("within", None, "measured"), ("start", None, "expected of the settings")]
    return (
        f"<p>Light was on the sample for {text.duration(lit)}, measured; "
        f"{text.duration(expected)} were expected. The longer one counts, frame by frame.</p>\n"
        f'{elements.legend(signs)}\n<div class="grid">{elements.plot(charts.time_lit(run))}</div>'
    )


def faults(run: Run) -> str:
    """What went wrong, and what was done about it."""
    found = run.recording.faults
    if not found:
        return "<h2>Faults</h2>\n<p>None.</p>"
    rows = [
        [
            text.moment(fault["at"]),
            "–" if fault.get("frame") is None else str(fault["frame"]),
            str(fault["what"]),
            str(fault.get("policy", "–")),
        ]
        for fault in found[:_MOST_ROWS]
    ]
    more = len(found) - len(rows)
    rest = f"<p>And {more} more: <code>stedfast show</code> lists all.</p>" if more > 0 else ""
    return f"<h2>Faults</h2>\n{elements.table(['when', 'frame', 'what', 'policy'], rows)}{rest}"


def safe_state(run: Run) -> str:
    """The lasers and the shutter, as they were read back at the end."""
    state = run.recording.safe_state
    head = "<h2>Safe state</h2>\n"
    if run.summary["status"] == "running":
        return f"{head}<p>The run continues; lasers and shutter are read back at its end.</p>"
    if not run.recording.sessions:
        return f"{head}<p>No session has begun; no light was switched on.</p>"
    # A resumed run still has the safe state of the session before.
    if state is None or run.recording.end is None:
        return (
            f'{head}<p class="alarm">Not on record: the last session was killed before it could '
            "make the microscope safe. Check lasers and shutter.</p>"
        )
    rows = [
        [
            text.words(name),
            _plain(found.get("expected")),
            _plain(found.get("value")),
            "yes" if found.get("ok") else "NO",
        ]
        for name, found in state["readback"].items()
    ]
    said = (
        "<p>Read back as it should be"
        if state["ok"]
        else '<p class="alarm">NOT SAFE: check lasers and shutter'
    )
    table = elements.table(["", "should be", "read back", "ok"], rows, first_is_head=True)
    return f"{head}{said}, at {escape(text.moment(state['at']))}.</p>\n{table}{_loose(run)}"


def _loose(run: Run) -> str:
    """Light-like properties that nothing made safe; earlier versions' runs do not name them."""
    found = run.recording.sessions[-1].get("loose", [])
    if not found:
        return ""
    named = ", ".join(f"{each['device']}.{each['property']} ({each['value']})" for each in found)
    return (
        f"<p>Left as it was when the run began, and not made safe: {escape(named)}. If it is light,"
        " give it a <code>safe</code> value.</p>"
    )


def provenance(run: Run) -> str:
    """What the run can be repeated with."""
    last = run.recording.sessions[-1] if run.recording.sessions else {}
    rows = [(str(name), str(value)) for name, value in last.get("versions", {}).items()]
    rows += [(f"weights: {k}", str(v)) for k, v in last.get("weights", {}).items()]
    return (
        f"<h2>Provenance</h2>\n{elements.definitions(rows)}\n"
        "<details><summary>The full config of this run</summary>\n"
        f"<pre>{escape(run.config_text)}</pre></details>"
    )


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else text.number(value)
