"""What the machine refuses, in a line: a disk that is full, a folder that cannot be written."""

from __future__ import annotations

import errno
import sqlite3

_MISTAKES = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EINVAL),
}
"""What another name or place mends; the rest is the machine's."""


def in_words(error: OSError | MemoryError | sqlite3.Error) -> tuple[str, int]:
    """What to say, and the exit code: 2 for a wrong name or place, 1 for what failed."""
    if isinstance(error, MemoryError):
        return "there is not enough memory for this", 1
    if isinstance(error, sqlite3.Error):
        return f"the ledger cannot be read or written: {error}", 1
    why = error.strerror or str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    line = f"{' → '.join(names)}: {why}" if names else why
    return line[:500], 2 if error.errno in _MISTAKES else 1
