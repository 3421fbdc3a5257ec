"""The report: one HTML file, complete in itself, that loads nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path

from agent.config.reading import UserError
from agent.record import text
from agent.record.safe_files import replace_text
from agent.record.summary import MEASURED, RECORDED, SIMULATED
from agent.ui.report import (
    elements,
    filter,
    focus,
    frames,
    notes,
    optimization,
    predictions,
    provenance,
    reconstruction,
)
from agent.ui.report.run_data import Run
from agent.ui.report.style import CSS

# Even if something slipped through the escaping, no browser would fetch or run it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_ORIGINS = {
    SIMULATED: "simulated",
    RECORDED: "recording",
    MEASURED: "real",
    None: "nothing taken",
}
_SIGNS = {
    "completed": "✓",
    "running": "●",
    "stopped": "■",
    "interrupted": "▲",
    "failed": "✕",
}


def write_report(folder: Path, target: Path) -> None:
    """Draw a run from its ledger and its raw frames.

    Works at any time of a run's life: while it runs, after it failed, without a single frame.

    Parameters
    ----------
    folder
        A run folder.
    target
        The HTML file to write; one that is there is replaced.

    Raises
    ------
    UserError
        `folder` is no run folder, or `target` cannot be written.
    """
    page = render(Run.load(folder))
    try:
        replace_text(target, page)
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from None


def render(run: Run) -> str:
    """The page of a run."""
    if run.config.section.searches():
        sections = [optimization.result, optimization.search, predictions.belief]
    else:
        sections = [frames.course, focus.focused, notes.noted, reconstruction.skipped]
    sections += [
        filter.filtered,
        provenance.light,
        provenance.faults,
        provenance.safe_state,
        provenance.provenance,
    ]
    body = [section(run) for section in sections]
    # Only now is it known which frames could not be shown.
    body.insert(0, _header(run) + _damaged(run))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(run.name)} – stedfast</title>\n<style>{CSS}</style>\n</head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + f"\n{_footer(run)}\n</body>\n</html>\n"
    )


def _header(run: Run) -> str:
    summary = run.summary
    status, frames, sessions = summary["status"], summary["frames"], summary["sessions"]
    kind = _ORIGINS[summary["origin"]]
    planned = frames["planned"]
    taken = f"{frames['acquired']} of {planned}" if planned else f"{frames['acquired']}"
    if frames["skipped"] or frames["reconstructed"]:
        taken += f"; {frames['skipped']} skipped, {frames['reconstructed']} reconstructed"
    if lost := summary["dose"]["lost_shots"]:
        one = status == "running" and lost == 1
        taken += "; 1 under way" if one else f"; {lost} lit the sample but left no frame"
    rows = [("frames", taken), ("origin", run.origin)]
    if (late := summary["late"])["times"]:
        shifted = f"the schedule shifted by {text.duration(late['seconds'])}"
        rows.append(("time points late", f"{late['times']}; {shifted}, {late['skipped']} skipped"))
    if summary["started"]:
        rows.append(("started", text.moment(summary["started"])))
    if run.lasted_s is not None:
        so_far = " so far" if status == "running" else ""
        pauses = f" in {sessions} sessions, pauses included" if sessions > 1 else ""
        rows.append(("duration", f"{text.duration(run.lasted_s)}{so_far}{pauses}"))
    rows.append(("seed", str(run.config.seed)))
    reason = summary["reason"]
    if reason and reason != "finished":
        rows.append(("ended because", str(reason)))
    elif status == "interrupted" and not reason:
        rows.append(("ended because", "it was killed: the last session left no end"))
    return (
        f"<header>\n<h1>{escape(run.name)}</h1>\n"
        f'<div class="badges"><span class="badge">{escape(run.config.plan)}</span>'
        f'<span class="badge {escape(status)}">{_SIGNS.get(status, "")} {escape(status)}</span>'
        f'<span class="badge">{kind}</span></div>\n{elements.definitions(rows, "facts")}\n</header>'
    )


def _damaged(run: Run) -> str:
    if not run.damaged:
        return ""
    named = ", ".join(map(str, run.damaged[:20])) + (" …" if len(run.damaged) > 20 else "")
    return (
        f'<p class="alarm">Not on disk as the ledger recorded them, and not shown: '
        f"frames {escape(named)}.</p>"
    )


def _footer(run: Run) -> str:
    now = text.moment(datetime.now(UTC).isoformat())
    meanwhile = " while the run continued" if run.summary["status"] == "running" else ""
    believed = run.config.section.searches() and run.recording.notes_on("belief")
    apart = ["what the model believes"] if believed else []
    apart += ["what the filter made of them"] if run.recording.filtered() else []
    lapse = run.summary["lapse"]
    apart += ["the errors expected of rebuilt frames"] if lapse and lapse["error"] else []
    only = f" outside of {' and '.join(apart)}" if apart else ""
    return (
        f"<footer>Drawn by stedfast on {now}{meanwhile}, from the ledger and the measured frames. "
        "Frames are shown within the stated contrast limits; nothing is smoothed or "
        f"predicted{only}.</footer>"
    )
