"""One run, from opening the microscope to leaving it safe; and its replay."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.run.ending import EXIT_CODES, Result, Status
    from agent.run.guard import guarded
    from agent.run.opening import open_microscope
    from agent.run.progress import Progress
    from agent.run.session import Session

# A session takes seconds to import; the command line needs the signals alone at first.
_HOMES = {
    "EXIT_CODES": "agent.run.ending",
    "Result": "agent.run.ending",
    "Status": "agent.run.ending",
    "guarded": "agent.run.guard",
    "open_microscope": "agent.run.opening",
    "Progress": "agent.run.progress",
    "Session": "agent.run.session",
}

__all__ = ["EXIT_CODES", "Progress", "Result", "Session", "Status", "guarded", "open_microscope"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
