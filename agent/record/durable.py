"""Files that are there whole or not at all, even after a kill or a power cut."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

PATIENCE_S = 5.0
"""How long a rename that is refused is tried again (s)."""


def write_file(path: Path, data: Any, *, sync: Callable[[int], object] | None = os.fsync) -> None:
    """Put bytes into a file; a reader sees its earlier content or all of them.

    Parameters
    ----------
    path
        In a folder that is there.
    data
        What has a buffer.
    sync
        Called with the number of the open file, to have the bytes outlive the power; by default
        it waits for the disk, so that they do once their name does. None: they need not.

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
            if sync is not None:
                file.flush()
                sync(file.fileno())
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


class LateSync:
    """Has the disk take the bytes of one file at a time, while something else is done.

    Waiting for the disk takes longer than all else that is done with a frame; see
    `agent.record.images`.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "sync")
        self._under_way: Future[None] | None = None

    def begin(self, number: int) -> None:
        """Begin with an open file, which may be closed meanwhile.

        Raises
        ------
        OSError
            The disk refused the one before.
        """
        self.wait()
        self._under_way = self._thread.submit(_sync, os.dup(number))

    def wait(self) -> None:
        """Wait until the disk has all bytes of the file that was begun last, if any.

        Raises
        ------
        OSError
            It refused.
        """
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            try:
                under_way.result()
            except OSError as error:
                why = error.strerror or str(error)
                raise OSError(
                    error.errno, f"{why}; the disk did not take the frame before"
                ) from error


def _sync(number: int) -> None:
    try:
        os.fsync(number)
    finally:
        os.close(number)
