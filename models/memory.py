"""How much memory this process may still take.

Where more is asked for than there is, Linux kills the process rather than refuse: so it has to be
known before.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_MEMINFO = Path("/proc/meminfo")
_OWN_GROUP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def free_memory() -> int | None:
    """Bytes that can be had: of the machine, and of the group (container) that this process is in.

    None where the system does not say.

    Examples
    --------
    >>> found = free_memory()
    >>> found is None or found > 0
    True
    """
    if sys.platform == "win32":
        return _of_windows()
    found = [free for free in (_of_machine(), *_of_groups()) if free is not None]
    return max(0, min(found)) if found else None


def _of_machine() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:
        # Where the system does not say what is free, half of what there is.
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):
        return None


def _of_groups() -> list[int]:
    """What is left to this process' control group and to those above it (version 2)."""
    try:
        lines = _OWN_GROUP.read_text().splitlines()
    except OSError:
        return []
    own = next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")
    found = []
    for folder in (_GROUPS / own, *(_GROUPS / own).parents):
        if not folder.is_relative_to(_GROUPS):
            break
        try:
            most = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            files = _inactive_files(folder)
        except (OSError, ValueError):  # no such group, or `max`: no limit
            continue
        found.append(most - used + files)
    return found


def _inactive_files(folder: Path) -> int:
    """Bytes of files that are in memory and that the system drops when it needs room."""
    for line in (folder / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            return int(value)
    return 0


def _of_windows() -> int | None:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", *"abcde")),
        )

    status = Status(length=ctypes.sizeof(Status))
    windows = getattr(ctypes, "windll", None)
    if windows is None or not windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
        return None
    return int(status.free)
