"""What a run's folder holds after a kill: its ledger against its image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from agent.record.images import checksum
from agent.record.layout import RAW
from agent.record.ledger import Ledger


@dataclass(frozen=True, slots=True)
class FolderState:
    """What a run's folder holds.

    Parameters
    ----------
    sessions
        How many sessions began.
    planned
        Frames that the plan takes.
    frames
        CRC-32 of every frame of the ledger, by its number.
    unreadable
        Frames of the ledger that are not on disk, pixel for pixel.
    twice
        Frames that the ledger has more than once.
    length
        Frames that the image has room for.
    status
        How the last session ended; None if it was killed.
    """

    sessions: int
    planned: int
    frames: dict[int, int]
    unreadable: list[int]
    twice: list[int]
    length: int
    status: str | None


def inspect(run: Path) -> FolderState:
    """Compare a run's ledger with its image, without the code that wrote the image."""
    ledger = Ledger(run, readonly=True)
    try:
        entries = list(ledger.entries())
    finally:
        ledger.close()
    frames: dict[int, int] = {}
    unreadable, twice = [], []
    array = run / RAW / "0"
    raw = zarr.open_array(array, mode="r") if (array / "zarr.json").exists() else None
    status, sessions, planned = None, 0, 0
    for entry in entries:
        if entry.kind == "run":
            status, sessions, planned = None, sessions + 1, entry.data["planned"]
        elif entry.kind == "end":
            status = entry.data["status"]
        if entry.kind != "frame" or entry.frame is None:
            continue
        if entry.frame in frames:
            twice.append(entry.frame)
        frames[entry.frame] = entry.data["crc32"]
        try:
            found = None if raw is None else checksum(np.asarray(raw[entry.frame]))
        except (IndexError, ValueError, OSError):
            found = None
        if found != entry.data["crc32"]:
            unreadable.append(entry.frame)
    length = 0 if raw is None else raw.shape[0]
    return FolderState(sessions, planned, frames, unreadable, twice, length, status)
