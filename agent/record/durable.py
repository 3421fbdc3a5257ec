"""Files that are there whole or not at all, even after a kill or a power cut."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 5.0
"""How long a rename that is refused is tried again (s)."""


def write_file(path: Path, data: Any, *, sync: bool = True) -> None:
    """Put bytes into a file; a reader sees its earlier content or all of them.

    Parameters
    ----------
    path
        In a folder that is there.
    data
        What has a buffer.
    sync
        Whether the disk is waited for, so that the bytes outlive the power once their name does.

    Raises
    ------
    OSError
        The disk refused. Where it only refused the new name, the bytes are in a file beside it,
        which the message names.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
    except OSError:
        partial.unlink(missing_ok=True)
        raise
    try:
        move(partial, path)
    except OSError as error:
        why = error.strerror or str(error)
        raise OSError(error.errno, f"{why}; what should be there is in {partial}", path) from error


def move(source: Path, target: Path) -> None:
    """Rename a file; tried again for a while where that is refused.

    A virus scanner or an indexer may hold a file that was just written, which Windows then does
    not let anybody rename.
    """
    began, wait_s = time.monotonic(), 0.01
    while True:
        try:
            source.replace(target)
        except PermissionError:
            if time.monotonic() - began > PATIENCE_S:
                raise
        else:
            return
        time.sleep(wait_s)
        wait_s = min(2 * wait_s, 0.25)
