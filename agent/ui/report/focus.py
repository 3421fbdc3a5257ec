"""Where sweeps, or an autofocus device, found the focus."""

from __future__ import annotations

from html import escape
from typing import Any

from agent.plan import FOCUS
from agent.record.summary import focus_in_words
from agent.ui.report import charts, elements
from agent.ui.report.axis import Axis
from agent.ui.report.run_data import Run
from agent.ui.report.svg import Chart

_MOST_POINTS = 500
"""Marks of a field, at most."""


def focused(run: Run) -> str:
    """The focus of each field over time; nothing where it was left alone."""
    notes = run.recording.notes_on(FOCUS)
    if not notes:
        return ""
    fields = list(_by_field(notes))
    signs: list[tuple[str, str | None, str]] = []
    if len(fields) > 1:
        signs = [(*charts.field_sign(at), f"field {field}") for at, field in enumerate(fields)]
    if not all(note["found"] for note in notes):
        signs.append(("limit", "cross", "no focus found"))
    legend = elements.legend(signs) if signs else ""
    return (
        f"<h2>Focus</h2>\n<p>{escape(focus_in_words(run.recording))}.</p>\n"
        f'{legend}<div class="grid">{elements.plot(heights(notes))}</div>\n'
    )


def _by_field(notes: list[dict[str, Any]]) -> dict[int, list[dict[str, Any]]]:
    """Notes of the fields that are drawn: the first few."""
    found: dict[int, list[dict[str, Any]]] = {}
    for note in notes:
        found.setdefault(note["field"], []).append(note)
    return dict(list(found.items())[: len(charts.FIELD_KINDS)])


def heights(notes: list[dict[str, Any]], **size: float) -> str:
    """Chart of the height of the focus over time, of each field.

    A sweep that found nothing is marked where the focus was left.
    """
    chart = Chart(
        Axis.linear("time point", [0, max([*(note["point"] for note in notes), 1])], whole=True),
        Axis.linear("focus (µm)", [note["z_um"] for note in notes]),
        "Focus over time",
        **size,
    )
    for position, mine in enumerate(_by_field(notes).values()):
        kind, shape = charts.field_sign(position)
        chart.line([(note["point"], note["z_um"]) for note in mine], kind)
        found = [note for note in mine if note["found"]]
        chart.points([_mark(note) for note in charts.spaced(found, _MOST_POINTS)], kind, shape)
    lost = [_mark(note) for note in charts.spaced(notes, _MOST_POINTS) if not note["found"]]
    chart.points(lost, "limit", "cross")
    return chart.svg()


def _mark(note: dict[str, Any]) -> tuple[int, float, str]:
    said = f"field {note['field']}, time point {note['point']}: {note['z_um']:.2f} µm"
    return note["point"], note["z_um"], said if note["found"] else f"{said}, {note['why']}"
