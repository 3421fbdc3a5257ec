"""The z-stacks of retests: their projections, and the score over z."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from agent.plan import STACK
from agent.record import text
from agent.record.trials import profile as over_z
from agent.ui.report import elements
from agent.ui.report.axis import Axis
from agent.ui.report.picture import picture
from agent.ui.report.run_data import Run
from agent.ui.report.svg import Chart

SHAPES = {"start": "square", "best": "triangle"}
"""Marks of the settings compared."""
_TITLES = {"start": "starting settings", "best": "settings found"}

Notes = Sequence[Mapping[str, Any]]


def depths(run: Run) -> str:
    """Projections and scores of the stacks; nothing where there are none."""
    notes = run.recording.notes_on(STACK)
    if not notes:
        return ""
    shown = "".join(_projection(run, notes, which) for which in SHAPES)
    signs = [(which, SHAPES[which], _TITLES[which]) for which in SHAPES if _of(notes, which)]
    return (
        f"<h3>Over depth</h3>\n{elements.legend([*signs, ('limit', 'cross', 'score flagged')])}\n"
        f'<div class="grid three">{shown}{elements.plot(profile(notes))}</div>\n'
        '<p class="quiet">A stack follows each retest on its field, whose dye the retest has '
        "bleached a little. Line: mean over the fields. Stacks are not part of the comparison."
        "</p>"
    )


def profile(notes: Notes, **size: float) -> str:
    """Chart of the score of each plane, and of its mean over the fields."""
    rows = [row for note in notes for row in note["planes"]]
    chart = Chart(
        Axis.linear("z (µm)", [row["z_um"] for row in rows], room=0.05),
        Axis.linear("score", [0.0, 1.0, *(_score(row) for row in rows if _scored(row))]),
        "Score over z",
        **size,
    )
    for which, shape in SHAPES.items():
        chart.line(over_z(notes, which), which)
        found = [
            (row, f"{_TITLES[which]}, field {note['field']}, z {text.number(row['z_um'])} µm")
            for note in _of(notes, which)
            for row in note["planes"]
            if _scored(row)
        ]
        for flagged in (False, True):
            marks = [
                (row["z_um"], _score(row), f"{said}: score {text.score(_score(row))}")
                for row, said in found
                if bool(row.get("flags")) is flagged
            ]
            chart.points(marks, *(("limit", "cross") if flagged else (which, shape)))
    return chart.svg()


def _projection(run: Run, notes: Notes, which: str) -> str:
    """The maximum over the first stack of a candidate that is on disk."""
    for note in _of(notes, which):
        frame = note["planes"][len(note["planes"]) // 2]["frame"]
        if frame in run.recording.taken and (found := run.projected(frame)) is not None:
            pixels, planes = found
            made = picture(pixels, run.pixel_um_of(frame))
            title = escape(f"{run.mode_names()[0]}, {_TITLES[which]}")
            words = f"maximum of {planes} planes, field {note['field']}"
            return elements.shown(made, f"<b>{title}</b><br>{words}<br>{elements.limits(made)}")
    return ""


def _of(notes: Notes, which: str) -> list[Mapping[str, Any]]:
    return [note for note in notes if note["which"] == which]


def _scored(row: Mapping[str, Any]) -> bool:
    return row["score"] is not None


def _score(row: Mapping[str, Any]) -> float:
    return float(row["score"])
