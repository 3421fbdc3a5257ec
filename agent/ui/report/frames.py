"""The report of `plan: live` and `plan: timelapse`: frames, and how they went over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from html import escape
from typing import Any

from numpy.typing import NDArray

from agent.record import text
from agent.ui.report import charts, elements
from agent.ui.report.contrast import contrast
from agent.ui.report.picture import Picture, picture
from agent.ui.report.run_data import Run, series_of

_THUMB = 256
_ACROSS, _DOWN = 6, 4
"""How many frames of a field and channel are shown, and of how many of these."""


def course(run: Run) -> str:
    """A few frames, their scores and their brightness."""
    if not run.recording.taken:
        return '<h2>Frames</h2>\n<p class="verdict">No frame was taken.</p>'
    return "\n".join(["<h2>Frames</h2>", _thumbnails(run), "<h2>Over time</h2>", _over_time(run)])


def _thumbnails(run: Run) -> str:
    shown = charts.series(run)[:_DOWN]
    rows: list[tuple[str, str, list[tuple[str, NDArray[Any], float]]]] = []
    for where in shown:
        mine = [(index, taken) for index, taken in run.watched if series_of(taken) == where]
        chosen = []
        for index, taken in charts.spaced(mine, _ACROSS):
            if (found := run.projected(index)) is not None:
                pixels, planes = found
                said = f"<br>maximum of {planes} planes" if planes > 1 else ""
                if (score := taken.score) is not None:
                    of = "; the middle one has the " if planes > 1 else ""
                    words = f"{of}score {text.score(score.value)}{text.flagged(score.flags)}"
                    said += f"{'' if planes > 1 else '<br>'}{escape(words)}"
                when = text.duration(taken.frame["time_s"])
                words = f"frame {index}, {when}{said}"
                chosen.append((words, pixels, run.pixel_um_of(index)))
        title = run.called(where) if len(shown) > 1 else ""
        rows.append((title, str(mine[0][1].shot.get("camera", {}).get("name", "")), chosen))
    frames: dict[str, list[NDArray[Any]]] = defaultdict(list)
    for _, camera, chosen in rows:
        frames[camera] += [pixels for _, pixels, _ in chosen]
    # Of two cameras, the one may count tenfold.
    limits = {camera: contrast(found) for camera, found in frames.items() if found}
    if not limits:
        return ""
    made: list[tuple[str, str, list[tuple[str, Picture]]]] = []
    for title, camera, chosen in rows:
        drawn_at = limits.get(camera, (0.0, 1.0))
        cells = [(words, picture(one, um, drawn_at, side=_THUMB)) for words, one, um in chosen]
        made.append((title, camera, cells))
    pictures = [one for *_, cells in made for _, one in cells]
    bars = elements.bars(*pictures)
    drawn = []
    for title, _, shots in made:
        figures = [elements.shown(one, words, small=bool(bars)) for words, one in shots]
        heading = f"<h3>{escape(title[:1].upper() + title[1:])}</h3>\n" if title else ""
        drawn.append(f'{heading}<div class="grid thumbs">{"".join(figures)}</div>')
    used = text.settings_line(run.frames[0][1].shot["settings"], run.config.microscope.settings)
    settings = f"<p>Settings of the first frame: {escape(used)}.</p>\n" if used else ""
    if run.summary["reoptimized"]:
        said = "".join(f"<li>{escape(line)}</li>" for line in run.summary["why"])
        settings += f"<p>Searched for better ones on fresh fields:</p>\n<ul>{said}</ul>\n"
    few = f" A few of {len(run.recording.taken)} frames." if len(run.frames) > len(pictures) else ""
    seen = len(run.series)
    kinds = "fields" if len({mode for _, mode in run.series}) == 1 else "fields and channels"
    fields = f" The first {len(shown)} of {seen} {kinds}." if seen > len(shown) else ""
    limits_said = _limits_of({camera: cells[0][1] for _, camera, cells in made if cells})
    return (
        settings + "\n".join(drawn) + f'\n<p class="quiet">{limits_said}. {bars}{few}{fields}</p>'
    )


def _limits_of(pictures: Mapping[str, Picture]) -> str:
    """The contrast limits of the pictures of each camera, by its name, of which one is shown."""
    if len(pictures) == 1:
        (one,) = pictures.values()
        return f"All at the same contrast limits: {elements.limits(one)}"
    said = (f"{escape(name)} {elements.limits(one)}" for name, one in pictures.items())
    return f"Contrast limits of each camera: {', '.join(said)}"


def _over_time(run: Run) -> str:
    scores = charts.scores_over_time(run)
    signal = charts.signal_over_time(run)
    plots = [elements.plot(chart) for chart in (scores, signal) if chart is not None]
    shown = charts.series(run)
    part = run.summary["score"]
    signs = []
    if len(shown) > 1:
        signs = [(*charts.field_sign(i), run.called(where)) for i, where in enumerate(shown)]
    if part["flagged"]:
        few = ", some of them" if part["flagged"] > charts.MOST_MARKED else ""
        signs.append(("flagged", "plus", f"score flagged{few}"))
    legend = elements.legend(signs) if signs else ""
    if part["n"]:
        words = f"Score {text.spread_of_scores(part)}, over frames."
    elif run.config.analysis.score:
        words = "No frame has a score."
    else:
        words = "Frames were not scored (analysis.score is off)."
    return f'<p>{words}</p>\n{legend}\n<div class="grid">{"".join(plots)}</div>'
