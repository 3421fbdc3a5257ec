"""The part of its frame that a camera is to read: whether it can, tried between two frames."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from devices.cameras import frame_size
from devices.errors import GateClosed
from devices.sending import Sender

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


def beyond_frame(roi: Sequence[int], frame: Sequence[int]) -> str:
    """Why a region of interest is no part of a frame (rows, columns); empty where it is one.

    Examples
    --------
    >>> beyond_frame([500, 0, 32, 32], (256, 512))
    '[500, 0, 32, 32] is beyond the frame of 512 × 256 px (x, y, width, height)'
    """
    (rows, columns), (x, y, width, height) = frame, roi
    if x + width <= columns and y + height <= rows:
        return ""
    return f"{[*roi]} is beyond the frame of {columns} × {rows} px (x, y, width, height)"


def changes_size(
    sizing: Collection[str], pinned: Collection[str], changing: Collection[str]
) -> str:
    """Why a region cannot be chosen where frames change their size by themselves; else empty.

    Parameters
    ----------
    sizing
        Settings that change the size of frames.
    pinned
        Settings that the mode pins.
    changing
        Settings that may change during the run.
    """
    free = sorted(set(changing) & set(sizing) - set(pinned))
    return f"{free[0]!r} changes the size of frames, and the mode does not pin it" if free else ""


def refused_by_camera(
    core: UniMMCore, sender: Sender, roi: Sequence[int], whole: tuple[int, int]
) -> str:
    """Why the camera does not take a region of interest; empty where it does.

    It reads its whole frame afterwards. Where that is not as large as the frames that the region
    is meant for, as these are binned otherwise, nothing is tried.

    Parameters
    ----------
    core, sender
        The devices, between two frames.
    roi
        x, y, width, height (px).
    whole
        Rows and columns of the frames that it is a part of.

    Raises
    ------
    GateClosed
        Nothing may move any more.
    """
    try:
        sender.crop(None)
        if frame_size(core)[:2] != whole:
            return ""
        try:
            sender.crop(roi)
        finally:
            core.clearROI()
            sender.uncropped()
    except GateClosed:
        raise
    except Exception as error:
        return str(error)
    return ""
