"""What a plan of one's own noted: a table for each topic, and curves where there are numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from agent.record import text
from agent.record.load import own_plan
from agent.record.notes import TOPICS
from agent.ui.report import elements
from agent.ui.report.axis import Axis
from agent.ui.report.run_data import Run
from agent.ui.report.svg import Chart

_TOPICS, _ROWS, _CURVES, _FARTHEST = 12, 500, 4, 1e100
"""At most so many topics, rows of a table, curves of a topic; the largest number drawn."""
_Row = Mapping[str, Any]


def noted(run: Run) -> str:
    """Notes on topics that this package's plans do not have; nothing where there are none."""
    by_topic: dict[str, list[_Row]] = {}
    for note in run.recording.notes:
        if note["topic"] not in TOPICS:
            by_topic.setdefault(note["topic"], []).append(note["data"])
    if not own_plan(run.config, run.recording.sessions) or not by_topic:
        return ""
    parts = [_topic(topic, rows) for topic, rows in list(by_topic.items())[:_TOPICS]]
    return "<h2>Noted by the plan</h2>\n" + "\n".join(parts)


def _topic(topic: str, rows: Sequence[_Row]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    last = rows[-_ROWS:]
    numbers = [at for at, key in enumerate(keys) if _numbers(rows, key) is not None]
    table = elements.table(
        keys, [[text.number(row.get(key, "–")) for key in keys] for row in last], numbers=numbers
    )
    cut = f" (the last {len(last)} of {len(rows)})" if len(last) < len(rows) else ""
    curves = "".join(elements.plot(curve) for curve in _curves(keys, rows))
    grid = f'<div class="grid">{curves}</div>\n' if curves else ""
    return f"<h3>{escape(topic)}{cut}</h3>\n{grid}{table}"


def _curves(keys: Sequence[str], rows: Sequence[_Row]) -> list[str]:
    """Each quantity over the first one, where both are numbers in every note."""
    if len(rows) < 2 or (x := _numbers(rows, keys[0])) is None:
        return []
    drawn: list[str] = []
    for key in keys[1:]:
        if (y := _numbers(rows, key)) is None or len(drawn) == _CURVES:
            continue
        chart = Chart(Axis.linear(keys[0], x, room=0.02), Axis.linear(key, y, room=0.02), key)
        points = sorted(zip(x, y, strict=True))
        chart.line(points, "within")
        said = f"{keys[0]} {{}}, {key} {{}}"
        marked = points[-_ROWS:]
        chart.points(
            [(a, b, said.format(text.number(a), text.number(b))) for a, b in marked], "within"
        )
        drawn.append(chart.svg())
    return drawn


def _numbers(rows: Sequence[_Row], key: str) -> list[float] | None:
    """Values of a key; None where one of them is no number that can be drawn."""
    values = [row.get(key) for row in rows]
    fits = all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FARTHEST
        for value in values
    )
    return [float(value) for value in values if value is not None] if fits else None
