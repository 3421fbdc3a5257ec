"""A run's folder, held open: it is noticed when the folder is renamed or deleted in mid-run."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class FolderGone(RuntimeError):
    """The run's folder is no longer where it was."""


class Anchor:
    """A folder that is held on to while the anchor lives.

    Parameters
    ----------
    folder
        One that is there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._identity = _identity(folder)
        # Windows renames no folder in which a file is open.
        self._handle = None if sys.platform == "win32" else os.open(folder, os.O_RDONLY)

    def close(self) -> None:
        """Let go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def holds(self) -> bool:
        """Whether the folder is where it was."""
        return _identity(self.folder) == self._identity

    def place(self) -> Path:
        """Where the folder is now.

        Raises
        ------
        FolderGone
            It was deleted, or cannot be found.
        """
        if self.holds():
            return self.folder
        if (found := self._found()) is not None:
            return found
        why = "was renamed or deleted while the run wrote in it"
        raise FolderGone(f"{self.folder}: {why}; its files are where it is now, if anywhere")

    def check(self) -> None:
        """Make sure that the folder is where it was.

        Raises
        ------
        FolderGone
            It is not; says where the frames are.
        """
        if not self.holds():
            now = self.place()
            why = "was renamed while the run wrote in it"
            raise FolderGone(f"{self.folder}: {why}; all frames so far are in {now}")

    def _found(self) -> Path | None:
        """Where the system says the folder is now; None where it does not, or it is deleted."""
        if self._handle is None:
            return None
        if sys.platform == "darwin":
            import fcntl

            name = fcntl.fcntl(self._handle, 50, bytes(1024)).rstrip(b"\0")  # F_GETPATH
            found = Path(os.fsdecode(name))
        else:
            link = Path(f"/proc/self/fd/{self._handle}")
            if not link.is_symlink():
                return None
            found = link.readlink()
        return found if _identity(found) == self._identity else None


def _identity(folder: Path) -> tuple[int, int] | None:
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
