"""Settings that were measured: a trial or a retest, its frames, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.config.optimize import OptimizeConfig
from agent.record.recording import Recording, Taken, role_of
from devices.config import Value

_ByMode = dict[str, int]
"""Number of the first frame of each mode."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Settings that were measured, what they gave, and the frames that show it.

    Attributes
    ----------
    score, bleaching
        None where the score failed.
    score_sd
        Standard deviation of the score.
    flags
        Why the score cannot be trusted; empty where it can.
    measured
        Values of an objective of one's own, by its name.
    confocal, sted
        Numbers of the frames in `optimize.reference` and `optimize.mode`; None where the
        ledger has no such frame.
    """

    settings: Mapping[str, Value]
    score: float | None
    bleaching: float | None
    confocal: int | None
    sted: int | None
    score_sd: float = 0.0
    flags: tuple[str, ...] = ()
    measured: Mapping[str, float] = field(default_factory=dict)


def frames_by_role(
    recording: Recording,
) -> tuple[dict[int, _ByMode], dict[tuple[str, int | None], _ByMode]]:
    """Frames of each trial as it was taken last, and of each retest by (which, field)."""
    tried: dict[int, tuple[int | None, _ByMode]] = {}
    tested: dict[tuple[str, int | None], _ByMode] = {}
    for index, taken in sorted(recording.seen().items()):
        role, where, mode = role_of(taken.shot), field_of(taken), taken.shot["mode"]
        if role.retest is not None:
            tested.setdefault((role.retest, where), {}).setdefault(mode, index)
        elif role.trial is not None and role.search is None:
            # Each repeat is on a fresh field.
            if role.trial not in tried or tried[role.trial][0] != where:
                tried[role.trial] = (where, {})
            tried[role.trial][1].setdefault(mode, index)
    return {number: frames for number, (_, frames) in tried.items()}, tested


def measured(note: Mapping[str, Any], frames: Mapping[str, int], asked: OptimizeConfig) -> Measured:
    """Of the note of a trial or a retest, and its frames by mode."""
    found = note["objectives"] or {}
    return Measured(
        note["settings"],
        found.get("score"),
        found.get("bleaching"),
        frames.get(asked.reference),
        frames.get(asked.mode),
        found.get("score_sd", 0.0),
        tuple(found.get("flags", ())),
        found.get("measured", {}),
    )


def field_of(taken: Taken) -> int | None:
    """Number of the field a frame was taken of; None where the stage stayed where it was."""
    where = taken.shot["field"]
    return int(where["index"]) if where else None
