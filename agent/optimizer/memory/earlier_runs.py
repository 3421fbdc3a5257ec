"""Reads the trials of earlier runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.config.reading import UserError
from agent.optimizer.memory.past import PastSessions
from agent.optimizer.outcome import Outcome, Settings
from agent.optimizer.space import Space
from agent.record.load import read
from devices.config import SettingConfig, Value

LEAST_TRIALS = 5
"""Usable trials below which an earlier run says too little to learn from."""


class PriorError(UserError):
    """An earlier run that nothing can be learnt from."""


def past_sessions(folders: Sequence[Path], space: Space, mode: str = "sted") -> PastSessions | None:
    """Earlier runs as hypotheses about the sample of a run with this space; None without any.

    Parameters
    ----------
    folders
        Of the earlier runs.
    space
        What is searched now.
    mode
        Whose frames are tuned now.

    Raises
    ------
    PriorError
        A folder is no run folder, its run tuned another mode or other settings, or has too few
        usable trials.
    """
    try:
        runs = [_trials(folder, space, mode) for folder in folders]
    except UserError as error:
        raise PriorError(str(error)) from None
    return PastSessions(space, runs) if runs else None


def _trials(folder: Path, space: Space, mode: str) -> list[tuple[Settings, Outcome]]:
    """Trials of a run with an undoubted score, in the units of this space."""
    config, recording = read(folder)
    if not config.section.searches():
        raise UserError(f"{folder}: a run of `plan: {config.plan}`; accepted: optimize")
    if (objective := config.objective()) is not None:
        raise UserError(f"{folder}: searched for {objective.name}; accepted: runs for quality")
    if config.optimize.mode != mode:
        raise UserError(
            f"{folder}: tuned frames of the mode {config.optimize.mode}; accepted: runs with "
            f"`optimize.mode: {mode}`"
        )
    tuned, wanted = config.tuned(), list(space.names)
    if set(tuned) != set(wanted):
        raise UserError(
            f"{folder}: tuned {', '.join(tuned) or 'nothing'}; accepted: runs that tuned "
            f"{', '.join(wanted)}"
        )
    before = {name: config.microscope.settings[name] for name in wanted}
    for name in wanted:
        old, new = before[name], space.settings[name]
        if (old.kind == "choice") != (new.kind == "choice") or (old.laser is None) != (
            new.laser is None
        ):
            raise UserError(
                f"{folder}: `{name}` was another kind of setting ({_kind(old)}); "
                f"accepted: {_kind(new)}"
            )
        if new.laser is None and old.unit != new.unit:
            raise UserError(
                f"{folder}: `{name}` in {old.unit or 'no unit'}; accepted: {new.unit or 'no unit'}"
            )
    found = []
    for note in recording.notes_on("trial"):
        if (objectives := note["objectives"]) is None:
            continue
        outcome = Outcome(
            float(objectives["score"]),
            float(objectives["bleaching"]),
            float(objectives.get("score_sd") or 0.0),
            tuple(objectives.get("flags", ())),
            float(objectives.get("bleaching_sd") or 0.0),
        )
        if not outcome.doubtful:
            settings = {
                name: _now(note["settings"][name], before[name], space.settings[name])
                for name in wanted
            }
            found.append((settings, outcome))
    if len(found) < LEAST_TRIALS:
        raise UserError(
            f"{folder}: {len(found)} usable trials; accepted: runs with at least {LEAST_TRIALS}"
        )
    return found


def _kind(setting: SettingConfig) -> str:
    return f"kind: {setting.kind}" + (f", laser: {setting.laser}" if setting.laser else "")


def _now(value: Value, old: SettingConfig, new: SettingConfig) -> Value:
    """The value that gives today what `value` gave then, where a power's calibration changed."""
    if old.laser is None or old.kind == "choice" or old.power_w(1.0) == new.power_w(1.0):
        return value
    return old.power_w(value) / new.power_w(1.0)
