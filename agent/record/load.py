"""A run as it lies in its folder: its config and its ledger, checked against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.config.reading import UserError
from agent.record.folder import CONFIG, read_config
from agent.record.ledger import FILE, reading
from agent.record.recording import Recording


def read(folder: Path) -> tuple[RunConfig, Recording]:
    """Config and ledger of a run.

    Raises
    ------
    UserError
        `folder` is no run folder, or its ledger is damaged.
    """
    config = read_config(folder)
    with reading(folder) as ledger:
        recording = Recording.read(ledger)
    _check_settings(folder, config, recording)
    return config, recording


def own_plan(config: RunConfig, sessions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a run's plan is one that does not come with this package."""
    return "plan" in config.own or any(session.get("plan_of") for session in sessions[-1:])


def _check_settings(folder: Path, config: RunConfig, recording: Recording) -> None:
    """Refuse a ledger that tells of settings which its config does not have."""
    numbers = [name for name, one in config.microscope.settings.items() if not one.choices]
    timing = config.microscope.exposure
    needed = {timing.dwell_time, timing.line_accumulations, timing.camera} - {None}
    for index, taken in recording.taken.items():
        settings = taken.shot["settings"]
        if missing := sorted(needed - settings.keys()):
            raise _misfit(folder, f"frame {index}", missing[0], None)
        for name in numbers:
            if name in settings and not _is_number(settings[name]):
                raise _misfit(folder, f"frame {index}", name, settings[name])
    if not config.section.searches():
        return
    tuned = {name: config.microscope.settings[name] for name in config.tuned()}
    for topic in ("trial", "retest", "recommendation"):
        for number, note in enumerate(recording.notes_on(topic), 1):
            for name, setting in tuned.items():
                value = note["settings"].get(name)
                fits = value in setting.choices if setting.choices else _is_number(value)
                if not fits:
                    raise _misfit(folder, f"{topic} {number}", name, value)


def _misfit(folder: Path, what: str, name: str, value: object) -> UserError:
    said = f"what the run's {CONFIG} says of it"
    return UserError(f"{folder / FILE}: {what}: `{name}` is {value!r}; accepted: {said}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
