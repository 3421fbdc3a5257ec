"""What a run did, from its ledger alone: for `show`, the report and scripts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.plan import FOCUS, LAPSE, REOPTIMIZED, STACK
from agent.record.dose import DoseGate
from agent.record.folder import is_running
from agent.record.judging import of_notes
from agent.record.load import read
from agent.record.planned import PlannedFrames, untaken
from agent.record.recording import Recording, role_of
from agent.record.trials import retested, spread
from models.quality.score import Score

SIMULATED, RECORDED, MEASURED = "simulated", "recorded", "measured"
"""Where frames come from: a model of a sample, a file, a microscope."""


def summarize(folder: Path) -> dict[str, Any]:
    """The summary that `show --json` prints.

    Raises
    ------
    UserError
        `folder` is no run folder.
    """
    config, recording = read(folder)
    return summary_of(folder, config, recording)


def summary_of(folder: Path, config: RunConfig, recording: Recording) -> dict[str, Any]:
    """The same of a run that was read already."""
    gate = DoseGate.of(config.dose, recording)
    last = recording.sessions[-1] if recording.sessions else {}
    scores, sweeps = _scores(recording), recording.notes_on(FOCUS)
    planned = PlannedFrames(last.get("planned"), config.section.planned_trials())
    for note in recording.notes:
        planned.learn(note)
    return {
        "run": folder.resolve().name,
        "plan": config.plan,
        "status": _status(folder, recording),
        "reason": (recording.end or {}).get("reason"),
        "simulated": None if not recording.sessions else origin_of(config, last) == SIMULATED,
        "origin": origin_of(config, last),
        "started": recording.sessions[0]["at"] if recording.sessions else None,
        "sessions": len(recording.sessions),
        "seed": config.seed,
        "frames": {
            "planned": planned.total,
            "acquired": len(recording.shots()),
            **_lapsed(recording),
        },
        "cameras": list(config.microscope.camera_channels),
        "dose": {
            **{f"{laser}_J": gate.total.get(laser, 0.0) for laser in _lasers(config)},
            "budget_fraction": gate.budget_fraction,
            "lost_shots": len(recording.lost),
            "expected_s": gate.expected_s,
            "lit_s": gate.lit_s,
        },
        "score": {
            **spread([score.value for score in scores]),
            "flagged": sum(bool(score.flags) for score in scores),
            "latest": scores[-1].value if scores else None,
        },
        "filtered": _filtered(config, recording),
        "late": {
            "times": len(recording.late),
            "seconds": sum(one["by_s"] for one in recording.late if one["policy"] == "shift"),
            "skipped": sum(one["points"] for one in recording.late),
        },
        "clock": recording.clock,
        "lapse": _lapse(config, recording),
        "reoptimized": recording.notes_on(REOPTIMIZED) if config.section.reoptimizes() else None,
        "objective": shown.as_dict() if (shown := config.objective()) is not None else None,
        "tuned_mode": config.optimize.mode if config.section.searches() else None,
        "result": _result(folder, config, recording),
        **retested(recording.notes_on("recommendation"), recording.notes_on("retest")),
        "trials": recording.notes_on("trial"),
        "stacks": recording.notes_on(STACK),
        "why": next((note.get("why", []) for note in recording.notes_on("belief")[-1:]), [])
        + [_reoptimized(note) for note in recording.notes_on(REOPTIMIZED)]
        + ([focus_in_words(recording)] if sweeps else []),
        "focus": _focus(recording) if config.focus is not None or sweeps else None,
        "told": recording.notes_on("told"),
        "commands": [_command(entry) for entry in recording.commands],
        "safe_state": recording.safe_state,
        "faults": recording.faults,
    }


def origin_of(config: RunConfig, session: dict[str, Any]) -> str | None:
    """Where frames come from: `simulated`, `recorded` or `measured`; None before any session.

    Parameters
    ----------
    config
        The run's.
    session
        The entry of its latest session; empty where there was none.
    """
    simulated = session.get("simulated")
    if simulated is None:
        return None
    scope = config.microscope
    if scope.replay is not None and scope.virtual_sted is None:
        return RECORDED
    return SIMULATED if simulated else MEASURED


def flagged_frames(folder: Path) -> str:
    """How many frames are flagged, and as what: `3 frames: 2 saturated, 1 blank`; or nothing.

    Raises
    ------
    UserError
        `folder` is no run folder.
    """
    flagged = [score.flags for score in _scores(read(folder)[1]) if score.flags]
    if not flagged:
        return ""
    by_flag = Counter(flag for flags in flagged for flag in flags).most_common()
    reasons = ", ".join(f"{count} {flag.replace('_', ' ')}" for flag, count in by_flag)
    return f"{len(flagged)} {'frame' if len(flagged) == 1 else 'frames'}: {reasons}"


def _command(entry: dict[str, Any]) -> dict[str, Any]:
    """A command to a session, without how far its file was read."""
    return {key: value for key, value in entry.items() if key != "read"}


def _scores(recording: Recording) -> list[Score]:
    return [taken.score for taken in recording.taken.values() if taken.score is not None]


def weights_of(recording: Recording, part: str) -> str | None:
    """SHA-256 of the weights that the last session had for a part; None where none had any."""
    found = [session.get("weights", {}).get(part) for session in recording.sessions]
    return next((digest for digest in reversed(found) if digest), None)


def _filtered(config: RunConfig, recording: Recording) -> dict[str, Any] | None:
    """How many frames were filtered, of how many that could be, and by what; None: no filter."""
    if config.filter is None:
        return None
    modes = config.filtered_modes()
    rows = recording.filtered().values()
    return {
        "frames": len(rows),
        "of": sum(taken.shot["mode"] in modes for taken in recording.seen().values()),
        "model": config.filter.model,
        "sha256": weights_of(recording, "filter"),
        "devices": sorted({row["device"] for row in rows}),
        "uncertainty": spread([row["uncertainty"] for row in rows]),
    }


def _lapsed(recording: Recording) -> dict[str, int]:
    """How many frames were deliberately not taken, and how many of those are rebuilt."""
    return {
        "skipped": sum(untaken(note) for note in recording.notes_on(LAPSE))
        + sum(late["frames"] for late in recording.late),
        "reconstructed": sum(
            len(row["points"]) for row in recording.rebuilt.values() if row["failed"] is None
        ),
    }


def _lapse(config: RunConfig, recording: Recording) -> dict[str, Any] | None:
    """What a time-lapse that skips knows of its rebuilt frames; None where nothing is skipped."""
    if not config.section.rebuilds():
        return None
    notes = recording.notes_on(LAPSE)
    marks = [mark for note in notes for mark in note["frames"]]
    expected = [mark["expected_error"] for mark in marks if mark["frame"] is None]
    known = [error for error in expected if error is not None]
    compared = [mark for mark in marks if "error" in mark]
    taken = [one for one in recording.shots().values() if role_of(one.shot).search is None]
    skipped = sum(untaken(note) for note in notes)
    frames = skipped + len(taken)
    last = next((note for note in reversed(notes) if note.get("running_error")), None)
    rebuilt = any(row["points"] and row["failed"] is None for row in recording.rebuilt.values())
    return {
        "acquire": config.timelapse.acquire,
        "bound": config.timelapse.error if config.timelapse.acquire == "adaptive" else None,
        "audits": sum(mark["kind"] == "audited" for mark in compared),
        "compared": len(compared),
        "events": [
            {"field": note["field"], "point": note["point"], "kind": note["event"]}
            for note in notes
            if note.get("event")
        ],
        "expected_error": sum(e**2 for e in known) ** 0.5 / len(known) ** 0.5 if known else None,
        "error": last["running_error"] if last and rebuilt else None,
        "light_saved": skipped / frames if frames else None,
        "tuned": _tuned(recording) if config.section.tunes() else None,
    }


def _tuned(recording: Recording) -> dict[str, Any]:
    """How often the interpolator was tuned, how often that was kept, and the last gain.

    Errors are relative root-mean-square ones of the audits that judged, before and after.
    """
    kept = [row for row in recording.tuned if row["kept"]]
    last = kept[-1] if kept else None
    return {
        "attempts": len(recording.tuned),
        "kept": len(kept),
        "judged": last["judged"] if last else None,
        "error": [max(last[which][0], 0.0) ** 0.5 for which in ("before", "after")]
        if last
        else None,
        "sha256": last["sha256"] if last else None,
        "seconds": sum(row["seconds"] for row in recording.tuned),
    }


def _focus(recording: Recording) -> dict[str, Any]:
    """How many searches there were, how many found nothing, and the last focus found (µm).

    And how many frames were taken without the focus that a device was to hold.
    """
    notes = recording.notes_on(FOCUS)
    return {
        "sweeps": len(notes),
        "not_found": sum(not note["found"] for note in notes),
        "not_held": _not_held(recording),
        "z_um": {str(note["field"]): note["z_um"] for note in notes},
    }


def _not_held(recording: Recording) -> int:
    return sum(bool(one.frame.get("held", {}).get("why")) for one in recording.shots().values())


def focus_in_words(recording: Recording) -> str:
    """The same in words."""
    notes, free = recording.notes_on(FOCUS), _not_held(recording)
    found = [note["z_um"] for note in notes if note["found"]]
    lost, several = len(notes) - len(found), len(notes) != 1
    device = notes[-1].get("device")
    kind = "sweep" + "s" * several if device is None else f"search{'es' * several} by {device}"
    none = f", {lost} of them found none" if lost else ""
    between = f", between {min(found):.2f} and {max(found):.2f} µm" if found else ""
    held = f"; not held in {free} frame{'s' if free > 1 else ''}" if free else ""
    return f"focus: {len(notes)} {kind}{none}{between}{held}"


def _reoptimized(note: dict[str, Any]) -> str:
    """What a search of a time-lapse led to, in words."""

    def written(value: Any) -> str:
        return value if isinstance(value, str) else f"{value:.4g}"

    old, new = note["before"], note["settings"]
    changes = [
        f"{k} {written(old.get(k, 'none'))} → {written(new[k])}"
        for k in new
        if new[k] != old.get(k)
    ]
    trials = f"{note['trials']} {'trial' if note['trials'] == 1 else 'trials'}"
    said = ", ".join(changes) if note["changed"] else "settings kept"
    return f"after time point {note['point']}, by {trials}: {said}"


def _result(folder: Path, config: RunConfig, recording: Recording) -> dict[str, Any] | None:
    """What a search came to; None where there was none."""
    if not config.section.searches():
        return None
    topics = ("trial", "recommendation", "belief", "retest", "told", "enough")
    notes = {topic: recording.notes_on(topic) for topic in topics}
    going_on = _status(folder, recording) == "running"
    return of_notes(config.optimize, notes, going_on=going_on).as_dict()


def _lasers(config: RunConfig) -> list[str]:
    return list(dict.fromkeys([*config.microscope.lasers, "excitation", "depletion"]))


def _status(folder: Path, recording: Recording) -> str:
    if is_running(folder):
        return "running"
    # A session that left no end was killed.
    return recording.end["status"] if recording.end else "interrupted"
