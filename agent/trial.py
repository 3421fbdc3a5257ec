"""How a trial of `plan: optimize` stands in the ledger, for those who count or look for it."""

from __future__ import annotations

from collections.abc import Mapping

from devices.config import MicroscopeConfig, Value

FRAMES_EACH = 3
"""Confocal, STED, confocal: frames of each trial, of each repeat and of each retest."""


def purpose(number: int, repeat: int = 0) -> str:
    """Purpose of a trial's shots.

    Parameters
    ----------
    number
        Of the trial, counted from 1.
    repeat
        How often it was taken before and flagged.
    """
    return f"trial {number}, repeat {repeat}" if repeat else f"trial {number}"


def searching(number: int, trial: int) -> str:
    """Purpose of a trial's shots in a search of a time-lapse, both counted from 1."""
    return f"search {number}, trial {trial}"


def is_searching(shot: Mapping[str, object]) -> bool:
    """Whether a shot, as the ledger keeps it, is one of those."""
    return str(shot["purpose"]).startswith("search ")


def light_j(
    scope: MicroscopeConfig, settings: Mapping[str, Value], pixels: int
) -> dict[str, float]:
    """Light of a STED frame between two confocals (J), by laser.

    Parameters
    ----------
    scope
        The microscope's config.
    settings
        Of the STED frame; absent ones keep their starting value.
    pixels
        Of a frame.
    """
    start, modes = scope.start(), scope.modes
    frame = scope.dose_j({**start, **settings, **modes["sted"]}, pixels)
    reference = scope.dose_j({**start, **modes["confocal"]}, pixels)
    return {laser: joules + 2 * reference[laser] for laser, joules in frame.items()}
