"""How a trial of `plan: optimize` stands in the ledger, for those who count or look for it."""

from __future__ import annotations

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
