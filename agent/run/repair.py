"""Damage by a power cut to a run's last frames, found and mended before the run is resumed.

The disk is waited for while the next frame is exposed, so that the row of the last frame may be
there without its pixels. A disk that lies, or a run of a version that did not sync pixels, may have
more such rows: of frames that are missing, cut or full of zeros. Only frames taken last can be so:
these are declared void and taken again. Anything else is no power cut, and no reason to take a
night's frames again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agent.config.reading import UserError
from agent.record.images import FrameDamaged, checksum
from agent.record.ledger import Ledger
from agent.record.raw import SET_ASIDE, RawFrames
from agent.record.recording import Recording

_MOST = 64
"""Whole frames behind the first damaged one, at most; as many are compared with their checksum."""
_PAGE = 4096
"""Bytes that a file system writes at once."""


def mend(folder: Path, images: RawFrames, recording: Recording, ledger: Ledger) -> str:
    """Have the ledger end behind the last whole frame, if a power cut damaged those that follow.

    Parameters
    ----------
    folder
        The run's.
    images, recording, ledger
        Its parts.

    Returns
    -------
    str
        The damage and its repair, in words; empty where all frames are whole.

    Raises
    ------
    UserError
        A frame is damaged long before the last one.
    """
    taken = sorted(recording.taken)
    if not taken:
        return ""
    images.mend({index: recording.taken[index].frame for index in taken})
    damaged = {}
    for index in taken:
        row = recording.taken[index].frame
        if what := _damage(images, index, row, closely=index in taken[-_MOST:]):
            damaged[index] = what
    if not damaged:
        return ""
    first = min(damaged)
    why = damaged[first]
    # Frames that were taken at once are taken again at once.
    first -= recording.taken[first].camera
    whole = [index for index in taken if index >= first and index not in damaged]
    if len(whole) >= _MOST:
        raise UserError(
            f"{folder}: {why}; {len(whole)} whole frames follow it, so the run cannot "
            "be resumed. Put its file back from a copy of the run, or begin a new run"
        )
    for index in whole:
        images.set_aside(index, folder / SET_ASIDE)
    aside = f"; {len(whole)} whole ones behind it are in {SET_ASIDE}/" if whole else ""
    what = f"{why}, as after a power cut: continued after frame {first - 1}{aside}"
    ledger.cut(first, why, whole)
    ledger.add("fault", {"what": what, "policy": "go on"}, first)
    return what


def _damage(images: RawFrames, index: int, row: dict[str, Any], *, closely: bool) -> str:
    """What a power cut did to a frame, in words; empty where it is as it was written.

    That pixels differ otherwise is left to the tape to say.
    """
    try:
        if not closely:
            images.look(index)
            return ""
        pixels = images.read(index)
    except FrameDamaged as damage:
        return str(damage)
    if checksum(pixels) == row["crc32"]:
        return ""
    data = pixels.tobytes()
    lost = len(data) - len(data.rstrip(b"\0"))
    return f"frame {index}: ends in zeros" if lost >= min(_PAGE, len(data)) else ""
