"""A run's summary in lines for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.cli.options import out


def print_summary(folder: Path) -> dict[str, Any]:
    """Print what a run did, or is doing; returns the summary."""
    from agent.record.summary import flagged_frames, summarize

    summary = summarize(folder)
    for line in _summary_lines(summary, flagged_frames(folder)):
        out.print(line, soft_wrap=True)
    return summary


def _summary_lines(summary: dict[str, Any], flagged: str) -> list[str]:
    frames, dose = summary["frames"], summary["dose"]
    origin = {"simulated": ", simulated", "recorded": ", a recording"}.get(summary["origin"], "")
    cameras = summary["cameras"]
    at_once = f", each of them of {', '.join(cameras)}" if cameras else ""
    lines = [
        f"{summary['run']}: {summary['plan']}, {summary['status']}{origin}",
        f"frames     {frames['acquired']} of {frames['planned'] or 'no fixed number'}{at_once}",
    ]
    if (lapse := summary["lapse"]) is not None:
        lines += _lapse_lines(frames, lapse)
    if summary["late"]["times"]:
        lines.append(_late_line(summary["late"]))
    light = [
        f"{laser.removesuffix('_J')} {joules:.3g} J"
        for laser, joules in dose.items()
        if laser.endswith("_J") and joules
    ]
    if light:
        share = dose["budget_fraction"]
        of_budget = f" ({share:.0%} of budget)" if share is not None else ""
        lines.append(f"light      {', '.join(light)}{of_budget}")
    if flagged:
        lines.append(f"flagged    {flagged}")
    if (filtered := summary["filtered"]) is not None:
        lines.append(_filtered_line(filtered))
    if (score := _score_line(summary)) is not None:
        lines.append(score)
    if (result := summary["result"]) is not None:
        lines += _result_lines(summary, result)
    lines += [_told_line(told) for told in summary["told"]]
    lines += [_command_line(command) for command in summary["commands"]]
    lines += [f"{'why' if not at else '':<11}{line}" for at, line in enumerate(summary["why"])]
    lines += [f"clock      {clock['what']}, noticed {clock['at']}" for clock in summary["clock"]]
    lines += [f"fault      {fault['what']}" for fault in summary["faults"]]
    if (safe := summary["safe_state"]) is not None:
        state = "read back as it should be," if safe["ok"] else "NOT SAFE"
        lines.append(f"safe state {state} at {safe['at']}")
    return lines


def _score_line(summary: dict[str, Any]) -> str | None:
    """The scores of a run that searches nothing."""
    score = summary["score"]
    if summary["result"] is not None or not score["n"]:
        return None
    last = f", latest {score['latest']:.3f}" if score["latest"] is not None else ""
    flagged = f", {score['flagged']} flagged" if score["flagged"] else ""
    return f"score      {_pm(score)} (n = {score['n']}{flagged}){last}"


def _result_lines(summary: dict[str, Any], result: dict[str, Any]) -> list[str]:
    """What a search came to, start against best, and the best trial as long as that is all."""
    from agent.record import text

    lines = [f"result     {result['head']}"]
    lines += [f"{'':11}{words}" for words in result["words"]]
    objective = summary["objective"]
    if (tuned := summary["tuned_mode"]) != "sted":
        lines.append(f"{'':11}Tuned are frames of the mode {tuned}.")
    if objective is not None:
        lines.append(f"{'':11}{text.scored_by(objective)}")
    same = summary["start"]["settings"] == summary["best"]["settings"]
    for which in ("start",) if same else ("start", "best"):
        part = summary[which]
        if not part["settings"]:
            continue
        found = []
        if part["score"]["n"]:
            found.append(f"score {_pm(part['score'])} (n = {part['score']['n']})")
        for name, values in part["measured"].items():
            unit = objective["unit"] if objective is not None else ""
            found.append(f"{name} {text.spread_of(values, unit)}")
        if part["bleaching"]["n"]:
            found.append(f"bleaching {_pm(part['bleaching'])} (n = {part['bleaching']['n']})")
        chosen = ", recommended" if which == result["recommended"] else ""
        none = "kept as it was" if same else "not measured again"
        lines.append(f"{which:<11}{', '.join(found) or none}{chosen}")
        lines.append(f"{'':11}{_settings(part['settings'])}")
    lines += [_stack_line(summary["stacks"], which) for which in ("start", "best")]
    lines = [line for line in lines if line]
    if result["recommended"] is None and (number := result["best_trial"]) is not None:
        lines.append(f"best       so far: trial {number}, not measured again")
        lines.append(f"{'':11}{_settings(summary['trials'][number - 1]['settings'])}")
    return lines


def _stack_line(stacks: list[dict[str, Any]], which: str) -> str:
    """How the score of a candidate changes over z; nothing without a stack."""
    from agent.record.trials import profile

    if not (found := profile(stacks, which)):
        return ""
    best_um, best = max(found, key=lambda one: one[1])
    scores = ", ".join(f"{score:.3f}" for _, score in (found[0], found[-1]))
    return (
        f"{'':11}{which} over z {found[0][0]:g} … {found[-1][0]:g} µm: score {scores} at the ends, "
        f"highest {best:.3f} at {best_um:g} µm"
    )


def _settings(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in settings.items())


def _filtered_line(filtered: dict[str, Any]) -> str:
    where = f" on {', '.join(filtered['devices'])}" if filtered["devices"] else ""
    unsure = f", uncertainty {_pm(filtered['uncertainty'])}" if filtered["frames"] else ""
    digest = f" ({filtered['sha256'][:12]}…)" if filtered["sha256"] else ""
    of = f"{filtered['frames']} of {filtered['of']} frames"
    return f"filtered   {of} by {filtered['model']}{digest}{where}{unsure}"


def _late_line(late: dict[str, Any]) -> str:
    times = "time point" if late["times"] == 1 else "time points"
    shifted = f", the schedule shifted by {late['seconds']:.3g} s" if late["seconds"] else ""
    skipped = f", {late['skipped']} skipped" if late["skipped"] else ""
    return f"late       {late['times']} {times}{shifted}{skipped}"


def _lapse_lines(frames: dict[str, Any], lapse: dict[str, Any]) -> list[str]:
    saved = f", {lapse['light_saved']:.0%} of the light saved" if lapse["light_saved"] else ""
    lines = [f"skipped    {frames['skipped']}, {frames['reconstructed']} rebuilt{saved}"]
    if (error := lapse["error"]) is not None:
        bound = f" (bound {lapse['bound']:g})" if lapse["bound"] else ""
        compared = f"{lapse['compared']} compared, {lapse['audits']} of them audits"
        lines.append(f"error      {error[0]:.3f} ± {error[1]:.3f}{bound}; frames {compared}")
    if (tuned := lapse["tuned"]) is not None:
        lines.append(_tuned_line(tuned))
    if lapse["events"]:
        named = ", ".join(f"{one['kind']} at {one['point']}" for one in lapse["events"][:8])
        more = len(lapse["events"]) - 8
        lines.append(f"events     {named}{f' and {more} more' if more > 0 else ''}")
    return lines


def _tuned_line(tuned: dict[str, Any]) -> str:
    times = "time" if tuned["attempts"] == 1 else "times"
    said = f"tuned      {tuned['attempts']} {times}, {tuned['kept']} kept"
    if tuned["error"] is None:
        return said
    before, after = tuned["error"]
    return (
        f"{said}; error of the {tuned['judged']} audits that judged {before:.3f} → {after:.3f}"
        f" ({tuned['sha256'][:12]}…)"
    )


def _told_line(told: dict[str, Any]) -> str:
    from agent.record import text

    why = f": {told['refused']}" if "refused" in told else ""
    when = next((f", before {of} {told[of]}" for of in ("trial", "frame") if of in told), "")
    if "point" in told:
        when = f", after time point {told['point']}"
    return f"told       {text.told(told)}{when}{why}"


def _command_line(command: dict[str, Any]) -> str:
    told = ", ".join(k if v is True else f"{k} = {v}" for k, v in command["told"].items())
    by = f", by {command['by']}" if "by" in command else ""
    at = f" at {command['at']}" if "at" in command else ""
    why = f": {command['refused']}" if "refused" in command else ""
    return f"command    {told}{by}{at}{why}"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _pm(part: dict[str, Any]) -> str:
    sd = f" ± {part['sd']:.3f}" if part["sd"] is not None else ""
    return f"{part['mean']:.3f}{sd}"
