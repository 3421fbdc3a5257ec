"""Files with names that are known beforehand, written in folders that may come from a stranger.

A link of such a name would have its target written instead. None of these follows one,
nor opens anything but an ordinary file.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

_FLAGS = (
    os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe would otherwise wait for a reader
    | getattr(os, "O_BINARY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


def open_to_append(path: Path) -> int:
    """A file descriptor to read from and append to; the caller closes it.

    `O_APPEND`, so that lines of several writers follow each other.

    Raises
    ------
    OSError
        It is a link or no ordinary file, or it cannot be opened.
    """
    if path.is_symlink():  # where a system has no O_NOFOLLOW
        raise OSError(errno.ELOOP, "is a link, and none is followed", str(path))
    file = os.open(path, _FLAGS | os.O_RDWR | os.O_APPEND, 0o666)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "is no ordinary file", str(path))
    return file


def replace_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Replace a file as a whole: a reader sees the old text or the new one, never half.

    Parameters
    ----------
    path
        Of the file; a link of that name is replaced, not followed.
    text
        UTF-8, with line ends as they are.
    sync
        It is on disk when this returns.

    Raises
    ------
    OSError
        It cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    with suppress(FileNotFoundError):
        partial.unlink()
    file = os.open(partial, _FLAGS | os.O_WRONLY | os.O_EXCL, 0o666)
    with os.fdopen(file, "w", encoding="utf-8", newline="") as made:
        made.write(text)
        made.flush()
        if sync:
            os.fsync(file)
    partial.replace(path)
