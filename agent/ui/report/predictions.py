"""What the model believes: predictions, kept well apart from measurements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from agent.record import text
from agent.ui.report import charts, elements
from agent.ui.report.axis import Axis
from agent.ui.report.run_data import Run
from agent.ui.report.svg import Chart, swatch
from agent.ui.report.thermometers import Row, thermometers
from devices.config import SettingConfig, Value


def belief(run: Run) -> str:
    """The last belief that the ledger tells of; nothing if there is none."""
    notes = run.recording.notes_on("belief")
    if not notes:
        return ""
    note = notes[-1]
    parts = [
        "<h2>What the model believes</h2>",
        '<p class="quiet">Predicted from the trials, not measured; the comparison above is what '
        "the settings are judged by.</p>",
        _reasons(note),
        _overview(run, note),
        _effects(run, note),
    ]
    return "\n".join(part for part in parts if part)


def _reasons(note: Mapping[str, Any]) -> str:
    sentences = "".join(f"<li>{escape(str(words))}</li>" for words in note.get("why", ()))
    return f'<h3>Why these settings?</h3>\n<ul class="why">{sentences}</ul>' if sentences else ""


def _overview(run: Run, note: Mapping[str, Any]) -> str:
    plots = []
    if note.get("front"):
        caption = (
            f"{swatch('model', 'dot')}predicted front (mean ± sd)"
            + (f" and {swatch('best', 'triangle')}recommendation" if "predicted" in note else "")
            + "; other marks are the trials, as in the search above; those that bleached far more "
            "are left out."
        )
        plots.append(elements.plot(_front(run, note), caption))
    shares = [
        chart for objective in ("score", "bleaching") if (chart := _importance(note, objective))
    ]
    if shares:
        caption = (
            "Sobol’ indices over the whole search space: dark what a setting explains alone, "
            "light and written what it takes part in. What settings do together counts for each "
            "of them."
        )
        plots.append(elements.plot("".join(shares), caption))
    return f'<div class="grid">{"".join(plots)}</div>' if plots else ""


def _importance(note: Mapping[str, Any], objective: str) -> str:
    rows = [
        Row(text.words(setting), part[objective]["total"], part[objective]["first"])
        for setting, part in note.get("importance", {}).items()
    ]
    if not rows:
        return ""
    return thermometers(
        sorted(rows, key=lambda row: -row.whole),
        f"Which settings the {objective} depends on",
        "share of the variation of the predicted "
        + ("score" if objective == "score" else "bleaching (its logarithm)"),
        ("together with others", "alone"),
    )


def _front(run: Run, note: Mapping[str, Any]) -> str:
    front, here = note["front"], note.get("predicted")
    rows = [*front, *([here] if here else [])]
    limit = 100 * run.limit
    shares = [100 * row["bleaching"] for row in rows]
    measured = [m for m in run.trials if m.score is not None and m.bleaching is not None]
    # A trial that bleached far more than any compromise would squeeze the front to the side.
    most = 2.0 * max(limit, *shares)
    shown = [m for m in measured if 100 * (m.bleaching or 0.0) <= most]
    scores = [m.score for m in shown if m.score is not None]
    chart = Chart(
        Axis.linear(
            f"bleached by one {run.mode_names()[0]} frame (%)",
            [0, 1.1 * limit, *shares, *(100 * (m.bleaching or 0.0) for m in shown)],
            room=0.02,
        ),
        Axis.linear("score", [0, 1, *(row["score"] for row in rows), *scores]),
        "Predicted score against predicted bleaching along the Pareto front, with the trials",
    )
    chart.border(limit, "limit", f"limit {text.number(limit)} %")
    groups = defaultdict(list)
    for number, trial in enumerate(run.trials, 1):
        if trial in shown and trial.score is not None:
            words = (
                f"trial {number}: measured score {text.score(trial.score)}, "
                f"bleaching {text.percent(trial.bleaching or 0.0)}"
            )
            groups[run.kind(trial)].append((100 * (trial.bleaching or 0.0), trial.score, words))
    for kind, shape in charts.TRIAL_SHAPES.items():
        chart.points(groups[kind], kind, shape)
    points = [(100 * row["bleaching"], row["score"], _words(run, row)) for row in front]
    chart.line([point[:2] for point in points], "model")
    chart.bars((100 * row["bleaching"], row["score"], row["score_sd"]) for row in front)
    chart.points(points, "model")
    if here:
        words = f"recommended: {_words(run, {'settings': note.get('at', {}), **here})}"
        x, y = 100 * here["bleaching"], here["score"]
        chart.spread(x, y, 0.0, here["score_sd"], "best", "triangle", words)
    return chart.svg()


def _effects(run: Run, note: Mapping[str, Any]) -> str:
    bound = run.config.microscope.settings
    effects = {n: part for n, part in note.get("effects", {}).items() if n in bound}
    if not effects:
        return ""
    at = note.get("at", {})
    plots = "".join(
        elements.plot(_effect(run, name, bound[name], part, at.get(name)))
        for name, part in effects.items()
    )
    signs = [
        ("within", None, "score (mean ± sd)"),
        ("cost", None, "bleaching (share of the dye)"),
        ("limit", None, f"bleaching limit of {text.exact_percent(run.limit)}"),
        ("within average", None, "score and bleaching on average over the other settings"),
    ]
    if at:
        signs.append(("best", None, "recommended value"))
    return (
        f"<h3>If only this setting moved</h3>\n{elements.legend(signs)}\n"
        f'<div class="grid four">{plots}</div>\n'
        '<p class="quiet">The other settings stay as recommended. Fine lines: the mean over all '
        "that they could be.</p>"
    )


def _effect(
    run: Run, name: str, setting: SettingConfig, part: Mapping[str, Any], at: Value | None
) -> str:
    values: Sequence[Value] = part["values"]
    axis = _axis(name, setting, values if at is None else [*values, at])
    means, sds, shares = part["score"], part["score_sd"], part["bleaching"]
    chart = Chart(
        axis,
        Axis.linear("score, bleaching", [0.0, 1.0, *means, *shares]),
        f"Predicted score and bleaching against {text.words(name)}",
        width=270,
        height=220,
    )
    chart.level(run.limit, "limit")
    if at is not None:
        chart.border(at, "best")
    label = text.words(name)
    chances = part.get("allowed") or [None] * len(values)
    said = [
        f"{label} {text.with_unit(value, setting)}: score {text.score(mean)} ± {text.score(sd)}, "
        f"bleaching {text.percent(share)}"
        + ("" if chance is None else f", within the limit with probability {chance:.2f}")
        for value, mean, sd, share, chance in zip(values, means, sds, shares, chances, strict=True)
    ]
    score = list(zip(values, means, said, strict=True))
    cost = list(zip(values, shares, said, strict=True))
    if setting.kind == "choice":
        chart.bars(zip(values, means, sds, strict=True))
        chart.points(cost, "cost", "diamond")
        chart.points(score, "within")
        return chart.svg()
    chart.area(
        [(v, mean - sd, mean + sd) for v, mean, sd in zip(values, means, sds, strict=True)],
        "within",
    )
    for key, kind in (("average_bleaching", "cost"), ("average_score", "within")):
        if part.get(key):
            chart.line(list(zip(values, part[key], strict=True)), f"{kind} average")
    chart.line([point[:2] for point in cost], "cost")
    chart.line([point[:2] for point in score], "within")
    chart.hints(score)
    return chart.svg()


def _axis(name: str, setting: SettingConfig, values: Sequence[Value]) -> Axis:
    label = text.axis_label(name, setting)
    if setting.kind == "choice":
        return Axis.of(label, list(dict.fromkeys(values)))
    numbers = [float(value) for value in values]
    if setting.scale == "log" and min(numbers) > 0:
        return Axis.logarithmic(label, numbers)
    return Axis.linear(label, numbers, whole=setting.kind == "integer", room=0.03)


def _words(run: Run, row: Mapping[str, Any]) -> str:
    settings = text.settings_line(row["settings"], run.config.microscope.settings)
    return (
        f"predicted score {text.score(row['score'])} ± {text.score(row['score_sd'])}, bleaching "
        f"{text.percent(row['bleaching'])}, within the limit with probability "
        f"{row['allowed']:.2f}; {settings}"
    )
