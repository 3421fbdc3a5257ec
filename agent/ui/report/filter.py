"""What the content filter made of a run's frames, beside the measured frames."""

from __future__ import annotations

from html import escape
from typing import Any

from agent.record import text
from agent.record.recording import Taken
from agent.ui.report import charts, elements
from agent.ui.report.comparison import beside
from agent.ui.report.contrast import BRIGHTEST, DARKEST
from agent.ui.report.run_data import Run

_SHOWN = 3
"""Frames, of all that were filtered."""


def filtered(run: Run) -> str:
    """Some frames raw, filtered and with their deviation, and the uncertainty over time."""
    summary = run.summary["filtered"]
    if summary is None:
        return ""
    head = f"<h2>Filtered</h2>\n{_account(run, summary)}"
    rows = [(index, taken) for index, taken in run.frames if taken.filtered is not None]
    if not rows:
        return head
    shown = [_beside(run, *row) for row in charts.spaced(rows, _SHOWN)]
    chart = elements.plot(
        charts.uncertainty_over_time(run),
        "Mean standard deviation over mean signal above the background, of each frame.",
    )
    return (
        f"{head}\n"
        + "\n".join(part for part in shown if part)
        + f'\n<p class="quiet">Each picture is shown from its own {DARKEST:g}st to its '
        f"{BRIGHTEST:g}th percentile. Raw frames were kept as they were measured; what is filtered "
        "is a network’s estimate and no measurement.</p>\n"
        f'<h3>How unsure the filter was</h3>\n<div class="grid">{chart}</div>'
    )


def _account(run: Run, summary: dict[str, Any]) -> str:
    asked = run.config.filter
    assert asked is not None
    model = escape(str(summary["model"]))
    digest = f" (sha256 {escape(summary['sha256'][:12])}…)" if summary["sha256"] else ""
    where = f", on {escape(', '.join(summary['devices']))}" if summary["devices"] else ""
    few = summary["frames"] < summary["of"]
    passed = " The newest frame was filtered first, others were passed over." if few else ""
    kept = passed if asked.frames == "newest" else ""
    unsure = summary["uncertainty"]
    said = f" Uncertainty {text.spread_of_scores(unsure)}." if unsure["n"] else ""
    return (
        f"<p>{summary['frames']} of {summary['of']} frames were filtered by {model}{digest}"
        f"{where}.{said}{kept}</p>"
    )


def _beside(run: Run, index: int, taken: Taken) -> str:
    raw, made = run.pixels(index), run.filtered_pixels(index)
    assert taken.filtered is not None
    if raw is None or made is None:
        return f'<p class="alarm">Frame {index} and what it was filtered to are not on disk.</p>'
    unsure = text.number(taken.filtered["uncertainty"])
    when = text.duration(taken.frame["time_s"])
    pixel_um = taken.pixel_um(run.config)
    return beside(raw, *made, pixel_um, f"frame {index}, {when}; uncertainty {unsure}")
