"""The report of `plan: optimize`: the settings found, and the way there."""

from __future__ import annotations

from html import escape

from agent.record import text
from agent.record.trials import spread
from agent.ui.report import charts, elements
from agent.ui.report.contrast import BRIGHTEST, DARKEST, contrast
from agent.ui.report.depth import depths
from agent.ui.report.measured import Measured
from agent.ui.report.picture import picture
from agent.ui.report.run_data import Run
from agent.ui.report.svg import swatch

_THUMB = 256


def result(run: Run) -> str:
    """Start against best, as the retests measured them."""
    return "\n".join(
        [
            "<h2>Result</h2>",
            _verdict(run),
            _before_after(run),
            _comparison(run),
            depths(run),
            _sheet(run),
        ]
    )


def search(run: Run) -> str:
    """The trials."""
    if not run.trials:
        return ""
    limit = _limit(run)
    kinds = {run.kind(trial) for trial in run.trials}
    words = {
        "within": f"within the bleaching limit of {limit}",
        "over": "over the limit",
        "flagged": "score flagged, not used",
        "failed": "score failed",
    }
    legend = [
        (kind, charts.TRIAL_SHAPES[kind], said) for kind, said in words.items() if kind in kinds
    ]
    retested = any(run.summary[which]["score"]["n"] for which in ("start", "best"))
    plots = [
        elements.plot(
            charts.convergence(run),
            "Line: best so far within the limit."
            + (" Dashed: starting settings, retested (mean ± sd)." if run.retests["start"] else ""),
        ),
        elements.plot(
            charts.trade_off(run),
            f"{swatch('start', 'square')}start and {swatch('best', 'triangle')}best, retested "
            "(mean ± sd)."
            if retested
            else "",
        ),
    ]
    settings = "".join(elements.plot(charts.setting(run, name)) for name in run.config.tuned())
    lines = [("start", None, "starting value")]
    if run.summary["best"]["settings"]:
        lines.append(("best", None, "value found"))
    return (
        f"<h2>Search</h2>\n{elements.legend(legend)}\n"
        f'<div class="grid">{"".join(plots)}</div>\n'
        f"<h3>Each setting against score</h3>\n{elements.legend([*legend, *lines])}\n"
        f'<div class="grid four">{settings}</div>\n'
        f'<p class="quiet">All settings change at once from trial to trial, so no panel shows the '
        f"effect of its setting alone.</p>\n{_trials(run)}"
    )


def _verdict(run: Run) -> str:
    found = run.summary["result"]
    tone = "" if found["ok"] is not False else ' class="alarm"'
    words = " ".join(found["words"])
    retested = any(run.summary[which]["score"]["n"] for which in ("start", "best"))
    quiet = (
        '\n<p class="quiet">Mean ± standard deviation over n fresh fields, measured after the '
        "search and not used in it.</p>"
        if retested
        else ""
    )
    objective = run.summary["objective"]
    by = f'\n<p class="quiet">{escape(text.scored_by(objective))}</p>' if objective else ""
    return f'<p class="verdict"><b{tone}>{escape(found["head"])}</b> {escape(words)}</p>{by}{quiet}'


def _limit(run: Run) -> str:
    return text.exact_percent(run.limit)


def _before_after(run: Run) -> str:
    start, best = run.typical("start"), run.typical("best")
    tuned, reference = map(escape, run.mode_names())
    before = f"before the {tuned} frame"
    if start is None and best is None:
        best = run.best_trial()
        shown = [
            (
                f"{reference}, same field",
                best.confocal if best else None,
                before,
            ),
            (f"{tuned}, best trial so far", best.sted if best else None, _this(best)),
        ]
    else:
        shown = [
            (
                f"{reference}, same field as best",
                best.confocal if best else None,
                before,
            ),
            (f"{tuned}, starting settings", start.sted if start else None, _this(start)),
            (f"{tuned}, settings found", best.sted if best else None, _this(best)),
        ]
    parts = []
    for title, index, words in shown:
        pixels = run.pixels(index)
        if pixels is not None and index is not None:
            made = picture(pixels, run.pixel_um_of(index))
            parts.append(
                elements.shown(made, f"<b>{title}</b><br>{words}<br>{elements.limits(made)}")
            )
    if not parts:
        return ""
    chosen = " Shown are the retests closest to the mean score." if start and best else ""
    return (
        f'<div class="grid three">{"".join(parts)}</div>\n'
        f'<p class="quiet">Each frame is shown from its own {DARKEST:g}st to its '
        f"{BRIGHTEST:g}th percentile, as settings differ in light and so in counts.{chosen}</p>"
    )


def _this(found: Measured | None) -> str:
    return f"this frame: {words}" if (words := _frame_score(found)) else ""


def _frame_score(found: Measured | None) -> str:
    if found is None or found.score is None or found.bleaching is None:
        return ""
    return (
        f"score {text.score(found.score)}, bleaching {text.percent(found.bleaching)}"
        f"{escape(text.flagged(found.flags))}"
    )


def _comparison(run: Run) -> str:
    start, best = run.summary["start"], run.summary["best"]
    if not (start["settings"] or best["settings"]):
        return ""
    both = (start, best)
    scores = [text.spread_of_scores(part["score"]) for part in both]
    shares = [text.spread_of_shares(part["bleaching"]) for part in both]
    rows = [["score", *scores]]
    if (objective := run.config.objective()) is not None:
        none = spread([])
        found = [part["measured"].get(objective.name, none) for part in both]
        spreads = [text.spread_of(one, objective.unit) for one in found]
        rows.append([text.words(objective.name), *spreads])
    rows.append([f"bleached by one {run.mode_names()[0]} frame", *shares])
    bound = run.config.microscope.settings
    initial = run.config.microscope.start()
    values = (start["settings"] or initial, best["settings"] or {})
    for name in run.config.tuned():
        cells = [text.with_unit(v[name], bound[name]) if name in v else "–" for v in values]
        rows.append([text.words(name), *cells])
    shots = [
        run.recording.taken[found.sted].shot if found and found.sted is not None else None
        for found in (run.typical("start"), run.typical("best"))
    ]
    for laser in run.config.microscope.lasers:
        cells = [text.joules(shot["dose_J"].get(laser, 0.0)) if shot else "–" for shot in shots]
        rows.append([f"{laser} light in one frame", *cells])
    return elements.table(["", "start", "best"], rows, kind="result", first_is_head=True)


def _sheet(run: Run) -> str:
    """Every retest, so that the choice of the three above can be checked."""
    groups = []
    for which, title in (("start", "Starting settings"), ("best", "Settings found")):
        parts = []
        for found in run.retests[which]:
            if found.sted is not None and (pixels := run.pixels(found.sted)) is not None:
                made = picture(pixels, run.pixel_um_of(found.sted), side=_THUMB)
                parts.append(elements.shown(made, _frame_score(found), small=True))
        if parts:
            groups.append(f'<h3>{title}</h3>\n<div class="grid thumbs">{"".join(parts)}</div>')
    pair = [
        (pixels, run.pixel_um_of(found.sted))
        for found in (run.typical("start"), run.typical("best"))
        if found is not None
        and found.sted is not None
        and (pixels := run.pixels(found.sted)) is not None
    ]
    if len(pair) == 2:
        limits = contrast([pixels for pixels, _ in pair])
        made_pair = [picture(*one, limits, side=_THUMB) for one in pair]
        bars = elements.bars(*made_pair)
        drawn = "".join(
            elements.shown(made, title, small=bool(bars))
            for made, title in zip(made_pair, ("start", "best"), strict=True)
        )
        groups.append(
            "<h3>The pair at the same contrast limits</h3>\n"
            f'<div class="grid thumbs">{drawn}</div>\n'
            f'<p class="quiet">{elements.limits(made_pair[0])}. {bars}</p>'
        )
    if not groups:
        return ""
    return f"<details><summary>All retests</summary>\n{''.join(groups)}</details>"


def _trials(run: Run) -> str:
    bound = run.config.microscope.settings
    names = run.config.tuned()
    objective = run.config.objective()
    unit = f" ({objective.unit})" if objective is not None and objective.unit else ""
    head = [
        "trial",
        "score",
        *([f"{text.words(objective.name)}{unit}"] if objective is not None else []),
        "bleaching",
        f"within {_limit(run)}",
        *(text.axis_label(name, bound[name]) for name in names),
    ]
    rows = []
    for at, trial in enumerate(run.trials, 1):
        found = (
            ["failed", "–", "–"]
            if trial.score is None or trial.bleaching is None
            else [
                text.score(trial.score),
                text.percent(trial.bleaching),
                ("yes" if run.within(trial) else "no") + text.flagged(trial.flags),
            ]
        )
        if objective is not None:
            found.insert(1, text.number(trial.measured.get(objective.name, "–")))
        rows.append([str(at), *found, *(text.number(trial.settings.get(n, "–")) for n in names)])
    table = elements.table(head, rows, numbers=range(len(head)))
    return f"<details><summary>Table of trials ({len(rows)})</summary>\n{table}</details>"
